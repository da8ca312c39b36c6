// Python bindings of the kernels of training targets, connected components and the loss.
#include <string>

#include "arrays.hpp"
#include "components.hpp"
#include "edt.hpp"
#include "star_distances.hpp"
#include "weighted_error.hpp"

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
    for (size_t k = 0; k < 3; ++k) {
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

static void bind_labels(nb::module_ &module) {
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

void bind_targets(nb::module_ &module) {
    bind_labels(module);
    bind_loss(module);
}
