// Positions of voxels in the synthetic scene: a chain of affine maps, each followed by a reflection or a box.
// The torch operators in anystar_torch/augment/coordinates.py are the definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "parallel.hpp"

namespace anystar {

constexpr int kStepWidth = 18;  // matrix 9, before 3, after 3, half 3
enum Limit : char { kAffine = 0, kReflect = 1, kBox = 2 };

// One line of voxels along x on its way through the steps.
class Line {
public:
    explicit Line(int64_t width) : width_(width), z_(width), y_(width), x_(width), number_(width), cover_(width) {
        for (auto &axis : fraction_) axis.resize(width);
    }

    void begin(const int64_t *shape, int64_t z, int64_t y, const float *displacement, int64_t voxels) {
        const float at_z = float(z) - float(shape[0] - 1) / 2, at_y = float(y) - float(shape[1] - 1) / 2;
        const float middle = float(shape[2] - 1) / 2;
        for (int64_t i = 0; i < width_; ++i) {
            z_[i] = at_z;
            y_[i] = at_y;
            x_[i] = float(i) - middle;
            number_[i] = 0;
            cover_[i] = 1;
        }
        for (auto &axis : fraction_) std::fill(axis.begin(), axis.end(), 0.0f);
        if (displacement == nullptr) return;
        for (int64_t i = 0; i < width_; ++i) {
            z_[i] += displacement[i];
            y_[i] += displacement[voxels + i];
            x_[i] += displacement[2 * voxels + i];
        }
    }

    void apply(const float *step, Limit limit) {
        affine(step);
        if (limit == kReflect) {
            for (int64_t i = 0; i < width_; ++i) number_[i] *= 27;
            reflect(z_.data(), step[15], 9);
            reflect(y_.data(), step[16], 3);
            reflect(x_.data(), step[17], 1);
            for (int64_t i = 0; i < width_; ++i) number_[i] += 13;
        } else if (limit == kBox) {
            box(z_.data(), fraction_[0].data(), step[15]);
            box(y_.data(), fraction_[1].data(), step[16]);
            box(x_.data(), fraction_[2].data(), step[17]);
        }
    }

    void store(float *position, int32_t *piece, float *cover, float *fraction, int64_t voxels) const {
        std::copy(z_.begin(), z_.end(), position);
        std::copy(y_.begin(), y_.end(), position + voxels);
        std::copy(x_.begin(), x_.end(), position + 2 * voxels);
        std::copy(number_.begin(), number_.end(), piece);
        std::copy(cover_.begin(), cover_.end(), cover);
        for (int axis = 0; axis < 3; ++axis)
            std::copy(fraction_[axis].begin(), fraction_[axis].end(), fraction + axis * voxels);
    }

private:
    void affine(const float *s) {
        float *z = z_.data(), *y = y_.data(), *x = x_.data();
        for (int64_t i = 0; i < width_; ++i) {
            const float a = z[i] + s[9], b = y[i] + s[10], c = x[i] + s[11];
            z[i] = s[0] * a + s[1] * b + s[2] * c + s[12];
            y[i] = s[3] * a + s[4] * b + s[5] * c + s[13];
            x[i] = s[6] * a + s[7] * b + s[8] * c + s[14];
        }
    }

    void reflect(float *p, float half, int32_t weight) {
        const float whole = 2 * half;
        int32_t *number = number_.data();
        for (int64_t i = 0; i < width_; ++i) {
            const float turn = p[i] / whole;
            const float up = turn > 0.5f ? 1.0f : 0.0f, down = turn < -0.5f ? 1.0f : 0.0f;
            p[i] = (p[i] - (up - down) * whole) * (1 - 2 * (up + down));
            number[i] += weight * (int32_t(up) - int32_t(down));
        }
    }

    void box(float *p, float *fraction, float half) {
        float *cover = cover_.data();
        for (int64_t i = 0; i < width_; ++i) {
            cover[i] *= std::min(std::max(half + 1 - std::fabs(p[i]), 0.0f), 1.0f);
            const float place = p[i] + half;
            const float whole = float(int32_t(place));
            fraction[i] = place - (whole > place ? whole - 1 : whole);
            p[i] = std::min(std::max(p[i], -half), half);
        }
    }

    int64_t width_;
    std::vector<float> z_, y_, x_;
    std::vector<int32_t> number_;
    std::vector<float> cover_, fraction_[3];
};

// displacement [samples, 3, shape] or null, parameters [samples, steps, kStepWidth]
// -> position [samples, 3, shape], piece [samples, shape], cover [samples, shape], fraction [samples, 3, shape].
inline void evaluate_coordinates(const float *displacement, const float *parameters, const std::string &limits,
                                 int64_t samples, const int64_t *shape, float *position, int32_t *piece, float *cover,
                                 float *fraction, int threads) {
    const int64_t lines = shape[0] * shape[1], width = shape[2], voxels = lines * width;
    const auto steps = int64_t(limits.size());
    std::vector<Line> line(std::max(threads, 1), Line(width));
    parallel_for(samples * lines, threads, 64, [&](int64_t index, int worker) {
        const int64_t sample = index / lines, row = index % lines;
        const int64_t first = sample * 3 * voxels + row * width, single = sample * voxels + row * width;
        Line &own = line[worker];
        own.begin(shape, row / shape[1], row % shape[1], displacement ? displacement + first : nullptr, voxels);
        for (int64_t s = 0; s < steps; ++s)
            own.apply(parameters + (sample * steps + s) * kStepWidth, static_cast<Limit>(limits[s]));
        own.store(position + first, piece + single, cover + single, fraction + first, voxels);
    });
}

}  // namespace anystar
