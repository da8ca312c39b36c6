// Overlaps of pairs of polyhedra.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "box.hpp"
#include "parallel.hpp"
#include "polyhedron.hpp"
#include "vector.hpp"

namespace anystar {

// For every pair (a, b): the number of voxels inside both polyhedra, and the smaller of their analytic volumes. The
// suppression compares these two numbers. Pairs with the same a share the voxels of a if they are neighbours in the list.
inline void overlaps(const RaySet &rays, const float *points, const float *distances, const int64_t *pairs, int64_t count,
                     int64_t *shared, double *smaller, int threads) {
    struct Worker {
        Rasteriser rasteriser;
        int64_t first = -1;
        double volume = 0;
        Box box;
        Vector<uint64_t> rows, others;
    };
    Vector<Worker> workers(std::max(threads, 1), Worker{Rasteriser(rays), -1, 0, {}, {}, {}});
    auto draw = [&](Rasteriser &rasteriser, int64_t index, Vector<uint64_t> &rows) {
        rasteriser.set(points + 3 * index, distances + rays.rays() * index);
        const Box box = rasteriser.box();
        check_box(box, index);
        rows.assign(Bitmap::words(box), 0);
        rasteriser.fill(box, rows.data());
        return box;
    };
    parallel_for(count, threads, 64, [&](int64_t i, int id) {
        Worker &worker = workers[id];
        const int64_t a = pairs[2 * i], b = pairs[2 * i + 1];
        if (worker.first != a) {
            worker.first = -1;
            worker.box = draw(worker.rasteriser, a, worker.rows);
            worker.volume = rays.volume(distances + rays.rays() * a);
            worker.first = a;
        }
        const Box box = draw(worker.rasteriser, b, worker.others);
        const double everything = std::numeric_limits<double>::infinity();
        const bool meet = (box & worker.box).voxels() > 0;
        shared[i] = meet ? shared_voxels({worker.box, worker.rows.data()}, {box, worker.others.data()}, everything) : 0;
        smaller[i] = std::min(worker.volume, rays.volume(distances + rays.rays() * b));
    });
}

}  // namespace anystar
