// The one place that knows Python: checks array types, releases the interpreter, calls the kernels.
// One block per kernel: a function bind_<kernel>(module), called at the end of this file.
//
// Arrays are C-contiguous on the CPU and are never converted: a wrong dtype, order or number of dimensions is a
// TypeError. std::invalid_argument from a kernel becomes ValueError. Nothing here or below prints.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "nms.hpp"
#include "parallel.hpp"
#include "polyhedron.hpp"
#include "render.hpp"

namespace nb = nanobind;

template <class T, size_t D>
using Array = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

static void require(bool condition, const std::string &message) {
    if (!condition) throw std::invalid_argument(message);
}

// ---- threads ------------------------------------------------------------------------------------------------------

static void bind_threads(nb::module_ &module) {
    module.def(
        "hardware_threads", [] { return std::max(1u, std::thread::hardware_concurrency()); },
        "Number of threads this machine runs at a time.");
}

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

// A suppression in progress, and the arrays it reads.
class Suppression {
public:
    Suppression(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 1> scores,
                Array<const float, 2> vertices, Array<const int64_t, 2> faces, double nms_thresh, int threads)
        : points_(std::move(points)), distances_(std::move(distances)), scores_(std::move(scores)),
          rays_(ray_set(vertices, faces)) {
        check_polyhedra(points_, distances_, rays_.rays());
        const auto n = int64_t(points_.shape(0));
        require(int64_t(scores_.shape(0)) == n, "scores must be [" + std::to_string(n) + "], one per point, got [" +
                                                    std::to_string(scores_.shape(0)) + "]");
        for (int64_t i = 0; i < n; ++i)
            require(std::isfinite(scores_.data()[i]), "scores must be finite, got " + std::to_string(scores_.data()[i]) +
                                                          " at [" + std::to_string(i) + "]");
        require(nms_thresh >= 0 && nms_thresh <= 1,
                "nms_thresh must lie in [0, 1], got " + std::to_string(nms_thresh));
        require(threads >= 1 && threads <= 1024, "threads must lie in 1..1024, got " + std::to_string(threads));
        nb::gil_scoped_release release;
        work_ = std::make_unique<anystar::Suppression>(rays_, points_.data(), distances_.data(), scores_.data(), n,
                                                       nms_thresh, threads);
    }

    int64_t advance(double seconds) {
        require(seconds >= 0 && seconds <= 3600, "seconds must lie in [0, 3600]");
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(mutex_);
        return work_->advance(seconds);
    }

    Suppression(const Suppression &) = delete;  // work_ points into rays_

    void read(Array<uint8_t, 1> keep) {
        std::lock_guard<std::mutex> lock(mutex_);
        require(int64_t(keep.shape(0)) == work_->size(), "keep must have one element per candidate");
        std::copy(work_->keep().begin(), work_->keep().end(), keep.data());
    }

private:
    Array<const float, 2> points_, distances_;
    Array<const float, 1> scores_;
    anystar::RaySet rays_;
    std::unique_ptr<anystar::Suppression> work_;
    std::mutex mutex_;
};

static void bind_nms(nb::module_ &module) {
    nb::class_<Suppression>(module, "Suppression", "A non-maximum suppression, advanced a little at a time.")
        .def(nb::init<Array<const float, 2>, Array<const float, 2>, Array<const float, 1>, Array<const float, 2>,
                      Array<const int64_t, 2>, double, int>(),
             nb::arg("points").noconvert(), nb::arg("distances").noconvert(), nb::arg("scores").noconvert(),
             nb::arg("vertices").noconvert(), nb::arg("faces").noconvert(), nb::arg("nms_thresh"), nb::arg("threads"))
        .def("advance", &Suppression::advance, nb::arg("seconds"),
             "Work for about this long; returns the number of candidates decided by now.")
        .def("read", &Suppression::read, nb::arg("keep").noconvert(), "Copy 1 (survives) or 0 per candidate to `keep`.");
}

// ---- render -------------------------------------------------------------------------------------------------------

static void render_labels(Array<const float, 2> points, Array<const float, 2> distances, Array<const float, 2> vertices,
                          Array<const int64_t, 2> faces, Array<int32_t, 3> labels, int64_t first, int64_t last,
                          int threads) {
    const anystar::RaySet rays = ray_set(vertices, faces);
    check_polyhedra(points, distances, rays.rays());
    const int64_t shape[3] = {int64_t(labels.shape(0)), int64_t(labels.shape(1)), int64_t(labels.shape(2))};
    for (int64_t size : shape) require(size < (1 << 30), "shape must be below 2^30 along each axis");
    require(points.shape(0) < (size_t{1} << 31), "labels are int32: at most 2^31 - 1 polyhedra");
    require(0 <= first && first <= last && last <= shape[0], "slices must lie within the labels");
    require(threads >= 1 && threads <= 1024, "threads must lie in 1..1024, got " + std::to_string(threads));
    nb::gil_scoped_release release;
    anystar::render_labels(rays, points.data(), distances.data(), int64_t(points.shape(0)), labels.data(), shape, first,
                           last, threads);
}

static void bind_render(nb::module_ &module) {
    module.def("render_labels", &render_labels, nb::arg("points").noconvert(), nb::arg("distances").noconvert(),
               nb::arg("vertices").noconvert(), nb::arg("faces").noconvert(), nb::arg("labels").noconvert(),
               nb::arg("first"), nb::arg("last"), nb::arg("threads"),
               "Draw the slices [first, last) of polyhedra 1..N into zeroed labels; earlier ones win.");
}

// -------------------------------------------------------------------------------------------------------------------

NB_MODULE(_native, module) {
    module.doc() = "Native kernels of anystar_torch; called through anystar_torch.ops and anystar_torch.targets.";
    bind_threads(module);
    bind_nms(module);
    bind_render(module);
}
