// Noise of instruments as functions of standard normal fields: a photon counting camera, Rician, a finished image's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "intensities.hpp"
#include "vector_math.hpp"

namespace anystar {

constexpr float kFewPhotons = 4.0f;  // below this rate counts are exact, above it they are an expansion
constexpr int kMostCounts = 17;

// The least count whose cumulative Poisson probability reaches the quantile of `normal`; rate below kFewPhotons.
inline float exact_count(float rate, float normal) {
    const float quantile = 0.5f + 0.5f * std::erf(normal * 0.70710678f);
    float chance = fast_exp(-rate), total = chance, count = 0.0f;
    for (int k = 1; k <= kMostCounts && quantile > total; ++k) {
        count += 1.0f;
        chance *= rate / float(k);
        total += chance;
    }
    return count;
}

// Cornish-Fisher expansion of Poisson's quantile to third order, rounded; rate at least kFewPhotons.
inline float expanded_count(float rate, float normal) {
    const float variance = rate - 1.0f / 12.0f;
    const float root = std::sqrt(variance), ratio = rate / variance, squared = normal * normal;
    const float third = ((squared - 3.0f) * (1.0f / 24.0f) - ratio * (2.0f * squared - 5.0f) * (1.0f / 36.0f)) * normal;
    const float expansion = (rate + root * normal) + ((squared - 1.0f) * (1.0f / 6.0f) + third / root) * ratio;
    return static_cast<float>(static_cast<int32_t>(least(most(0.0f, expansion + 0.5f), 2.1e9f)));
}

// image, out [samples, voxels]; limits [samples, 2]; camera [samples, 3]: photons, background, read noise. The two
// normal fields of a sample lie `stride` apart from those of the next.
inline void camera(const float *image, int64_t samples, int64_t voxels, const float *limits, const float *cameras,
                   const float *shot, const float *electronic, int64_t stride, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *photon = shot + s * stride + first;
        const float *electron = electronic + s * stride + first;
        float *__restrict to = out + s * voxels + first;
        const float low = limits[2 * s], span = limits[2 * s + 1] - low, divisor = span == 0.0f ? 1.0f : span;
        const float photons = cameras[3 * s], background = cameras[3 * s + 1], read = cameras[3 * s + 2];
        const auto rate = [&](int64_t k) { return (from[k] - low) / divisor * photons + background; };
        for (int64_t k = 0; k < count; ++k) to[k] = expanded_count(most(rate(k), kFewPhotons), photon[k]);
        for (int64_t k = 0; k < count; ++k) {
            const float expected = rate(k);
            if (expected < kFewPhotons) to[k] = exact_count(expected, photon[k]);
        }
        for (int64_t k = 0; k < count; ++k)
            to[k] = ((to[k] + read * electron[k]) - background) / photons * span + low;
    });
}

// sqrt((image + std real)^2 + (std imaginary)^2); a std of 0 leaves the image as it is.
inline void rician_noise(const float *image, int64_t samples, int64_t voxels, const float *std_of, const float *real,
                         const float *imaginary, int64_t stride, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *one = real + s * stride + first;
        const float *other = imaginary + s * stride + first, width = std_of[s];
        float *__restrict to = out + s * voxels + first;
        if (width == 0.0f) {
            std::copy_n(from, count, to);
            return;
        }
        for (int64_t k = 0; k < count; ++k) {
            const float noisy = from[k] + width * one[k], quadrature = width * other[k];
            to[k] = std::sqrt(noisy * noisy + quadrature * quadrature);
        }
    });
}

// clip(image + field sqrt(additive^2 + (speckle image)^2 + shot image), 0, 1) where image > 0; widths [samples, 3].
inline void detector_noise(const float *image, int64_t samples, int64_t voxels, const float *widths, const float *field,
                           float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *normal = field + s * voxels + first;
        const float additive = widths[3 * s], speckle = widths[3 * s + 1], shot = widths[3 * s + 2];
        float *__restrict to = out + s * voxels + first;
        if (additive == 0.0f && speckle == 0.0f && shot == 0.0f) {
            std::copy_n(from, count, to);
            return;
        }
        for (int64_t k = 0; k < count; ++k) {
            const float value = from[k], scaled = value * speckle;
            const float variance = (scaled * scaled + additive * additive) + most(0.0f, value) * shot;
            const float noisy = least(most(value + std::sqrt(variance) * normal[k], 0.0f), 1.0f);
            to[k] = value > 0.0f ? noisy : value;
        }
    });
}

}  // namespace anystar
