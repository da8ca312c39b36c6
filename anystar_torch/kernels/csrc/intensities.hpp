// Effects on single voxels: a bias field, a power law, a response curve, a rescaling, quantiles, holes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "parallel.hpp"
#include "vector_math.hpp"

namespace anystar {

constexpr int64_t kBlock = 4096;  // voxels; their temporaries stay in the first cache

// Calls body(sample, first, count) for blocks of consecutive voxels of every sample.
template <class Body>
void for_blocks(int64_t samples, int64_t voxels, int threads, const Body &body) {
    const int64_t blocks = (voxels + kBlock - 1) / kBlock;
    parallel_for(samples * blocks, threads, 1, [&](int64_t index, int) {
        const int64_t first = index % blocks * kBlock;
        body(index / blocks, first, std::min(kBlock, voxels - first));
    });
}

// Degrees of the 20 products of Legendre polynomials of total degree 3 or less, in the order of the coefficients.
template <class Body>
void for_terms(const Body &body) {
    int term = 0;
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4 - i; ++j)
            for (int k = 0; k < 4 - i - j; ++k) body(term++, i, j, k);
}

// Legendre polynomials of degree 0 to 3 at n places from -extent to extent: [4, n].
inline std::vector<float> legendre(int64_t n, float extent) {
    std::vector<float> table(static_cast<size_t>(4 * n), 1.0f);
    const float step = n > 1 ? 2.0f / float(n - 1) : 0.0f;
    for (int64_t i = 0; i < n; ++i) {
        const float x = extent * (2 * i < n ? float(i) * step - 1.0f : 1.0f - float(n - 1 - i) * step);
        const float square = x * x;
        table[static_cast<size_t>(n + i)] = x;
        table[static_cast<size_t>(2 * n + i)] = 1.5f * square - 0.5f;
        table[static_cast<size_t>(3 * n + i)] = (2.5f * square - 1.5f) * x;
    }
    return table;
}

// Multiplies by exp of a cubic of the position along the row; x [4, count], Legendre polynomials of degree 0 to 3.
ANYSTAR_WIDE void multiply_field(const float *from, const float *cubic, const float *x, int64_t count,
                                 float *__restrict to) {
    const float *linear = x + count, *square = x + 2 * count, *cube = x + 3 * count;
    for (int64_t k = 0; k < count; ++k)
        to[k] = from[k] * fast_exp((cubic[0] + cubic[1] * linear[k]) + (cubic[2] * square[k] + cubic[3] * cube[k]));
}

// image, out [samples, D, H, W]; coefficients [samples, 20]; extent [samples, 3].
inline void bias_field(const float *image, int64_t samples, const int64_t size[3], const float *coefficients,
                       const float *extent, float *out, int threads) {
    std::vector<std::vector<float>> tables;
    for (int64_t s = 0; s < samples; ++s)
        for (int axis = 0; axis < 3; ++axis) tables.push_back(legendre(size[axis], extent[3 * s + axis]));
    const int64_t rows = size[0] * size[1], width = size[2];
    parallel_for(samples * rows, threads, 1 + 16384 / width, [&](int64_t index, int) {
        const int64_t sample = index / rows;
        const auto *table = &tables[static_cast<size_t>(3 * sample)];
        const float *z = table[0].data() + index % rows / size[1], *y = table[1].data() + index % size[1];
        const float *x = table[2].data(), *weights = coefficients + 20 * sample;
        float cubic[4] = {};  // the row's sum as a series in x
        for_terms([&](int term, int i, int j, int k) { cubic[k] += weights[term] * (z[i * size[0]] * y[j * size[1]]); });
        multiply_field(image + index * width, cubic, x, width, out + index * width);
    });
}

ANYSTAR_WIDE void raise(const float *from, float low, float span, float power, int64_t count, float *__restrict to) {
    const float divisor = span + 1e-7f;
    for (int64_t k = 0; k < count; ++k) {
        const float share = (from[k] - low) / divisor;
        to[k] = only_if(share > 0.0f, fast_exp(fast_log(share) * power)) * span + low;
    }
}

// low + span * ((image - low) / span)^gamma with span = (high - low) * (1 + headroom). limits [samples, 2].
inline void contrast(const float *image, int64_t samples, int64_t voxels, const float *limits, const float *gamma,
                     const float *headroom, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first;
        float *to = out + s * voxels + first;
        const float low = limits[2 * s], span = (limits[2 * s + 1] - low) * (1.0f + headroom[s]);
        if (gamma[s] == 1.0f)
            std::copy_n(from, count, to);
        else
            raise(from, low, span, gamma[s], count, to);
    });
}

ANYSTAR_WIDE void map_to_unit(const float *from, float low, float span, int64_t count, float *__restrict to) {
    for (int64_t k = 0; k < count; ++k) to[k] = least(most((from[k] - low) / span, 0.0f), 1.0f);
}

// Clip (image - low) / (high - low) to [0, 1]; constants become 0. limits [samples, 2].
inline void to_unit(const float *image, int64_t samples, int64_t voxels, const float *limits, float *out, int threads) {
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float low = limits[2 * s], high = limits[2 * s + 1], span = high > low ? high - low : 1.0f;
        map_to_unit(image + s * voxels + first, low, span, count, out + s * voxels + first);
    });
}

// The quantiles dark and 1 - bright of every `step`th voxel: limits [samples, 2]. The place in the sorted values is
// rounded as torch.round does. Not a number counts as the largest value.
inline void lattice_quantiles(const float *image, int64_t samples, int64_t voxels, int64_t step, const float *dark,
                              const float *bright, float *limits, int threads) {
    parallel_for(samples, threads, 1, [&](int64_t s, int) {
        std::vector<float> values;
        values.reserve(static_cast<size_t>((voxels + step - 1) / step));
        for (int64_t k = 0; k < voxels; k += step) {
            const float value = image[s * voxels + k];
            values.push_back(value == value ? value : std::numeric_limits<float>::infinity());
        }
        const auto places = static_cast<int64_t>(values.size());
        const auto last = static_cast<float>(places - 1);
        const float shares[2] = {dark[s], 1.0f - bright[s]};
        for (int side = 0; side < 2; ++side) {
            const float place = least(most(0.0f, std::nearbyint(shares[side] * last)), last);
            // float32 rounds the last place of more than 2^24 values, upwards too
            const auto chosen = values.begin() + std::min(static_cast<int64_t>(place), places - 1);
            std::nth_element(values.begin(), chosen, values.end());
            limits[2 * s + side] = *chosen;
        }
    });
}

// Maps intensities, relative to their range, by a piecewise linear curve. limits [samples, 2]; response [samples, points].
inline void histogram_shift(const float *image, int64_t samples, int64_t voxels, const float *limits,
                            const float *response, int64_t points, float *out, int threads) {
    const auto pieces = static_cast<float>(points - 1);
    for_blocks(samples, voxels, threads, [&](int64_t s, int64_t first, int64_t count) {
        const float *from = image + s * voxels + first, *curve = response + s * points;
        float *__restrict to = out + s * voxels + first;
        const float low = limits[2 * s], span = limits[2 * s + 1] - low, divisor = span == 0.0f ? 1.0f : span;
        for (int64_t k = 0; k < count; ++k) {
            const float place = (from[k] - low) / divisor * pieces;
            const auto piece = static_cast<int64_t>(least(most(0.0f, place), pieces - 1.0f));
            const float share = place - float(piece);
            to[k] = (curve[piece] + share * (curve[piece + 1] - curve[piece])) * span + low;
        }
    });
}

// Sets cubes with an edge of size[s] voxels at corners [samples, holes, 3] to 0, as far as they lie inside.
template <class Number>
void cut_holes(Number *field, int64_t samples, const int64_t shape[3], const int64_t *corners, int64_t holes,
               const int64_t *size, int threads) {
    const int64_t voxels = shape[0] * shape[1] * shape[2];
    parallel_for(samples, threads, 1, [&](int64_t s, int) {
        for (int64_t hole = 0; hole < holes; ++hole) {
            const int64_t *corner = corners + 3 * (s * holes + hole);
            int64_t low[3], high[3];
            for (int axis = 0; axis < 3; ++axis) {
                low[axis] = std::clamp<int64_t>(corner[axis], 0, shape[axis]);
                high[axis] = std::clamp<int64_t>(corner[axis] + size[s], low[axis], shape[axis]);
            }
            for (int64_t z = low[0]; z < high[0]; ++z)
                for (int64_t y = low[1]; y < high[1]; ++y) {
                    Number *row = field + s * voxels + (z * shape[1] + y) * shape[2];
                    std::fill(row + low[2], row + high[2], Number(0));
                }
        }
    });
}

}  // namespace anystar
