// exp and log of float32 without branches or tables, so that loops over them become vector instructions.
// Cephes' expf and logf (S. Moshier, 1992): relative error of exp and absolute error of log below 2e-7 in [-87, 88].
#pragma once

#include <cstdint>
#include <cstring>

// Marks a function with loops over voxels. GCC on Linux compiles it for wider registers too, and the loader chooses.
// The bits are the same, because no multiplication is fused with an addition (CMakeLists.txt).
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define ANYSTAR_WIDE __attribute__((target_clones("default", "avx2"))) static
#else
#define ANYSTAR_WIDE static
#endif

// Marks functions that such loops call, because a loop with a call in it does not become vector instructions.
#if defined(__GNUC__)
#define ANYSTAR_INLINE __attribute__((always_inline)) inline
#else
#define ANYSTAR_INLINE inline
#endif

namespace anystar {

// The first argument where either is not a number. With a number as the first argument an index stays in its range.
ANYSTAR_INLINE float least(float a, float b) { return b < a ? b : a; }
ANYSTAR_INLINE float most(float a, float b) { return a < b ? b : a; }

// exp(x); arguments are clamped to [-87, 88].
ANYSTAR_INLINE float fast_exp(float x) {
    x = least(most(-87.0f, x), 88.0f);
    const auto whole = static_cast<int32_t>(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    const auto n = static_cast<float>(whole);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = (y * r * r + r) + 1.0f;
    const int32_t bits = (whole + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return y * power;
}

// log(x) of positive x; arguments below 1.2e-38 are taken as 1.2e-38.
ANYSTAR_INLINE float fast_log(float x) {
    x = most(1.1754944e-38f, x);
    int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    // The mantissa lies in [sqrt(1/2), sqrt(2)): adding the difference of 1 and sqrt(1/2) moves the exponent's step there.
    const int32_t moved = bits + (0x3f800000 - 0x3f3504f3);
    const auto n = static_cast<float>((moved >> 23) - 127);
    const int32_t mantissa = (moved & 0x007fffff) + 0x3f3504f3;
    float m;
    std::memcpy(&m, &mantissa, sizeof m);
    m -= 1.0f;
    const float z = m * m;
    float y = 7.0376836292e-2f;
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z - n * 2.12194440e-4f - 0.5f * z;
    return (m + y) + n * 0.693359375f;
}

// `number` where `condition` holds, else 0. It masks bits: a conditional expression would become a branch.
ANYSTAR_INLINE float only_if(bool condition, float number) {
    int32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    bits &= -static_cast<int32_t>(condition);
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// The error function to 2e-7 (Abramowitz and Stegun, 1964, 7.1.26).
ANYSTAR_INLINE float fast_erf(float x) {
    const float size = x < 0.0f ? -x : x, t = 1.0f / (1.0f + 0.3275911f * size);
    float y = 1.061405429f;
    y = y * t - 1.453152027f;
    y = y * t + 1.421413741f;
    y = y * t - 0.284496736f;
    y = (y * t + 0.254829592f) * t;
    const float positive = 1.0f - y * fast_exp(-size * size);
    return x < 0.0f ? -positive : positive;
}

}  // namespace anystar
