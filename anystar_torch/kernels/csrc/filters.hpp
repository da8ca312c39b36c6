// Filters along the axes of volumes: a Gaussian with a width per sample, and three taps. Beyond a face its value holds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "parallel.hpp"
#include "vector_math.hpp"

namespace anystar {

// A volume along one axis: element (o, i, k) lies at (o * n + i) * inner + k.
struct Axis {
    int64_t outer, n, inner;

    Axis(const int64_t size[3], int axis) : outer(1), n(size[axis]), inner(1) {
        for (int a = 0; a < axis; ++a) outer *= size[a];
        for (int a = axis + 1; a < 3; ++a) inner *= size[a];
    }
    int64_t voxels() const { return outer * n * inner; }
};

// One side of the symmetric kernel with standard deviation sigma, centre first, at most 1 + taps weights.
inline std::vector<float> gaussian_taps(float sigma, int64_t taps) {
    if (sigma == 0.0f) return {1.0f};
    const auto reach = static_cast<int64_t>(std::min(std::floor(std::max(0.5f, sigma * 4.0f) + 0.5f), float(taps)));
    const float scale = 0.70710678f / sigma;
    std::vector<float> weights;
    for (int64_t i = 0; i <= reach; ++i)
        weights.push_back(0.5f * (std::erf((float(i) + 0.5f) * scale) - std::erf((float(i) - 0.5f) * scale)));
    while (weights.size() > 1 && weights.back() == 0.0f) weights.pop_back();
    return weights;
}

ANYSTAR_WIDE void scale(const float *from, float weight, int64_t count, float *__restrict out) {
    for (int64_t k = 0; k < count; ++k) out[k] = from[k] * weight;
}

ANYSTAR_WIDE void add_pair(const float *before, const float *after, float weight, int64_t count, float *__restrict sum) {
    for (int64_t k = 0; k < count; ++k) sum[k] += (before[k] + after[k]) * weight;
}

// One output row of neighbouring lines, at position i of each.
inline void filter_across(const float *lines, const Axis &axis, int64_t i, const std::vector<float> &weights,
                          float *out) {
    constexpr int64_t kBlock = 512;  // floats that stay in the first cache while the taps are summed
    const auto taps = static_cast<int64_t>(weights.size()) - 1;
    for (int64_t first = 0; first < axis.inner; first += kBlock) {
        const int64_t count = std::min(kBlock, axis.inner - first);
        scale(lines + i * axis.inner + first, weights[0], count, out + first);
        for (int64_t tap = 1; tap <= taps; ++tap)
            add_pair(lines + std::max<int64_t>(i - tap, 0) * axis.inner + first,
                     lines + std::min(i + tap, axis.n - 1) * axis.inner + first, weights[static_cast<size_t>(tap)], count,
                     out + first);
    }
}

// One line with adjacent elements; `padded` has room for the line and its continuation beyond both faces.
inline void filter_along(const float *line, int64_t n, const std::vector<float> &weights, float *padded, float *out) {
    const auto taps = static_cast<int64_t>(weights.size()) - 1;
    std::fill(padded, padded + taps, line[0]);
    std::copy(line, line + n, padded + taps);
    std::fill(padded + taps + n, padded + 2 * taps + n, line[n - 1]);
    scale(line, weights[0], n, out);
    for (int64_t tap = 1; tap <= taps; ++tap)
        add_pair(padded + taps - tap, padded + taps + tap, weights[static_cast<size_t>(tap)], n, out);
}

// image, out [samples, D, H, W]; sigma [samples, 3], of which column `axis` is used.
inline void gaussian_filter(const float *image, int64_t samples, const int64_t size[3], const float *sigma, int axis,
                            int64_t taps, float *out, int threads) {
    const Axis along(size, axis);
    std::vector<std::vector<float>> weights;
    for (int64_t s = 0; s < samples; ++s) weights.push_back(gaussian_taps(sigma[3 * s + axis], taps));
    const int64_t rows = along.inner > 1 ? along.outer * along.n : along.outer;  // of one sample
    const int64_t length = along.voxels() / rows;
    const size_t room = static_cast<size_t>(along.n + 2 * taps);
    std::vector<std::vector<float>> padded(static_cast<size_t>(threads));
    parallel_for(samples * rows, threads, 16384 / length, [&](int64_t row, int worker) {
        const int64_t sample = row / rows, r = row % rows;
        const std::vector<float> &taps_of = weights[static_cast<size_t>(sample)];
        const float *volume = image + sample * along.voxels();
        float *to = out + row * length;
        if (taps_of.size() == 1 && taps_of[0] == 1.0f) {
            std::copy(volume + r * length, volume + (r + 1) * length, to);
        } else if (along.inner > 1) {
            filter_across(volume + r / along.n * along.n * along.inner, along, r % along.n, taps_of, to);
        } else {
            std::vector<float> &line = padded[static_cast<size_t>(worker)];
            line.resize(room);
            filter_along(volume + r * length, along.n, taps_of, line.data(), to);
        }
    });
}

ANYSTAR_INLINE float three_taps(float before, float centre, float after, float side) {
    return (((before + after) - centre) - centre) * side + centre;
}

ANYSTAR_WIDE void filter_three(const float *before, const float *centre, const float *after, float side, int64_t count,
                               float *__restrict out) {
    for (int64_t k = 0; k < count; ++k) out[k] = three_taps(before[k], centre[k], after[k], side);
}

ANYSTAR_WIDE void filter_three_at(const float *before, const float *centre, const float *after, const float *fraction,
                                  int64_t count, float *__restrict out) {
    for (int64_t k = 0; k < count; ++k) {
        const float root = std::sqrt(1.0f - 3.0f * fraction[k] * (1.0f - fraction[k]));
        out[k] = three_taps(before[k], centre[k], after[k], (1.0f - root) * (1.0f / 3.0f));
    }
}

// The taps (side, 1 - 2 side, side), with one side per volume.
struct OneSide {
    float side;
    void filter(int, int64_t, const float *before, const float *centre, const float *after, int64_t count,
                float *out) const {
        filter_three(before, centre, after, side, count, out);
    }
};

// One per voxel and axis: it keeps as much white noise as linear interpolation at the given fraction between voxels.
struct SideOfFraction {
    const float *fractions;  // [3, D, H, W]
    int64_t voxels;
    void filter(int axis, int64_t first, const float *before, const float *centre, const float *after, int64_t count,
                float *out) const {
        filter_three_at(before, centre, after, fractions + axis * voxels + first, count, out);
    }
};

// Plane z of one volume, filtered along z, y and x; `scratch` has room for a plane, a row and two voxels.
template <class Side>
void smooth_plane(const float *volume, const int64_t size[3], int64_t z, const Side &side, float *scratch, float *out) {
    const int64_t height = size[1], width = size[2], plane = height * width, first = z * plane;
    float *along_z = scratch, *padded = scratch + plane;  // a row with its continued faces
    const float *centre = volume + first, *before = z > 0 ? centre - plane : centre;
    const float *after = z + 1 < size[0] ? centre + plane : centre;
    side.filter(0, first, before, centre, after, plane, along_z);
    for (int64_t y = 0; y < height; ++y) {
        const float *row = along_z + y * width, *above = y > 0 ? row - width : row;
        const float *below = y + 1 < height ? row + width : row;
        side.filter(1, first + y * width, above, row, below, width, padded + 1);
        padded[0] = padded[1];
        padded[width + 1] = padded[width];
        side.filter(2, first + y * width, padded, padded + 1, padded + 2, width, out + first + y * width);
    }
}

// image, out [volumes, D, H, W]; side_of(v) gives the taps of volume v.
template <class SideOf>
void smooth(const float *image, int64_t volumes, const int64_t size[3], const SideOf &side_of, float *out, int threads) {
    const int64_t plane = size[1] * size[2], voxels = size[0] * plane;
    std::vector<std::vector<float>> scratch(static_cast<size_t>(threads));
    parallel_for(volumes * size[0], threads, 16384 / plane, [&](int64_t index, int worker) {
        const int64_t volume = index / size[0];
        std::vector<float> &planes = scratch[static_cast<size_t>(worker)];
        planes.resize(static_cast<size_t>(plane + size[2] + 2));
        smooth_plane(image + volume * voxels, size, index % size[0], side_of(volume), planes.data(),
                     out + volume * voxels);
    });
}

}  // namespace anystar
