// Python bindings of the kernels of scenes: coordinates, balls, lattice fields, intensities.
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "balls.hpp"
#include "coordinates.hpp"
#include "lattice.hpp"
#include "lattice_sum.hpp"
#include "shading.hpp"

using Triple = std::array<double, 3>;

// Sizes of an array's last three axes.
template <class A>
static std::array<int64_t, 3> lattice_size(const A &array) {
    std::array<int64_t, 3> size{};
    for (size_t k = 0; k < 3; ++k) size[k] = int64_t(array.shape(array.ndim() - 3 + k));
    require(size[0] >= 1 && size[1] >= 1 && size[2] >= 1, "lattices must have at least one node along each axis");
    require(double(size[0]) * double(size[1]) * double(size[2]) < double(1 << 30), "lattices must have fewer than 2^30 nodes");
    return size;
}

// A lattice whose node of a position p is `p * factor + offset`.
static anystar::Lattice lattice(const std::array<int64_t, 3> &size, const Triple &factor, const Triple &offset) {
    anystar::Lattice out{};
    for (size_t k = 0; k < 3; ++k)
        out.size[k] = size[k], out.factor[k] = float(factor[k]), out.offset[k] = float(offset[k]);
    return out;
}

template <class A>
static void check_shape(const A &array, const std::array<size_t, A::Config::N> &shape, const char *name) {
    for (size_t k = 0; k < shape.size(); ++k)
        require(array.shape(k) == shape[k], std::string(name) + " must have " + std::to_string(shape[k]) +
                                                " along axis " + std::to_string(k) + ", got " +
                                                std::to_string(array.shape(k)));
}

static void sample_lattice(Array<const float, 5> fields, Array<const float, 3> position, bool periodic, Triple factor,
                           Triple offset, Array<float, 3> out, int threads) {
    const auto nodes = lattice(lattice_size(fields), factor, offset);
    const size_t samples = fields.shape(0), voxels = position.shape(2);
    check_shape(position, {samples, 3, voxels}, "position");
    check_shape(out, {samples, fields.shape(1), voxels}, "out");
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::sample_lattice(fields.data(), int64_t(samples), int64_t(fields.shape(1)), nodes, periodic,
                            position.data(), int64_t(voxels), out.data(), threads);
}

static void strongest_field(Array<const float, 5> fields, Array<const int32_t, 1> counts, Array<const float, 5> warp,
                            Array<const float, 3> position, Triple half, Array<int32_t, 2> out, int threads) {
    const auto fitted = [&](const std::array<int64_t, 3> &size) {
        Triple factor{}, offset{};
        for (size_t k = 0; k < 3; ++k)
            offset[k] = double(size[k] - 1) / 2.0, factor[k] = offset[k] / half[k];
        return lattice(size, factor, offset);
    };
    const size_t samples = fields.shape(0), voxels = position.shape(2);
    check_shape(counts, {samples}, "counts");
    check_shape(position, {samples, 3, voxels}, "position");
    check_shape(out, {samples, voxels}, "out");
    require(warp.shape(0) == samples && warp.shape(1) == 3, "warp must be [samples, 3, z, y, x]");
    const auto nodes = fitted(lattice_size(fields)), warped = fitted(lattice_size(warp));
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::strongest_field(fields.data(), int64_t(samples), int64_t(fields.shape(1)), nodes, counts.data(),
                             warp.data(), warped, position.data(), int64_t(voxels), out.data(), threads);
}

static void resampled_sum(const std::vector<Array<const float, 4>> &levels, Array<float, 4> out, int threads) {
    std::vector<anystar::Level> terms;
    for (const auto &level : levels) {
        const auto size = lattice_size(level);
        require(level.shape(0) == out.shape(0), "levels must have the fields of out");
        terms.push_back({level.data(), {size[0], size[1], size[2]}});
    }
    const auto size = lattice_size(out);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::resampled_sum(terms, int64_t(out.shape(0)), size.data(), out.data(), threads);
}

static void gradient_noise(Array<const float, 5> gradients, int samples, Array<float, 4> out, int threads) {
    require(gradients.shape(1) == 3, "gradients must be [batch, 3, n, m, k]");
    require(samples >= 1 && samples <= 1024, "samples must lie in 1..1024, got " + std::to_string(samples));
    const auto corners = lattice_size(gradients);
    const auto cells = [&](size_t k) { return size_t((corners[k] - 1) * samples); };
    check_shape(out, {gradients.shape(0), cells(0), cells(1), cells(2)}, "out");
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::gradient_noise(gradients.data(), int64_t(gradients.shape(0)), corners.data(), samples, out.data(),
                            threads);
}

static void aim_at_balls(Array<const float, 5> centre, Array<const float, 4> radius, Array<const float, 1> pitch,
                         Array<const float, 3> position, Triple origin, Array<int32_t, 2> ball,
                         Array<float, 3> centre_out, Array<float, 2> radius_out, Array<float, 3> direction,
                         Array<float, 2> distance, int threads) {
    const auto size = lattice_size(radius);
    require(size[0] >= 2 && size[1] >= 2 && size[2] >= 2, "balls must have two lattice points along each axis");
    const size_t samples = radius.shape(0), voxels = position.shape(2);
    check_shape(centre, {samples, 3, radius.shape(1), radius.shape(2), radius.shape(3)}, "centre");
    check_shape(pitch, {samples}, "pitch");
    check_shape(position, {samples, 3, voxels}, "position");
    for (const auto *three : {&centre_out, &direction}) check_shape(*three, {samples, 3, voxels}, "out");
    for (const auto *one : {&radius_out, &distance}) check_shape(*one, {samples, voxels}, "out");
    check_shape(ball, {samples, voxels}, "ball");
    check_threads(threads);
    const float shift[3] = {float(origin[0]), float(origin[1]), float(origin[2])};
    nb::gil_scoped_release release;
    const anystar::BallLattice balls{
        centre.data(), radius.data(), pitch.data(), int64_t(samples), {size[0], size[1], size[2]}};
    const anystar::AimOut out{ball.data(), centre_out.data(), radius_out.data(), direction.data(), distance.data()};
    anystar::aim_at_balls(balls, position.data(), int64_t(voxels), shift, out, threads);
}

static void star_reach(Array<const int32_t, 2> ball, Array<const float, 2> radius, Array<const float, 3> direction,
                       Array<const float, 3> stars, Array<const float, 5> noise, double half, double bumps,
                       double strength, Array<float, 2> out, int threads) {
    const size_t samples = ball.shape(0), voxels = ball.shape(1);
    check_shape(radius, {samples, voxels}, "radius");
    check_shape(direction, {samples, 3, voxels}, "direction");
    check_shape(stars, {samples, stars.shape(1), sizeof(anystar::Star) / sizeof(float)}, "stars");
    require(noise.shape(0) == samples && noise.shape(1) == 1, "noise must be [samples, 1, z, y, x]");
    require(stars.shape(1) >= 1, "there must be at least one ball");
    check_shape(out, {samples, voxels}, "out");
    check_threads(threads);
    const auto size = lattice_size(noise);
    Triple factor{}, offset{};
    for (size_t k = 0; k < 3; ++k) offset[k] = double(size[k] - 1) / 2.0, factor[k] = offset[k] / half;
    const auto nodes = lattice(size, factor, offset);
    nb::gil_scoped_release release;
    anystar::star_reach(ball.data(), radius.data(), direction.data(), int64_t(samples), int64_t(voxels),
                        reinterpret_cast<const anystar::Star *>(stars.data()), int64_t(stars.shape(1)), noise.data(),
                        nodes, float(bumps), float(strength), out.data(), threads);
}

static void emitting(Array<const float, 4> depth, Array<const float, 4> reach, Array<const float, 2> offset,
                     double most, Array<uint8_t, 4> out, int threads) {
    const auto size = lattice_size(depth);
    const std::array<size_t, 4> shape{depth.shape(0), depth.shape(1), depth.shape(2), depth.shape(3)};
    check_shape(reach, shape, "reach");
    check_shape(out, shape, "out");
    check_shape(offset, {shape[0], 3}, "offset");
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::emitting(depth.data(), reach.data(), offset.data(), int64_t(shape[0]), size.data(), float(most),
                      out.data(), threads);
}

static void intensities(Array<const int32_t, 2> objects, Array<const float, 2> unit, Array<const float, 2> deviation,
                        Array<const uint8_t, 2> displaced, Array<const float, 2> texture, Array<const float, 2> noise,
                        Array<const int32_t, 2> patch, Array<const float, 2> means, Array<const float, 2> deviations,
                        Array<const float, 2> shading, Array<float, 2> mean, Array<float, 2> grain, int threads) {
    const size_t samples = objects.shape(0), voxels = objects.shape(1);
    for (const auto *field : {&unit, &deviation, &texture, &noise}) check_shape(*field, {samples, voxels}, "fields");
    for (const auto *field : {&mean, &grain}) check_shape(*field, {samples, voxels}, "out");
    check_shape(patch, {samples, voxels}, "patch");
    check_shape(displaced, {samples, voxels}, "displaced");
    require(means.shape(1) >= 1, "there must be at least one patch");
    for (const auto *table : {&means, &deviations}) check_shape(*table, {samples, means.shape(1)}, "background");
    check_shape(shading, {samples, sizeof(anystar::Shading) / sizeof(float)}, "shading");
    check_threads(threads);
    nb::gil_scoped_release release;
    const anystar::IntensityFields fields{objects.data(), patch.data(), unit.data(),  deviation.data(),
                                          texture.data(), noise.data(), displaced.data()};
    anystar::intensities(fields, means.data(), deviations.data(), int64_t(means.shape(1)),
                         reinterpret_cast<const anystar::Shading *>(shading.data()), int64_t(samples), int64_t(voxels),
                         mean.data(), grain.data(), threads);
}

static void bind_coordinates(nb::module_ &module) {
    module.def(
        "evaluate_coordinates",
        [](Array<const float, 5> displacement, Array<const float, 2> parameters, nb::bytes limits, Array<float, 5> position,
           Array<int32_t, 4> piece, Array<float, 4> cover, Array<float, 5> fraction, int threads) {
            check_threads(threads);
            const std::string kinds(limits.c_str(), limits.size());
            const auto samples = int64_t(parameters.shape(0));
            const int64_t shape[3] = {int64_t(position.shape(2)), int64_t(position.shape(3)), int64_t(position.shape(4))};
            require(parameters.shape(1) == kinds.size() * anystar::kStepWidth, "parameters must have 18 columns a step");
            const bool displaced = displacement.shape(0) != 0;
            require(!displaced || int64_t(displacement.shape(0)) == samples, "displacement must have a row per sample");
            for (size_t axis = 2; axis < 5; ++axis)
                require(int64_t(displacement.shape(axis)) == shape[axis - 2] &&
                            int64_t(fraction.shape(axis)) == shape[axis - 2] &&
                            int64_t(piece.shape(axis - 1)) == shape[axis - 2] &&
                            int64_t(cover.shape(axis - 1)) == shape[axis - 2],
                        "displacement, position, piece, cover and fraction must have the same sizes");
            for (const int64_t rows : {int64_t(position.shape(0)), int64_t(piece.shape(0)), int64_t(cover.shape(0)),
                                       int64_t(fraction.shape(0))})
                require(rows == samples, "every array must have a row per sample");
            require(displacement.shape(1) == 3 && position.shape(1) == 3 && fraction.shape(1) == 3,
                    "displacement, position and fraction must have 3 channels");
            nb::gil_scoped_release release;
            anystar::evaluate_coordinates(displaced ? displacement.data() : nullptr, parameters.data(), kinds, samples,
                                          shape, position.data(), piece.data(), cover.data(), fraction.data(), threads);
        },
        nb::arg("displacement").noconvert(), nb::arg("parameters").noconvert(), nb::arg("limits"),
        nb::arg("position").noconvert(), nb::arg("piece").noconvert(), nb::arg("cover").noconvert(),
        nb::arg("fraction").noconvert(), nb::arg("threads"),
        "Positions of voxels in the scene; see anystar_torch.generator.spatial.coordinates.evaluate.");
}

void bind_scene(nb::module_ &module) {
    bind_coordinates(module);
    const auto arg = [](const char *name) { return nb::arg(name).noconvert(); };
    const auto out = nb::arg("out").noconvert();
    const nb::arg threads("threads");
    module.def("sample_lattice", &sample_lattice, arg("fields"), arg("position"), nb::arg("periodic"),
               nb::arg("factor"), nb::arg("offset"), out, threads, "Lattice fields interpolated at positions.");
    module.def("strongest_field", &strongest_field, arg("fields"), arg("counts"), arg("warp"), arg("position"),
               nb::arg("half"), out, threads, "The number of the largest field at warped positions.");
    module.def("resampled_sum", &resampled_sum, arg("levels"), out, threads,
               "The sum of fields of several sizes, each interpolated to the size of `out`.");
    module.def("gradient_noise", &gradient_noise, arg("gradients"), nb::arg("samples"), out, threads,
               "Perlin's gradient noise, sampled a number of times per cell and axis.");
    module.def("aim_at_balls", &aim_at_balls, arg("centre"), arg("radius"), arg("pitch"), arg("position"),
               nb::arg("origin"), arg("ball"), arg("centre_out"), arg("radius_out"), arg("direction"), arg("distance"),
               threads, "Every voxel's nearest ball, and where on it the voxel lies.");
    module.def("star_reach", &star_reach, arg("ball"), arg("radius"), arg("direction"), arg("stars"), arg("noise"),
               nb::arg("half"), nb::arg("bumps"), nb::arg("strength"), out, threads,
               "How far the surface of a smooth star lies from its centre, towards each voxel.");
    module.def("emitting", &emitting, arg("depth"), arg("reach"), arg("offset"), nb::arg("most"), out, threads,
               "Which voxels emit, so that the outline lies `offset` outside of them.");
    module.def("intensities", &intensities, arg("objects"), arg("unit"), arg("deviation"), arg("displaced"),
               arg("texture"), arg("noise"), arg("patch"), arg("means"), arg("deviations"), arg("shading"),
               arg("mean"), arg("grain"), threads, "Mean intensity of every voxel, and deviation times noise.");
}
