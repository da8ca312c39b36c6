// Python bindings of the kernels of star-convex polyhedra: suppression, overlaps and rendering.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "nms.hpp"
#include "overlaps.hpp"
#include "polyhedron.hpp"
#include "render.hpp"

static bool near_origin(int64_t voxel) { return -(1 << 23) < voxel && voxel < (1 << 23); }

// ---- polyhedra ----------------------------------------------------------------------------------------------------

static anystar::RaySet ray_set(const Array<const float, 2> &vertices, const Array<const int64_t, 2> &faces) {
    require(vertices.shape(1) == 3, "rays.vertices must be [R, 3], got [.., " + std::to_string(vertices.shape(1)) + "]");
    require(faces.shape(1) == 3, "rays.faces must be [F, 3], got [.., " + std::to_string(faces.shape(1)) + "]");
    require(vertices.shape(0) < (size_t{1} << 24), "rays must be fewer than 2^24");
    return anystar::RaySet(vertices.data(), int64_t(vertices.shape(0)), faces.data(), int64_t(faces.shape(0)));
}

static void check_polyhedra(const Array<const float, 2> &points, const Array<const float, 2> &distances, int64_t rays) {
    require(points.shape(1) == 3, "points must be [N, 3], got [.., " + std::to_string(points.shape(1)) + "]");
    require(points.shape(0) == distances.shape(0) && int64_t(distances.shape(1)) == rays,
            "distances must be [" + std::to_string(points.shape(0)) + ", " + std::to_string(rays) +
                "], a row per point and a column per ray, got [" + std::to_string(distances.shape(0)) + ", " +
                std::to_string(distances.shape(1)) + "]");
    nb::gil_scoped_release release;
    anystar::check_polyhedra(points.data(), distances.data(), int64_t(points.shape(0)), rays);
}

// ---- nms ----------------------------------------------------------------------------------------------------------

// A suppression in progress, and the arrays that its round reads.
class Suppression {
    using Boxes = Array<const int32_t, 3>;  // [M, 2, 3]: first and last voxel of each

public:
    Suppression(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 1> scores,
                Array<const float, 2> vertices, Array<const int64_t, 2> faces, double nms_thresh, int threads,
                int64_t cache_bytes)
        : rays_(ray_set(vertices, faces)) {
        require(nms_thresh >= 0 && nms_thresh <= 1,
                "nms_thresh must lie in [0, 1], got " + std::to_string(nms_thresh));
        check_threads(threads);
        work_ = std::make_unique<anystar::Suppression>(rays_, nms_thresh, threads, cache_bytes);
        begin(std::move(points), std::move(distances), std::move(scores), std::nullopt);
    }

    void begin(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 1> scores,
               std::optional<Boxes> unfinished, std::optional<Array<const uint8_t, 1>> held = std::nullopt) {
        const auto lock = locked();
        work_->begin(nullptr, nullptr, nullptr, 0, {});  // the arrays of the round before are not read any more
        points_ = std::move(points);
        distances_ = std::move(distances);
        scores_ = std::move(scores);
        held_ = std::move(held);
        check_polyhedra(points_, distances_, rays_.rays());
        const auto n = int64_t(points_.shape(0));
        require(int64_t(scores_.shape(0)) == n, "scores must be [" + std::to_string(n) + "], one per point, got [" +
                                                    std::to_string(scores_.shape(0)) + "]");
        const float *score = std::find_if_not(scores_.data(), scores_.data() + n, [](float s) { return std::isfinite(s); });
        if (const int64_t place = score - scores_.data(); place < n)
            throw std::invalid_argument("scores must be finite, got " + std::to_string(*score) + " at [" +
                                        std::to_string(place) + "]");
        require(!held_ || int64_t(held_->shape(0)) == n, "held must have one element per candidate");
        anystar::Vector<anystar::Box> boxes;
        if (unfinished) {
            require(unfinished->shape(1) == 2 && unfinished->shape(2) == 3, "unfinished must be [M, 2, 3]");
            const int32_t *edge = unfinished->data();
            for (size_t i = 0; i < unfinished->shape(0); ++i, edge += 6) {
                require(std::all_of(edge, edge + 6, near_origin), "unfinished boxes must lie within 2^23 voxels of the origin");
                boxes.push_back({{edge[0], edge[1], edge[2]}, {edge[3], edge[4], edge[5]}});
            }
        }
        nb::gil_scoped_release release;
        work_->begin(points_.data(), distances_.data(), scores_.data(), n, boxes, held_ ? held_->data() : nullptr);
    }

    int64_t advance(double seconds) {
        require(seconds >= 0 && seconds <= 3600, "seconds must lie in [0, 3600]");
        const auto lock = locked();
        nb::gil_scoped_release release;
        return work_->advance(seconds);
    }

    Suppression(const Suppression &) = delete;  // work_ points into rays_

    void read(Array<uint8_t, 1> states) {
        const auto lock = locked();
        require(int64_t(states.shape(0)) == work_->size(), "states must have one element per candidate");
        std::copy(work_->states().begin(), work_->states().end(), states.data());
    }

private:
    // Waits without the interpreter, because another thread that holds the mutex needs the interpreter to let go of it.
    std::unique_lock<std::mutex> locked() {
        nb::gil_scoped_release release;
        return std::unique_lock<std::mutex>(mutex_);
    }

    Array<const float, 2> points_, distances_;
    Array<const float, 1> scores_;
    std::optional<Array<const uint8_t, 1>> held_;
    anystar::RaySet rays_;
    std::unique_ptr<anystar::Suppression> work_;
    std::mutex mutex_;
};

static void overlaps(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 2> vertices,
                     Array<const int64_t, 2> faces, Array<const int64_t, 2> pairs, Array<int64_t, 1> shared,
                     Array<double, 1> smaller, int threads) {
    const anystar::RaySet rays = ray_set(vertices, faces);
    check_polyhedra(points, distances, rays.rays());
    const auto count = int64_t(pairs.shape(0)), n = int64_t(points.shape(0));
    require(pairs.shape(1) == 2, "pairs must be [M, 2]");
    require(std::all_of(pairs.data(), pairs.data() + 2 * count, [n](int64_t i) { return 0 <= i && i < n; }),
            "pairs must index points");
    require(int64_t(shared.shape(0)) == count && int64_t(smaller.shape(0)) == count,
            "shared and smaller must have one element per pair");
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::overlaps(rays, points.data(), distances.data(), pairs.data(), count, shared.data(), smaller.data(), threads);
}

static void bind_nms(nb::module_ &module) {
    nb::class_<Suppression>(module, "Suppression", "A non-maximum suppression, advanced a little at a time.")
        .def(nb::init<Array<const float, 2>, Array<const float, 2>, Array<const float, 1>, Array<const float, 2>,
                      Array<const int64_t, 2>, double, int, int64_t>(),
             nb::arg("points").noconvert(), nb::arg("distances").noconvert(), nb::arg("scores").noconvert(),
             nb::arg("vertices").noconvert(), nb::arg("faces").noconvert(), nb::arg("nms_thresh"), nb::arg("threads"),
             nb::arg("cache_bytes") = int64_t{1} << 30)
        .def("advance", &Suppression::advance, nb::arg("seconds"),
             "Work for about this long; returns the number of candidates decided by now.")
        .def("begin", &Suppression::begin, nb::arg("points").noconvert(), nb::arg("distances").noconvert(),
             nb::arg("scores").noconvert(), nb::arg("unfinished").noconvert().none() = nb::none(),
             nb::arg("held").noconvert().none() = nb::none(),
             "Begin the next round, with new candidates and those that are open; others may come from unfinished boxes. "
             "Candidates that are held (not 0) stay open unless a survivor suppresses them. The state of those with 2 is "
             "not needed: they stay open if they change nothing.")
        .def("read", &Suppression::read, nb::arg("states").noconvert(),
             "Copy 0 (goes), 1 (survives) or 2 (open) per candidate of this round to `states`.");
    module.def("overlaps", &overlaps, nb::arg("points").noconvert(), nb::arg("distances").noconvert(),
               nb::arg("vertices").noconvert(), nb::arg("faces").noconvert(), nb::arg("pairs").noconvert(),
               nb::arg("shared").noconvert(), nb::arg("smaller").noconvert(), nb::arg("threads"),
               "Voxels inside both polyhedra of each pair, and the smaller of their volumes.");
}

// ---- render -------------------------------------------------------------------------------------------------------

static void render_labels(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 2> vertices,
                          Array<const int64_t, 2> faces, Array<int32_t, 3> labels, int64_t first, int64_t last,
                          int threads, std::array<int64_t, 3> low) {
    const anystar::RaySet rays = ray_set(vertices, faces);
    check_polyhedra(points, distances, rays.rays());
    const int64_t shape[3] = {int64_t(labels.shape(0)), int64_t(labels.shape(1)), int64_t(labels.shape(2))};
    for (int64_t size : shape) require(size < (1 << 30), "shape must be below 2^30 along each axis");
    require(std::all_of(low.begin(), low.end(), near_origin), "low must lie within 2^23 voxels of the origin");
    require(points.shape(0) < (size_t{1} << 31), "labels are int32: at most 2^31 - 1 polyhedra");
    require(0 <= first && first <= last && last <= shape[0], "slices must lie within the labels");
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::render_labels(rays, points.data(), distances.data(), int64_t(points.shape(0)), labels.data(), shape, first,
                           last, low.data(), threads);
}

static void bind_render(nb::module_ &module) {
    module.def("render_labels", &render_labels, nb::arg("points").noconvert(), nb::arg("distances").noconvert(),
               nb::arg("vertices").noconvert(), nb::arg("faces").noconvert(), nb::arg("labels").noconvert(),
               nb::arg("first"), nb::arg("last"), nb::arg("threads"), nb::arg("low") = std::array<int64_t, 3>{0, 0, 0},
               "Draw the slices [first, last) of polyhedra 1..N into zeroed labels; earlier ones win. The first voxel of "
               "the labels is voxel `low` of the volume.");
}

void bind_polyhedra(nb::module_ &module) {
    bind_nms(module);
    bind_render(module);
}
