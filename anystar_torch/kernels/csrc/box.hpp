// Boxes of voxels, and sets of voxels within a box. Axes are z, y, x.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "bits.hpp"

namespace anystar {

// Inclusive voxel bounds; empty when hi < lo along any axis.
struct Box {
    int32_t lo[3] = {0, 0, 0}, hi[3] = {-1, -1, -1};

    int64_t size(int axis) const { return std::max<int64_t>(0, int64_t{hi[axis]} - lo[axis] + 1); }
    double voxels() const { return double(size(0)) * double(size(1)) * double(size(2)); }
    Box operator&(const Box &other) const {
        Box both;
        for (int k = 0; k < 3; ++k) {
            both.lo[k] = std::max(lo[k], other.lo[k]);
            both.hi[k] = std::min(hi[k], other.hi[k]);
        }
        return both;
    }
};

// One bit per voxel of a box, rows along x; the bits beyond the box are 0.
struct Bitmap {
    Box box;
    const uint64_t *rows = nullptr;

    static int64_t words_per_row(const Box &of) { return of.size(2) / 64 + 1; }  // one spare bit after the last voxel
    static int64_t words(const Box &of) { return of.size(0) * of.size(1) * words_per_row(of); }
    const uint64_t *row(int64_t z, int64_t y) const { return rows + (z * box.size(1) + y) * words_per_row(box); }
};

// Number of voxels in both. It may stop above `enough` and return a number above it.
inline int64_t shared_voxels(const Bitmap &a, const Bitmap &b, double enough) {
    const Box both = a.box & b.box;
    const int64_t words = Bitmap::words_per_row(both);
    auto word = [&](const uint64_t *row, int64_t bit, int64_t row_words) {  // 64 voxels from `bit` on
        const int64_t i = bit / 64, shift = bit % 64;
        uint64_t value = row[i] >> shift;
        if (shift && i + 1 < row_words) value |= row[i + 1] << (64 - shift);
        return value;
    };
    const int64_t start_a = both.lo[2] - a.box.lo[2], start_b = both.lo[2] - b.box.lo[2];
    const int64_t words_a = Bitmap::words_per_row(a.box), words_b = Bitmap::words_per_row(b.box);
    const int64_t height = both.size(1);
    int64_t count = 0;
    for (int64_t z = both.lo[0]; z <= both.hi[0]; ++z) {
        const uint64_t *row_a = a.row(z - a.box.lo[0], both.lo[1] - a.box.lo[1]);
        const uint64_t *row_b = b.row(z - b.box.lo[0], both.lo[1] - b.box.lo[1]);
        if (words_a == 1 && words_b == 1) {
            for (int64_t y = 0; y < height; ++y) count += count_bits((row_a[y] >> start_a) & (row_b[y] >> start_b));
        } else {
            for (int64_t y = 0; y < height; ++y, row_a += words_a, row_b += words_b)
                for (int64_t i = 0; i < words; ++i) {
                    if (start_a + 64 * i >= 64 * words_a || start_b + 64 * i >= 64 * words_b) break;
                    count += count_bits(word(row_a, start_a + 64 * i, words_a) & word(row_b, start_b + 64 * i, words_b));
                }
        }
        if (double(count) > enough) break;
    }
    return count;
}

// Refuses a candidate whose box has more than 2^33 voxels, or is longer than 2^20: the corners of its cross-sections, and
// the words of its rows, would need more memory than there is. A row of a thin box takes a whole word too.
inline void check_box(const Box &box, int64_t index) {
    const double rows = double(box.size(0)) * double(box.size(1));
    const int64_t longest = std::max({box.size(0), box.size(1), box.size(2)});
    if (rows * double(std::max<int64_t>(box.size(2), 32)) > double(int64_t{1} << 33) || longest > (1 << 20))
        throw std::invalid_argument(
            "candidate " + std::to_string(index) + " spans " + std::to_string(box.size(0)) + " x " +
            std::to_string(box.size(1)) + " x " + std::to_string(box.size(2)) +
            " voxels, more than 2^33 (rows count as 32 or more) or more than 2^20 along an axis: distances are "
            "measured in voxels");
}

}  // namespace anystar
