// Mask of emitting voxels, and mean and noise of the intensity of every voxel.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lattice.hpp"

namespace anystar {

// emits [samples, z, y, x]: depth > min(|offset * gradient of depth|, most * reach), with central differences inside
// and one-sided ones at the faces; offset [samples, 3].
inline void emitting(const float *depth, const float *reach, const float *offset, int64_t samples,
                     const int64_t size[3], float most, uint8_t *emits, int threads) {
    const int64_t stride[2] = {size[1] * size[2], size[2]};
    parallel_for(samples * size[0] * size[1], threads, 16, [&](int64_t line, int) {
        const int64_t b = line / (size[0] * size[1]), at[2] = {line / size[1] % size[0], line % size[1]};
        const float *row = depth + line * size[2], *far = reach + line * size[2], *own = offset + b * 3;
        const float *before[2], *after[2];
        float half[2];
        for (int axis = 0; axis < 2; ++axis) {
            const bool low = at[axis] > 0, high = at[axis] < size[axis] - 1;
            before[axis] = low ? row - stride[axis] : row;
            after[axis] = high ? row + stride[axis] : row;
            half[axis] = low && high ? 0.5f : 1.0f;
        }
        const auto emit = [&](int64_t x, float slope) {
            const float z = (after[0][x] - before[0][x]) * half[0] * own[0];
            const float y = (after[1][x] - before[1][x]) * half[1] * own[1];
            const float total = std::sqrt(z * z + y * y + (slope * own[2]) * (slope * own[2]));
            const float limit = most * far[x];
            emits[line * size[2] + x] = row[x] > (total < limit ? total : limit);
        };
        const int64_t last = size[2] - 1;
        emit(0, last > 0 ? row[1] - row[0] : 0.0f);
        for (int64_t x = 1; x < last; ++x) emit(x, (row[x + 1] - row[x - 1]) * 0.5f);
        if (last > 0) emit(last, row[last] - row[last - 1]);
    });
}

// Numbers of a sample. The mean intensity of objects is start + width * unit. The background shows a share of the
// texture, and its level where it shows none. A displaced background keeps the share `displaced` of its intensity.
struct Shading {
    float start, width, texture_share, texture_level, displaced;
};

// Input of every voxel, each [samples, voxels].
struct IntensityFields {
    const int32_t *objects, *patch;
    const float *unit, *deviation, *texture, *noise;
    const uint8_t *displaced;
};

// mean and grain [samples, voxels]: mean intensity, and deviation times noise. `patch` is an index into the sample's row
// of the means and deviations [samples, patches] of the background.
inline void intensities(const IntensityFields &in, const float *means, const float *deviations, int64_t patches,
                        const Shading *shading, int64_t samples, int64_t voxels, float *mean, float *grain,
                        int threads) {
    for_chunks(samples, voxels, threads, [&](int64_t b, int64_t first, int count, int) {
        const Shading own = shading[b];
        for (int64_t v = b * voxels + first, end = v + count; v < end; ++v) {
            const float texture = in.texture[v];
            float level, deviation, factor;
            if (in.objects[v] > 0) {
                level = own.start + own.width * in.unit[v], deviation = in.deviation[v], factor = texture;
            } else {
                const float left = in.displaced[v] ? own.displaced : 1.0f;
                const int64_t patch = b * patches + std::clamp<int64_t>(in.patch[v], 0, patches - 1);
                level = means[patch] * left, deviation = deviations[patch] * left;
                factor = Cells::mixed(own.texture_level, texture, own.texture_share);
            }
            mean[v] = level * factor;
            grain[v] = deviation * factor * in.noise[v];
        }
    });
}

}  // namespace anystar
