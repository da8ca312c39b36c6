// Smooth noise: sums of resampled lattices, and Perlin's gradient noise.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.hpp"

namespace anystar {

// Places of the nodes of one axis of the result on a coarser or finer axis with the same end points.
struct Resampling {
    std::vector<int32_t> below, above;
    std::vector<float> fraction;

    Resampling(int64_t from, int64_t to) : below(size_t(to)), above(size_t(to)), fraction(size_t(to)) {
        const float ratio = to > 1 ? float(double(from - 1) / double(to - 1)) : 0.0f;
        for (int64_t i = 0; i < to; ++i) {
            const float place = ratio * float(i);
            const int64_t node = std::min(int64_t(place), from - 1);
            below[size_t(i)] = int32_t(node);
            above[size_t(i)] = int32_t(std::min(node + 1, from - 1));
            fraction[size_t(i)] = place - float(node);
        }
    }
};

// One term of a sum: fields [fields, z, y, x].
struct Level {
    const float *values;
    int64_t size[3];
};

// out [fields, z, y, x]: the levels, each interpolated linearly to the size of `out` from face to face, added in order.
inline void resampled_sum(const std::vector<Level> &levels, int64_t fields, const int64_t size[3], float *out,
                          int threads) {
    std::vector<Resampling> axes;
    int64_t longest = 1;
    for (const Level &level : levels) {
        for (int axis = 0; axis < 3; ++axis) axes.emplace_back(level.size[axis], size[axis]);
        longest = std::max(longest, level.size[2]);
    }
    parallel_for(fields * size[0] * size[1], threads, 16, [&](int64_t line, int) {
        const int64_t y = line % size[1], z = line / size[1] % size[0], field = line / (size[0] * size[1]);
        std::vector<float> row(static_cast<size_t>(longest));
        float *result = out + line * size[2];
        std::fill_n(result, size[2], 0.0f);
        for (size_t l = 0; l < levels.size(); ++l) {
            const Level &level = levels[l];
            const Resampling &rz = axes[3 * l], &ry = axes[3 * l + 1], &rx = axes[3 * l + 2];
            const int64_t n = level.size[2];
            const auto line_at = [&](int32_t p, int32_t q) {
                return level.values + ((field * level.size[0] + p) * level.size[1] + q) * n;
            };
            const size_t zi = size_t(z), yi = size_t(y);
            const float fz = rz.fraction[zi], fy = ry.fraction[yi];
            const float *a = line_at(rz.below[zi], ry.below[yi]), *b = line_at(rz.below[zi], ry.above[yi]);
            const float *c = line_at(rz.above[zi], ry.below[yi]), *d = line_at(rz.above[zi], ry.above[yi]);
            float *blend = row.data();
            for (int64_t x = 0; x < n; ++x) {
                const float low = a[x] + fy * (b[x] - a[x]), high = c[x] + fy * (d[x] - c[x]);
                blend[x] = low + fz * (high - low);
            }
            for (int64_t x = 0; x < size[2]; ++x) {
                const float low = blend[rx.below[size_t(x)]], high = blend[rx.above[size_t(x)]];
                result[x] += low + rx.fraction[size_t(x)] * (high - low);
            }
        }
    });
}

// Perlin's gradient noise (K. Perlin 2002). Gradients [batch, 3, n, m, k] at the corners of cells; out
// [batch, (n - 1) samples, (m - 1) samples, (k - 1) samples]: at fraction f of a cell, the sum over its corners of
// fade(1 - |f - corner|) gradient . (f - corner), with fade(t) = t^3 (t (6 t - 15) + 10).
inline void gradient_noise(const float *gradients, int64_t batch, const int64_t corners[3], int samples, float *out,
                           int threads) {
    std::vector<float> offset[2], weight[2];
    for (int i = 0; i < samples; ++i) {
        const float f = float(i) / float(samples), t = f * f * f * (f * (f * 6.0f - 15.0f) + 10.0f);
        offset[0].push_back(f), weight[0].push_back(1.0f - t);
        offset[1].push_back(f - 1.0f), weight[1].push_back(t);
    }
    const int64_t size[3] = {(corners[0] - 1) * samples, (corners[1] - 1) * samples, (corners[2] - 1) * samples};
    const int64_t nodes = corners[0] * corners[1] * corners[2];
    parallel_for(batch * size[0] * size[1], threads, 16, [&](int64_t line, int) {
        const int64_t y = line % size[1], z = line / size[1] % size[0], b = line / (size[0] * size[1]);
        const size_t sz = size_t(z % samples), sy = size_t(y % samples);
        const float *own = gradients + b * 3 * nodes;
        float *result = out + line * size[2];
        for (int64_t x = 0; x < size[2]; ++x) {
            const size_t sx = size_t(x % samples);
            float total = 0.0f;
            for (int corner = 0; corner < 8; ++corner) {
                const int i = corner >> 2, j = corner >> 1 & 1, h = corner & 1;
                const int64_t node = ((z / samples + i) * corners[1] + y / samples + j) * corners[2] + x / samples + h;
                const float inner = own[2 * nodes + node] * offset[h][sx] + own[nodes + node] * offset[j][sy] +
                                    own[node] * offset[i][sz];
                total += inner * (weight[i][sz] * weight[j][sy] * weight[h][sx]);
            }
            result[x] = total;
        }
    });
}

}  // namespace anystar
