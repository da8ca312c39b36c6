// Effects in k-space: a wave added to volumes, and high frequencies removed from spectra.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "parallel.hpp"
#include "vector_math.hpp"

namespace anystar {

// cos and sin of 2 pi frequency x / n at x = 0 .. n - 1: [n, 2]. The angle is reduced exactly.
inline std::vector<float> turns(int64_t frequency, int64_t n) {
    std::vector<float> table;
    const auto wrapped = (frequency % n + n) % n;
    for (int64_t x = 0; x < n; ++x) {
        const double angle = 6.283185307179586 * double(wrapped * x % n) / double(n);
        table.insert(table.end(), {float(std::cos(angle)), float(std::sin(angle))});
    }
    return table;
}

ANYSTAR_WIDE void add_circle(const float *from, float real, float imaginary, const float *circle, int64_t count,
                             float *__restrict to) {
    for (int64_t k = 0; k < count; ++k) to[k] = from[k] + (real * circle[2 * k] - imaginary * circle[2 * k + 1]);
}

// image + real part of (cosine + i sine) exp(2 pi i (fz z / D + fy y / H + fx x / W)). frequency [samples, 3].
inline void add_wave(const float *image, int64_t samples, const int64_t size[3], const int64_t *frequency,
                     const float *cosine, const float *sine, float *out, int threads) {
    std::vector<std::vector<float>> tables;
    for (int64_t s = 0; s < samples; ++s)
        for (int axis = 0; axis < 3; ++axis) tables.push_back(turns(frequency[3 * s + axis], size[axis]));
    const int64_t rows = size[0] * size[1], width = size[2];
    parallel_for(samples * rows, threads, 1 + 16384 / width, [&](int64_t index, int) {
        const int64_t s = index / rows;
        const auto *table = &tables[static_cast<size_t>(3 * s)];
        const float *z = table[0].data() + 2 * (index % rows / size[1]), *y = table[1].data() + 2 * (index % size[1]);
        const float yr = y[0] * cosine[s] - y[1] * sine[s], yi = y[0] * sine[s] + y[1] * cosine[s];
        const float real = z[0] * yr - z[1] * yi, imaginary = z[0] * yi + z[1] * yr;
        add_circle(image + index * width, real, imaginary, table[2].data(), width, out + index * width);
    });
}

// Squared distance of every frequency of an axis from the centre of the ball, (n - 1) / 2 of the centred spectrum.
inline std::vector<float> squared_frequencies(int64_t n, float recorded) {
    std::vector<float> table;
    for (int64_t i = 0; i < n; ++i) {
        const float bin = float((i + n / 2) % n) - float(n - 1) / 2.0f;
        table.push_back(recorded * recorded * (bin * bin));
    }
    return table;
}

// spectrum, out [samples, D, H, W, 2] with 0 outside of a ball of radius (1 - alpha) max(size) / sqrt 2; alpha [samples];
// recorded [samples, 3], the size of the recorded volume in sizes of this one.
inline void cut_spectrum(const float *spectrum, int64_t samples, const int64_t size[3], const float *alpha,
                         const float *recorded, float *out, int threads) {
    std::vector<std::vector<float>> tables;
    std::vector<float> radii;
    for (int64_t s = 0; s < samples; ++s) {
        float longest = 0.0f;
        for (int axis = 0; axis < 3; ++axis) {
            longest = most(longest, recorded[3 * s + axis] * float(size[axis]));
            tables.push_back(squared_frequencies(size[axis], recorded[3 * s + axis]));
        }
        radii.push_back((1.0f - alpha[s]) * longest * 0.70710678f);
    }
    const int64_t rows = size[0] * size[1], width = size[2];
    parallel_for(samples * rows, threads, 1 + 16384 / width, [&](int64_t index, int) {
        const int64_t s = index / rows;
        const auto *table = &tables[static_cast<size_t>(3 * s)];
        const float z = table[0][static_cast<size_t>(index % rows / size[1])];
        const float y = table[1][static_cast<size_t>(index % size[1])];
        const float *x = table[2].data(), *from = spectrum + 2 * index * width;
        const float limit = radii[static_cast<size_t>(s)] * radii[static_cast<size_t>(s)];
        float *__restrict to = out + 2 * index * width;
        for (int64_t k = 0; k < width; ++k) {
            const bool outside = z + (y + x[k]) > limit;
            to[2 * k] = outside ? 0.0f : from[2 * k];
            to[2 * k + 1] = outside ? 0.0f : from[2 * k + 1];
        }
    });
}

}  // namespace anystar
