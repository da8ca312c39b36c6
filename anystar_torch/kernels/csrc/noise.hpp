// Noise as a function of standard normal fields: a camera that counts photons, Rician noise, detector noise.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "intensities.hpp"
#include "vector_math.hpp"

namespace anystar {

constexpr float kFewPhotons = 4.0f;  // below this rate counts are exact, above it an expansion is used
constexpr int kMostCounts = 17;

// The least counts whose cumulative Poisson probability reaches the quantile of `normal`; rates below kFewPhotons.
// The inner loops are over voxels, because only inner loops become vector instructions. At most kBlock voxels.
ANYSTAR_WIDE void exact_counts(const float *rate, const float *normal, int64_t count, float *__restrict counts) {
    float quantile[kBlock], chance[kBlock], total[kBlock];
    for (int64_t k = 0; k < count; ++k) {
        quantile[k] = 0.5f + 0.5f * fast_erf(normal[k] * 0.70710678f);
        chance[k] = total[k] = fast_exp(-rate[k]);
        counts[k] = 0.0f;
    }
    for (int n = 1; n <= kMostCounts; ++n) {
        const float share = 1.0f / float(n);
        for (int64_t k = 0; k < count; ++k) {
            counts[k] += only_if(quantile[k] > total[k], 1.0f);
            chance[k] *= rate[k] * share;
            total[k] += chance[k];
        }
    }
}

// Cornish-Fisher expansion of Poisson's quantile to third order, rounded; rate at least kFewPhotons.
ANYSTAR_INLINE float expanded_count(float rate, float normal) {
    const float variance = rate - 1.0f / 12.0f;
    const float root = std::sqrt(variance), ratio = rate / variance, squared = normal * normal;
    const float third = ((squared - 3.0f) * (1.0f / 24.0f) - ratio * (2.0f * squared - 5.0f) * (1.0f / 36.0f)) * normal;
    const float expansion = (rate + root * normal) + ((squared - 1.0f) * (1.0f / 6.0f) + third / root) * ratio;
    return static_cast<float>(static_cast<int32_t>(least(most(0.0f, expansion + 0.5f), 2.1e9f)));
}

ANYSTAR_WIDE void expanded_counts(const float *rate, const float *normal, int64_t count, float *__restrict counts) {
    for (int64_t k = 0; k < count; ++k) counts[k] = expanded_count(most(kFewPhotons, rate[k]), normal[k]);
}

// (image - low) / span * photons + background.
ANYSTAR_WIDE void expect(const float *image, float low, float span, float photons, float background, int64_t count,
                         float *__restrict rate) {
    for (int64_t k = 0; k < count; ++k) rate[k] = (image[k] - low) / span * photons + background;
}

// Adds read noise to counts and scales them back to the intensities of the image; `to` holds the counts.
ANYSTAR_WIDE void read_out(const float *electron, float read, float background, float photons, float span, float low,
                           int64_t count, float *__restrict to) {
    for (int64_t k = 0; k < count; ++k)
        to[k] = ((to[k] + read * electron[k]) - background) / photons * span + low;
}

// Poisson counts of a block of at most kBlock voxels. The few voxels that need the sum of probabilities are gathered.
inline void count_photons(const float *rate, const float *normal, int64_t count, float *counts) {
    float few_rate[kBlock], few_normal[kBlock], few[kBlock];
    int32_t place[kBlock];
    int64_t found = 0;
    for (int64_t k = 0; k < count; ++k) {
        few_rate[found] = rate[k], few_normal[found] = normal[k], place[found] = static_cast<int32_t>(k);
        found += rate[k] < kFewPhotons;
    }
    if (found < count) expanded_counts(rate, normal, count, counts);
    exact_counts(few_rate, few_normal, found, few);
    for (int64_t k = 0; k < found; ++k) counts[place[k]] = few[k];
}

// image, out [samples, voxels]; limits [samples, 2]; camera [samples, 3]: photons, background, read noise. The two
// normal fields of a sample lie `stride` apart from those of the next.
inline void camera(const float *image, int64_t samples, int64_t voxels, const float *limits, const float *cameras,
                   const float *shot, const float *electronic, int64_t stride, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *photon = shot + s * stride + first;
        const float *electron = electronic + s * stride + first;
        float *to = out + s * voxels + first;
        const float low = limits[2 * s], span = limits[2 * s + 1] - low, divisor = span == 0.0f ? 1.0f : span;
        const float photons = cameras[3 * s], background = cameras[3 * s + 1], read = cameras[3 * s + 2];
        float rate[kBlock];
        expect(from, low, divisor, photons, background, count, rate);
        count_photons(rate, photon, count, to);
        read_out(electron, read, background, photons, span, low, count, to);
    });
}

ANYSTAR_WIDE void magnitude(const float *from, float width, const float *one, const float *other, int64_t count,
                            float *__restrict to) {
    for (int64_t k = 0; k < count; ++k) {
        const float noisy = from[k] + width * one[k], quadrature = width * other[k];
        to[k] = std::sqrt(noisy * noisy + quadrature * quadrature);
    }
}

// sqrt((image + std real)^2 + (std imaginary)^2); a std of 0 leaves the image as it is.
inline void rician_noise(const float *image, int64_t samples, int64_t voxels, const float *std_of, const float *real,
                         const float *imaginary, int64_t stride, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first;
        float *to = out + s * voxels + first;
        if (std_of[s] == 0.0f)
            std::copy_n(from, count, to);
        else
            magnitude(from, std_of[s], real + s * stride + first, imaginary + s * stride + first, count, to);
    });
}

ANYSTAR_WIDE void add_detector_noise(const float *from, const float *widths, const float *normal, int64_t count,
                                     float *__restrict to) {
    const float additive = widths[0], speckle = widths[1], shot = widths[2];
    for (int64_t k = 0; k < count; ++k) {
        const float value = from[k], scaled = value * speckle;
        const float variance = (scaled * scaled + additive * additive) + most(0.0f, value) * shot;
        const float noisy = least(most(value + std::sqrt(variance) * normal[k], 0.0f), 1.0f);
        to[k] = value > 0.0f ? noisy : value;
    }
}

// clip(image + field sqrt(additive^2 + (speckle image)^2 + shot image), 0, 1) where image > 0; widths [samples, 3].
inline void detector_noise(const float *image, int64_t samples, int64_t voxels, const float *widths, const float *field,
                           float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *width = widths + 3 * s;
        float *to = out + s * voxels + first;
        if (width[0] == 0.0f && width[1] == 0.0f && width[2] == 0.0f)
            std::copy_n(from, count, to);
        else
            add_detector_noise(from, width, field + s * voxels + first, count, to);
    });
}

}  // namespace anystar
