// Thick slices along one axis of volumes, and linear interpolation between their centres.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "filters.hpp"
#include "parallel.hpp"
#include "vector_math.hpp"

namespace anystar {

// One slice from position begin to position end, and the voxels [from, to] that it covers in part.
struct Slice {
    int64_t from, to;
    float begin, end, length;
};

// The two slices around a voxel.
struct Between {
    int64_t lower, upper;
    float share;  // of the upper one
};

// Places of the slices of one sample along an axis of n voxels.
struct Slices {
    std::vector<Slice> slices;
    std::vector<Between> voxels;

    Slices(int64_t n, float thickness, float start) {
        // A slice less than half inside the volume is left out. One always stays: half of the first slice, or the
        // whole volume, is inside.
        const float size = float(n), first = least(start * thickness, most(0.0f, size - 0.5f * thickness));
        const float last = least(most(0.0f, std::floor((size - first) / thickness + 0.5f) - 1.0f), size - 1.0f);
        for (int64_t k = 0; k <= static_cast<int64_t>(last); ++k) {
            const float begin = least(most(0.0f, first + float(k) * thickness), size);
            const float end = least(most(0.0f, first + float(k + 1) * thickness), size);
            const auto voxel = [&](float edge) { return std::min(static_cast<int64_t>(edge), n - 1); };
            slices.push_back({voxel(begin), voxel(end), begin, end, most(end - begin, 1e-3f)});
        }
        for (int64_t i = 0; i < n; ++i) {
            const float place = least(most(0.0f, ((float(i) + 0.5f) - first) / thickness - 0.5f), last);
            const auto lower = static_cast<int64_t>(place);
            voxels.push_back({lower, std::min(lower + 1, static_cast<int64_t>(last)), place - float(lower)});
        }
    }
};

ANYSTAR_WIDE void add_scaled(const float *from, float weight, int64_t count, float *__restrict sum) {
    for (int64_t k = 0; k < count; ++k) sum[k] += from[k] * weight;
}

ANYSTAR_WIDE void divide(float divisor, int64_t count, float *__restrict values) {
    for (int64_t k = 0; k < count; ++k) values[k] /= divisor;
}

// Linear interpolation as torch.lerp does it.
ANYSTAR_WIDE void lerp(const float *low, const float *high, float share, int64_t count, float *__restrict out) {
    if (share < 0.5f)
        for (int64_t k = 0; k < count; ++k) out[k] = low[k] + share * (high[k] - low[k]);
    else
        for (int64_t k = 0; k < count; ++k) out[k] = high[k] - (high[k] - low[k]) * (1.0f - share);
}

// `width` neighbouring lines of one sample, `stride` apart from one position to the next; `means` [slices, width].
inline void slice_lines(const float *lines, const Slices &along, int64_t stride, int64_t width, float *means,
                        float *out) {
    float *mean = means;
    for (const Slice &slice : along.slices) {
        std::fill(mean, mean + width, 0.0f);
        for (int64_t v = slice.from; v <= slice.to; ++v)
            add_scaled(lines + v * stride, least(float(v) + 1.0f, slice.end) - most(float(v), slice.begin), width, mean);
        divide(slice.length, width, mean);
        mean += width;
    }
    for (const Between &voxel : along.voxels) {
        lerp(means + voxel.lower * width, means + voxel.upper * width, voxel.share, width, out);
        out += stride;
    }
}

// [rows, columns] -> [columns, rows].
inline void transpose(const float *from, int64_t rows, int64_t columns, float *__restrict out) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = from[r * columns + c];
}

// Slices `count` adjacent lines of one sample together. Where the elements of a line are adjacent, `count` lines that
// follow each other are transposed first. `room` grows as needed.
inline void slice_together(const float *lines, const Slices &along, const Axis &axis, int64_t count,
                           std::vector<float> &room, float *out) {
    const int64_t floats = axis.n * count;
    room.resize(static_cast<size_t>(3 * floats));
    float *means = room.data(), *across = means + floats, *sliced = across + floats;
    if (axis.inner > 1) return slice_lines(lines, along, axis.inner, count, means, out);
    transpose(lines, count, axis.n, across);
    slice_lines(across, along, count, count, means, sliced);
    transpose(sliced, axis.n, count, out);
}

// image, out [samples, D, H, W]; thickness, start [samples, 3], of which column `axis` is used.
inline void thick_slices(const float *image, int64_t samples, const int64_t size[3], const float *thickness,
                         const float *start, int axis, float *out, int threads) {
    constexpr int64_t kTogether = 64;
    const Axis along(size, axis);
    const int64_t lines = along.inner > 1 ? along.inner : along.outer, groups = along.inner > 1 ? along.outer : 1;
    const int64_t step = along.inner > 1 ? 1 : along.n;  // from the start of one line to that of the next
    const int64_t blocks = (lines + kTogether - 1) / kTogether, units = groups * blocks;
    std::vector<Slices> places;
    for (int64_t s = 0; s < samples; ++s)
        places.emplace_back(along.n, thickness[3 * s + axis], start[3 * s + axis]);
    std::vector<std::vector<float>> room(static_cast<size_t>(threads));
    parallel_for(samples * units, threads, 1 + 16384 / (along.n * kTogether), [&](int64_t unit, int worker) {
        const int64_t sample = unit / units, group = unit % units / blocks, first = unit % blocks * kTogether;
        const int64_t count = std::min(kTogether, lines - first);
        const int64_t offset = sample * along.voxels() + group * along.n * along.inner + first * step;
        if (thickness[3 * sample + axis] != 1.0f) {
            slice_together(image + offset, places[static_cast<size_t>(sample)], along, count,
                           room[static_cast<size_t>(worker)], out + offset);
        } else if (along.inner > 1) {
            for (int64_t i = 0; i < along.n; ++i)
                std::copy_n(image + offset + i * along.inner, count, out + offset + i * along.inner);
        } else {
            std::copy_n(image + offset, count * along.n, out + offset);
        }
    });
}

}  // namespace anystar
