// The order in which candidates are decided: by falling score, then by rising z, y, x, then by rising distances.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "vector.hpp"

namespace anystar {

// Indices of candidates with points [n, 3], distances [n, rays] and finite scores [n], from the best to the worst. Equal
// candidates stay in their order.
inline Vector<int64_t> processing_order(const float *points, const float *distances, const float *scores, int64_t n,
                                        int64_t rays) {
    const auto before = [=](int64_t i, int64_t j) {
        if (scores[i] != scores[j]) return scores[i] > scores[j];
        for (int k = 0; k < 3; ++k)
            if (points[3 * i + k] != points[3 * j + k]) return points[3 * i + k] < points[3 * j + k];
        for (int64_t r = 0; r < rays; ++r)
            if (distances[rays * i + r] != distances[rays * j + r])
                return distances[rays * i + r] < distances[rays * j + r];
        return i < j;
    };
    Vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::sort(order.begin(), order.end(), before);
    return order;
}

}  // namespace anystar
