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

// One slice: the voxels [from, to] that it takes parts of, between the positions begin and end.
struct Slice {
    int64_t from, to;
    float begin, end, length;
};

// Between which slices a voxel lies.
struct Between {
    int64_t lower, upper;
    float share;  // of the upper one
};

// Where the slices of one sample lie along an axis of n voxels.
struct Slices {
    std::vector<Slice> slices;
    std::vector<Between> voxels;

    Slices(int64_t n, float thickness, float start) {
        const float first = start * thickness, size = float(n);
        // A slice less than half inside the volume is left out; the thickest possible one stays.
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

// Linear interpolation as torch.lerp does it.
inline float lerp(float low, float high, float share) {
    return share < 0.5f ? low + share * (high - low) : high - (high - low) * (1.0f - share);
}

// `width` neighbouring lines of one sample, `stride` apart from one position to the next; `means` [slices, width].
inline void slice_lines(const float *lines, const Slices &along, int64_t stride, int64_t width, float *means,
                        float *out) {
    float *__restrict mean = means;
    for (const Slice &slice : along.slices) {
        std::fill(mean, mean + width, 0.0f);
        for (int64_t v = slice.from; v <= slice.to; ++v) {
            const float share = least(float(v) + 1.0f, slice.end) - most(float(v), slice.begin);
            const float *line = lines + v * stride;
            for (int64_t x = 0; x < width; ++x) mean[x] += line[x] * share;
        }
        for (int64_t x = 0; x < width; ++x) mean[x] /= slice.length;
        mean += width;
    }
    for (const Between &voxel : along.voxels) {
        const float *low = means + voxel.lower * width, *high = means + voxel.upper * width;
        float *__restrict to = out;
        for (int64_t x = 0; x < width; ++x) to[x] = lerp(low[x], high[x], voxel.share);
        out += stride;
    }
}

// image, out [samples, D, H, W]; thickness, start [samples, 3], of which column `axis` is used.
inline void thick_slices(const float *image, int64_t samples, const int64_t size[3], const float *thickness,
                         const float *start, int axis, float *out, int threads) {
    constexpr int64_t kBlock = 64;  // lines that are sliced together
    const Axis along(size, axis);
    const int64_t blocks = (along.inner + kBlock - 1) / kBlock, units = along.outer * blocks;
    const int64_t grain = 1 + 16384 / (along.n * std::min(along.inner, kBlock));
    std::vector<Slices> places;
    for (int64_t s = 0; s < samples; ++s)
        places.emplace_back(along.n, thickness[3 * s + axis], start[3 * s + axis]);
    std::vector<std::vector<float>> room(static_cast<size_t>(threads));
    parallel_for(samples * units, threads, grain, [&](int64_t unit, int worker) {
        const int64_t sample = unit / units, outer = unit % units / blocks, first = unit % blocks * kBlock;
        const int64_t width = std::min(kBlock, along.inner - first);
        const int64_t offset = (sample * along.outer + outer) * along.n * along.inner + first;
        if (thickness[3 * sample + axis] == 1.0f) {
            for (int64_t i = 0; i < along.n; ++i)
                std::copy_n(image + offset + i * along.inner, width, out + offset + i * along.inner);
            return;
        }
        std::vector<float> &means = room[static_cast<size_t>(worker)];
        means.resize(static_cast<size_t>(along.n * width));
        slice_lines(image + offset, places[static_cast<size_t>(sample)], along.inner, width, means.data(),
                    out + offset);
    });
}

}  // namespace anystar
