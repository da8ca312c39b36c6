// The error of the distances and its gradient in one pass over them, the largest arrays of a training step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "parallel.hpp"

namespace anystar {

// Types of numbers in memory. Rounding is to the nearest, ties to even, as in torch.
struct Float32 {
    using Stored = float;
    static float load(float stored) { return stored; }
    static float store(float number) { return number; }
};

struct BFloat16 {
    using Stored = uint16_t;
    static float load(uint16_t stored) {
        const uint32_t bits = uint32_t(stored) << 16;
        float number;
        std::memcpy(&number, &bits, sizeof number);
        return number;
    }
    static uint16_t store(float number) {  // the number must be finite
        uint32_t bits;
        std::memcpy(&bits, &number, sizeof bits);
        return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
};

inline float sign(float number) { return static_cast<float>((number > 0) - (number < 0)); }

// One grid point: its weighted error, and the gradient along every ray.
template <class Number>
float error_of_point(const typename Number::Stored *distances, const float *target, float on_error, float on_size,
                     int64_t rays, typename Number::Stored *gradient) {
    constexpr int64_t kSums = 8;  // independent sums, so that compilers may use vector instructions
    float error[kSums] = {}, size[kSums] = {};
    const auto ray = [&](int64_t r, int64_t sum) {
        const float distance = Number::load(distances[r]), difference = distance - target[r];
        error[sum] += std::abs(difference);
        size[sum] += std::abs(distance);
        gradient[r] = Number::store(sign(distance) * on_size + sign(difference) * on_error);
    };
    int64_t r = 0;
    for (; r + kSums <= rays; r += kSums)
        for (int64_t sum = 0; sum < kSums; ++sum) ray(r + sum, sum);
    for (; r < rays; ++r) ray(r, 0);
    float errors = 0, sizes = 0;
    for (int64_t sum = 0; sum < kSums; ++sum) errors += error[sum], sizes += size[sum];
    return errors * on_error + sizes * on_size;
}

// distances, gradient [samples, points, rays]; target [samples, rays, points]; weights [samples, points] ->
// sum of on_error * |distances - target| + on_size * |distances|, the same bits on any number of threads.
template <class Number>
double weighted_error(const typename Number::Stored *distances, const float *target, const float *on_error,
                      const float *on_size, int64_t samples, int64_t points, int64_t rays,
                      typename Number::Stored *gradient, int threads) {
    constexpr int64_t kPoints = 16;  // a cache line of one ray's targets
    const int64_t blocks = (points + kPoints - 1) / kPoints;
    std::vector<double> sums(static_cast<size_t>(samples * blocks), 0.0);
    std::vector<std::vector<float>> tiles(static_cast<size_t>(threads));
    parallel_for(samples * blocks, threads, 64, [&](int64_t block, int worker) {
        const int64_t sample = block / blocks, first = block % blocks * kPoints;
        const int64_t count = std::min(kPoints, points - first);
        std::vector<float> &tile = tiles[static_cast<size_t>(worker)];  // the targets, point by point
        tile.resize(static_cast<size_t>(kPoints * rays));
        // Targets are the larger half of what is read, and most blocks are background, where they have no weight.
        const float *weights = on_error + sample * points + first;
        if (std::any_of(weights, weights + count, [](float weight) { return weight != 0.0f; }))
            for (int64_t r = 0; r < rays; ++r) {
                const float *from = target + (sample * rays + r) * points + first;
                for (int64_t i = 0; i < count; ++i) tile[static_cast<size_t>(i * rays + r)] = from[i];
            }
        else
            std::fill(tile.begin(), tile.end(), 0.0f);
        double sum = 0;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t point = sample * points + first + i;
            sum += error_of_point<Number>(distances + point * rays, tile.data() + i * rays, on_error[point],
                                          on_size[point], rays, gradient + point * rays);
        }
        sums[static_cast<size_t>(block)] = sum;
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    return total;
}

}  // namespace anystar
