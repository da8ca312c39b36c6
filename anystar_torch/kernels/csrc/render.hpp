// Polyhedra drawn into a volume of labels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bits.hpp"
#include "parallel.hpp"
#include "polyhedron.hpp"
#include "vector.hpp"

namespace anystar {

// Writes i + 1 into the voxels of polyhedron i that are 0, for i = 0, 1, ...: earlier ones win. Draws the slices
// [first, last) of labels [depth, height, width], whose first voxel is voxel `low` of the volume. Slabs of slices are
// independent, so threads share them.
inline void render_labels(const RaySet &rays, const float *points, const float *distances, int64_t n, int32_t *labels,
                          const int64_t shape[3], int64_t first, int64_t last, const int64_t low[3], int threads) {
    threads = std::max(threads, 1);
    if (n == 0 || first >= last || shape[1] == 0 || shape[2] == 0) return;
    Vector<Rasteriser> rasterisers(threads, Rasteriser(rays));
    Vector<Vector<uint64_t>> scratch(threads);
    Vector<Box> boxes(n);
    const Box volume{{int32_t(low[0] + first), int32_t(low[1]), int32_t(low[2])},
                     {int32_t(low[0] + last - 1), int32_t(low[1] + shape[1] - 1), int32_t(low[2] + shape[2] - 1)}};
    parallel_for(n, threads, 64, [&](int64_t i, int worker) {
        rasterisers[worker].set(points + 3 * i, distances + rays.rays() * i);
        boxes[i] = rasterisers[worker].box() & volume;
    });
    const int64_t thickness = std::clamp<int64_t>((last - first) / (4 * threads), 4, 64);
    parallel_for((last - first + thickness - 1) / thickness, threads, 1, [&](int64_t slab, int worker) {
        Rasteriser &rasteriser = rasterisers[worker];
        auto &rows = scratch[worker];
        Box slices = volume;
        slices.lo[0] = int32_t(low[0] + first + slab * thickness);
        slices.hi[0] = int32_t(low[0] + std::min(last, first + (slab + 1) * thickness) - 1);
        for (int64_t i = 0; i < n; ++i) {
            const Box crop = boxes[i] & slices;
            if (crop.voxels() == 0) continue;
            rasteriser.set(points + 3 * i, distances + rays.rays() * i);
            rows.assign(Bitmap::words(crop), 0);
            rasteriser.fill(crop, rows.data());
            const Bitmap bitmap{crop, rows.data()};
            for (int64_t z = 0; z < crop.size(0); ++z)
                for (int64_t y = 0; y < crop.size(1); ++y) {
                    const int64_t row_of_labels = (z + crop.lo[0] - low[0]) * shape[1] + y + crop.lo[1] - low[1];
                    int32_t *line = labels + row_of_labels * shape[2] + crop.lo[2] - low[2];
                    const uint64_t *row = bitmap.row(z, y);
                    for (int64_t k = 0; k < Bitmap::words_per_row(crop); ++k)
                        for (uint64_t word = row[k]; word; word &= word - 1) {
                            int32_t &label = line[64 * k + lowest_bit(word)];
                            if (label == 0) label = static_cast<int32_t>(i + 1);
                        }
                }
        }
    });
}

}  // namespace anystar
