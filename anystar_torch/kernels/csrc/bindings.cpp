// Python bindings: they check array types, release the interpreter and call the kernels. Each kernel has one block and a
// function bind_<kernel>(module), called at the end of this file. bindings_effects.cpp has the kernels of intensity
// effects, bindings_scene.cpp those of scenes.
//
// Arrays are C-contiguous on the CPU and are never converted: a wrong dtype, order or number of dimensions is a
// TypeError. std::invalid_argument from a kernel becomes ValueError. Nothing here or below prints.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "components.hpp"
#include "edt.hpp"
#include "nms.hpp"
#include "overlaps.hpp"
#include "polyhedron.hpp"
#include "render.hpp"
#include "star_distances.hpp"
#include "weighted_error.hpp"

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
        std::lock_guard<std::mutex> lock(mutex_);
        work_->begin(nullptr, nullptr, nullptr, 0, {});  // the arrays of the round before are not read any more
        points_ = std::move(points);
        distances_ = std::move(distances);
        scores_ = std::move(scores);
        held_ = std::move(held);
        check_polyhedra(points_, distances_, rays_.rays());
        const auto n = int64_t(points_.shape(0));
        require(int64_t(scores_.shape(0)) == n, "scores must be [" + std::to_string(n) + "], one per point, got [" +
                                                    std::to_string(scores_.shape(0)) + "]");
        for (int64_t i = 0; i < n; ++i)
            require(std::isfinite(scores_.data()[i]), "scores must be finite, got " + std::to_string(scores_.data()[i]) +
                                                          " at [" + std::to_string(i) + "]");
        require(!held_ || int64_t(held_->shape(0)) == n, "held must have one element per candidate");
        std::vector<anystar::Box> boxes;
        if (unfinished) {
            require(unfinished->shape(1) == 2 && unfinished->shape(2) == 3, "unfinished must be [M, 2, 3]");
            const int32_t *edge = unfinished->data();
            for (size_t i = 0; i < unfinished->shape(0); ++i, edge += 6) {
                for (int k = 0; k < 6; ++k)
                    require(std::abs(edge[k]) < (1 << 23), "unfinished boxes must lie within 2^23 voxels of the origin");
                boxes.push_back({{edge[0], edge[1], edge[2]}, {edge[3], edge[4], edge[5]}});
            }
        }
        nb::gil_scoped_release release;
        work_->begin(points_.data(), distances_.data(), scores_.data(), n, boxes, held_ ? held_->data() : nullptr);
    }

    int64_t advance(double seconds) {
        require(seconds >= 0 && seconds <= 3600, "seconds must lie in [0, 3600]");
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(mutex_);
        return work_->advance(seconds);
    }

    Suppression(const Suppression &) = delete;  // work_ points into rays_

    void read(Array<uint8_t, 1> states) {
        std::lock_guard<std::mutex> lock(mutex_);
        require(int64_t(states.shape(0)) == work_->size(), "states must have one element per candidate");
        std::copy(work_->states().begin(), work_->states().end(), states.data());
    }

private:
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
    for (int64_t i = 0; i < 2 * count; ++i) require(0 <= pairs.data()[i] && pairs.data()[i] < n, "pairs must index points");
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
             "Candidates that are held stay open unless a survivor suppresses them.")
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
    for (int64_t voxel : low) require(std::abs(voxel) < (1 << 23), "low must lie within 2^23 voxels of the origin");
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

// ---- targets and components ---------------------------------------------------------------------------------------

using LabelArray = Array<const int32_t, 4>;  // [B, D, H, W]

struct LabelShape {
    int64_t samples, size[3];

    explicit LabelShape(const LabelArray &labels)
        : samples(int64_t(labels.shape(0))),
          size{int64_t(labels.shape(1)), int64_t(labels.shape(2)), int64_t(labels.shape(3))} {
        for (int64_t n : size) require(n >= 1 && n <= (1 << 20), "labels must have 1..2^20 voxels along each axis");
        require(voxels() <= (int64_t{1} << 40), "labels must have at most 2^40 voxels a sample");
    }
    int64_t voxels() const { return size[0] * size[1] * size[2]; }
    std::string on(anystar::Grid grid, const std::string &first) const {
        const int64_t d = (size[0] + grid.z - 1) / grid.z, h = (size[1] + grid.y - 1) / grid.y;
        const int64_t w = (size[2] + grid.x - 1) / grid.x;
        return "out must be [" + std::to_string(samples) + ", " + first + ", " + std::to_string(d) + ", " +
               std::to_string(h) + ", " + std::to_string(w) + "]";
    }
};

static void check_out(const LabelShape &shape, anystar::Grid grid, const Array<float, 5> &out, int64_t channels) {
    const int64_t steps[3] = {grid.z, grid.y, grid.x};
    bool fits = int64_t(out.shape(0)) == shape.samples && int64_t(out.shape(1)) == channels;
    for (int k = 0; k < 3; ++k) {
        require(steps[k] >= 1 && steps[k] <= (1 << 20), "grid must lie in 1..2^20, got " + std::to_string(steps[k]));
        fits = fits && int64_t(out.shape(k + 2)) == (shape.size[k] + steps[k] - 1) / steps[k];
    }
    require(fits, shape.on(grid, std::to_string(channels)));
}

static anystar::Spacing spacing(double z, double y, double x) {
    for (double length : {z, y, x})
        require(length >= 1e-9 && length <= 1e9, "anisotropy must lie in 1e-9..1e9, got " + std::to_string(length));
    return {float(z), float(y), float(x)};
}

static void star_distances(LabelArray labels, Array<const float, 2> vertices, int64_t gz, int64_t gy, int64_t gx,
                           Array<float, 5> out, int threads) {
    const LabelShape shape(labels);
    const anystar::Grid grid{gz, gy, gx};
    require(vertices.shape(1) == 3, "rays.vertices must be [R, 3], got [.., " + std::to_string(vertices.shape(1)) + "]");
    require(vertices.shape(0) < (size_t{1} << 24), "rays must be fewer than 2^24");
    check_out(shape, grid, out, int64_t(vertices.shape(0)));
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::star_distances(labels.data(), shape.samples, shape.size, vertices.data(), int64_t(vertices.shape(0)), grid,
                            out.data(), threads);
}

static void distance_transform(LabelArray labels, double z, double y, double x, Array<float, 5> out, int threads) {
    const LabelShape shape(labels);
    const anystar::Spacing lengths = spacing(z, y, x);
    check_out(shape, {1, 1, 1}, out, 1);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::distance_transform(labels.data(), shape.samples, shape.size, lengths, out.data(), threads);
}

static void object_probability(LabelArray labels, int64_t gz, int64_t gy, int64_t gx, double z, double y, double x,
                               Array<float, 5> out, int threads) {
    const LabelShape shape(labels);
    const anystar::Grid grid{gz, gy, gx};
    const anystar::Spacing lengths = spacing(z, y, x);
    check_out(shape, grid, out, 1);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::object_probability(labels.data(), shape.samples, shape.size, grid, lengths, out.data(), threads);
}

static void check_same(const LabelArray &labels, const Array<int32_t, 4> &out) {
    for (size_t k = 0; k < 4; ++k) require(labels.shape(k) == out.shape(k), "out must have the shape of labels");
}

static void connected_components(LabelArray labels, int64_t min_voxels, Array<int32_t, 4> out, int threads) {
    const LabelShape shape(labels);
    check_same(labels, out);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::connected_components(labels.data(), shape.samples, shape.size, min_voxels, out.data(), threads);
}

static void remove_small(LabelArray labels, int64_t min_voxels, Array<int32_t, 4> out, int threads) {
    const LabelShape shape(labels);
    check_same(labels, out);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::remove_small(labels.data(), shape.samples, shape.voxels(), min_voxels, out.data(), threads);
}

static void bind_targets(nb::module_ &module) {
    const auto labels = nb::arg("labels").noconvert();
    module.def("star_distances", &star_distances, labels, nb::arg("vertices").noconvert(), nb::arg("gz"), nb::arg("gy"),
               nb::arg("gx"), nb::arg("out").noconvert(), nb::arg("threads"),
               "Distances along rays to the border of the object, [B, R, d, h, w].");
    module.def("distance_transform", &distance_transform, labels, nb::arg("z"), nb::arg("y"), nb::arg("x"),
               nb::arg("out").noconvert(), nb::arg("threads"), "Distance to the nearest voxel of another label.");
    module.def("object_probability", &object_probability, labels, nb::arg("gz"), nb::arg("gy"), nb::arg("gx"),
               nb::arg("z"), nb::arg("y"), nb::arg("x"), nb::arg("out").noconvert(), nb::arg("threads"),
               "The same over the object's largest, [B, 1, d, h, w].");
    module.def("connected_components", &connected_components, labels, nb::arg("min_voxels"),
               nb::arg("out").noconvert(), nb::arg("threads"),
               "Ids 1..n of the connected pieces of equal label that have at least so many voxels.");
    module.def("remove_small", &remove_small, labels, nb::arg("min_voxels"), nb::arg("out").noconvert(),
               nb::arg("threads"), "Labels without those of fewer voxels.");
}

// ---- loss ---------------------------------------------------------------------------------------------------------

template <class Number, class Stored = typename Number::Stored>
static double weighted_error(Array<const Stored, 3> distances, Array<const float, 3> target,
                             Array<const float, 2> on_error, Array<const float, 2> on_size, Array<Stored, 3> gradient,
                             int threads) {
    const size_t samples = distances.shape(0), points = distances.shape(1), rays = distances.shape(2);
    require(target.shape(0) == samples && target.shape(1) == rays && target.shape(2) == points,
            "target must be [samples, rays, points] where distances are [samples, points, rays]");
    for (const auto *weights : {&on_error, &on_size})
        require(weights->shape(0) == samples && weights->shape(1) == points, "weights must be [samples, points]");
    require(gradient.shape(0) == samples && gradient.shape(1) == points && gradient.shape(2) == rays,
            "gradient must have the shape of distances");
    require(rays < (size_t{1} << 24), "rays must be fewer than 2^24");
    check_threads(threads);
    nb::gil_scoped_release release;
    return anystar::weighted_error<Number>(distances.data(), target.data(), on_error.data(), on_size.data(),
                                           int64_t(samples), int64_t(points), int64_t(rays), gradient.data(), threads);
}

static void bind_loss(nb::module_ &module) {
    const auto bind = [&](auto function, const char *doc) {
        module.def("weighted_error", function, nb::arg("distances").noconvert(), nb::arg("target").noconvert(),
                   nb::arg("on_error").noconvert(), nb::arg("on_size").noconvert(), nb::arg("gradient").noconvert(),
                   nb::arg("threads"), doc);
    };
    bind(&weighted_error<anystar::Float32>, "Sum of weighted errors of float32 distances, and its gradient.");
    bind(&weighted_error<anystar::BFloat16>, "The same of bfloat16, given as uint16.");
}

// -------------------------------------------------------------------------------------------------------------------

void bind_effects(nb::module_ &module);  // bindings_effects.cpp
void bind_scene(nb::module_ &module);    // bindings_scene.cpp

NB_MODULE(_native, module) {
    module.doc() = "Native kernels of anystar_torch; called through anystar_torch.geometry.ops, targets and loss.";
    bind_nms(module);
    bind_render(module);
    bind_targets(module);
    bind_loss(module);
    bind_effects(module);
    bind_scene(module);
}
