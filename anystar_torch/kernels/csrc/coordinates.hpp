// Positions of voxels in the synthetic scene: a chain of affine maps, each followed by a reflection or a box.
// The torch operators in anystar_torch/kernels/coordinates.py are the reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "parallel.hpp"
#include "vector_math.hpp"

namespace anystar {

constexpr int kStepWidth = 18;  // matrix 9, before 3, after 3, half 3
enum Limit : char { kAffine = 0, kReflect = 1, kBox = 2 };

// One line of voxels along x while the steps are applied to it, in the memory of the results.
struct Line {
    float *z, *y, *x;
    int32_t *piece;
    float *cover, *fraction_z, *fraction_y, *fraction_x;
};

ANYSTAR_WIDE void map_affine(const float *s, int64_t count, float *__restrict z, float *__restrict y, float *__restrict x) {
    for (int64_t i = 0; i < count; ++i) {
        const float a = z[i] + s[9], b = y[i] + s[10], c = x[i] + s[11];
        z[i] = s[0] * a + s[1] * b + s[2] * c + s[12];
        y[i] = s[3] * a + s[4] * b + s[5] * c + s[13];
        x[i] = s[6] * a + s[7] * b + s[8] * c + s[14];
    }
}

// Numbers of pieces wrap after six reflections, as int32 does in torch.
ANYSTAR_INLINE int32_t wrapped_sum(int32_t a, int32_t b) { return int32_t(uint32_t(a) + uint32_t(b)); }

ANYSTAR_WIDE void map_reflected(float half, int32_t weight, int64_t count, float *__restrict p, int32_t *__restrict piece) {
    const float whole = 2 * half;
    for (int64_t i = 0; i < count; ++i) {
        const float turn = p[i] / whole;
        const float up = turn > 0.5f ? 1.0f : 0.0f, down = turn < -0.5f ? 1.0f : 0.0f;
        p[i] = (p[i] - (up - down) * whole) * (1 - 2 * (up + down));
        piece[i] = wrapped_sum(piece[i], weight * (int32_t(up) - int32_t(down)));
    }
}

ANYSTAR_WIDE void map_boxed(float half, int64_t count, float *__restrict p, float *__restrict cover,
                            float *__restrict fraction) {
    for (int64_t i = 0; i < count; ++i) {
        const float inside = half + 1 - std::fabs(p[i]);
        cover[i] *= inside < 0 ? 0.0f : (inside > 1 ? 1.0f : inside);
        const float place = p[i] + half;
        const float whole = float(int32_t(place));
        fraction[i] = place - (whole > place ? whole - 1 : whole);
        p[i] = p[i] < -half ? -half : (p[i] > half ? half : p[i]);
    }
}

ANYSTAR_WIDE void scale_and_shift(int32_t factor, int32_t shift, int64_t count, int32_t *__restrict piece) {
    for (int64_t i = 0; i < count; ++i)
        piece[i] = wrapped_sum(int32_t(uint32_t(piece[i]) * uint32_t(factor)), shift);
}

ANYSTAR_WIDE void add_to(const float *from, int64_t count, float *__restrict to) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// The centres of the voxels of a line, counted from the centre of the sample.
inline void begin(const Line &line, const int64_t *shape, int64_t z, int64_t y) {
    const int64_t width = shape[2];
    std::fill_n(line.z, width, float(z) - float(shape[0] - 1) / 2);
    std::fill_n(line.y, width, float(y) - float(shape[1] - 1) / 2);
    for (int64_t i = 0; i < width; ++i) line.x[i] = float(i) - float(width - 1) / 2;
    std::fill_n(line.piece, width, 0);
    std::fill_n(line.cover, width, 1.0f);
    for (float *fraction : {line.fraction_z, line.fraction_y, line.fraction_x}) std::fill_n(fraction, width, 0.0f);
}

inline void apply(const Line &line, const float *step, Limit limit, int64_t width) {
    map_affine(step, width, line.z, line.y, line.x);
    if (limit == kReflect) {
        scale_and_shift(27, 13, width, line.piece);
        map_reflected(step[15], 9, width, line.z, line.piece);
        map_reflected(step[16], 3, width, line.y, line.piece);
        map_reflected(step[17], 1, width, line.x, line.piece);
    } else if (limit == kBox) {
        map_boxed(step[15], width, line.z, line.cover, line.fraction_z);
        map_boxed(step[16], width, line.y, line.cover, line.fraction_y);
        map_boxed(step[17], width, line.x, line.cover, line.fraction_x);
    }
}

// displacement [samples, 3, shape] or null, parameters [samples, steps, kStepWidth]
// -> position [samples, 3, shape], piece [samples, shape], cover [samples, shape], fraction [samples, 3, shape].
inline void evaluate_coordinates(const float *displacement, const float *parameters, const std::string &limits,
                                 int64_t samples, const int64_t *shape, float *position, int32_t *piece, float *cover,
                                 float *fraction, int threads) {
    const int64_t lines = shape[0] * shape[1], width = shape[2], voxels = lines * width;
    const auto steps = int64_t(limits.size());
    parallel_for(samples * lines, threads, 64, [&](int64_t index, int) {
        const int64_t sample = index / lines, row = index % lines;
        const int64_t first = sample * 3 * voxels + row * width, single = sample * voxels + row * width;
        float *p = position + first, *f = fraction + first;
        const Line line{p, p + voxels, p + 2 * voxels, piece + single, cover + single, f, f + voxels, f + 2 * voxels};
        begin(line, shape, row / shape[1], row % shape[1]);
        if (displacement != nullptr) {
            add_to(displacement + first, width, line.z);
            add_to(displacement + first + voxels, width, line.y);
            add_to(displacement + first + 2 * voxels, width, line.x);
        }
        const char *limit = limits.data();
        for (int64_t s = 0; s < steps; ++s)
            apply(line, parameters + (sample * steps + s) * kStepWidth, static_cast<Limit>(limit[s]), width);
    });
}

}  // namespace anystar
