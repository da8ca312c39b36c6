// Python bindings of the kernels of intensity effects. Volumes are float32 [volumes, D, H, W], parameters have a row for
// each volume. bindings.cpp states the rules for all arguments.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "arrays.hpp"
#include "filters.hpp"
#include "intensities.hpp"
#include "noise.hpp"
#include "slices.hpp"
#include "spectrum.hpp"

using Volumes = Array<const float, 4>;
using Output = Array<float, 4>;
using Rows = Array<const float, 2>;                                    // one row a volume
using Numbers = Array<const float, 1>;                                 // one number a volume
using Field = nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>;  // volumes may lie apart, voxels may not

struct VolumeShape {
    int64_t count, size[3];

    template <class Volume>
    explicit VolumeShape(const Volume &image)
        : count(int64_t(image.shape(0))), size{int64_t(image.shape(1)), int64_t(image.shape(2)), int64_t(image.shape(3))} {
        for (int64_t n : size) require(n >= 1 && n <= (1 << 20), "volumes must have 1..2^20 voxels along each axis");
        require(voxels() <= (int64_t{1} << 40), "volumes must have at most 2^40 voxels");
    }
    int64_t voxels() const { return size[0] * size[1] * size[2]; }

    template <class Volume>
    void same(const Volume &other, const char *name) const {
        bool fits = int64_t(other.shape(0)) == count;
        for (size_t axis = 0; axis < 3; ++axis) fits = fits && int64_t(other.shape(axis + 1)) == size[axis];
        require(fits, std::string(name) + " must have the shape of image");
    }
    template <class Parameter>
    void rows(const Parameter &values, const char *name, size_t columns = 0) const {
        bool fits = int64_t(values.shape(0)) == count;
        if constexpr (!std::is_same_v<Parameter, Numbers>) fits = fits && (columns == 0 || values.shape(1) == columns);
        require(fits, std::string(name) + " must have a row for each volume" +
                          (columns ? " and " + std::to_string(columns) + " columns" : ""));
    }
    // The elements from one volume of a field to the next.
    int64_t stride(const Field &field, const char *name) const {
        same(field, name);
        int64_t expected = 1;
        for (size_t axis = 3; axis >= 1; --axis) {
            require(field.shape(axis) == 1 || field.stride(axis) == expected,
                    std::string(name) + " must have voxels without gaps");
            expected *= int64_t(field.shape(axis));
        }
        require(field.stride(0) >= 0, std::string(name) + " must have volumes in order");
        return field.stride(0);
    }
};

static void check_axis(int axis) { require(axis >= 0 && axis < 3, "axis must be 0, 1 or 2"); }

static VolumeShape checked(const Volumes &image, const Output &out, int threads) {
    const VolumeShape shape(image);
    shape.same(out, "out");
    check_threads(threads);
    return shape;
}

static void gaussian_filter(Volumes image, Rows sigma, int axis, int64_t taps, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(sigma, "sigma", 3);
    check_axis(axis);
    require(taps >= 0 && taps <= (1 << 16), "taps must lie in 0..65536");
    nb::gil_scoped_release release;
    anystar::gaussian_filter(image.data(), shape.count, shape.size, sigma.data(), axis, taps, out.data(), threads);
}

static void smooth(Volumes image, Numbers sides, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(sides, "sides");
    nb::gil_scoped_release release;
    anystar::smooth(
        image.data(), shape.count, shape.size, [&](int64_t v) { return anystar::OneSide{sides.data()[v]}; }, out.data(),
        threads);
}

static void smooth_at(Volumes image, Array<const float, 5> fraction, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    bool fits = int64_t(fraction.shape(0)) == shape.count && fraction.shape(1) == 3;
    for (size_t axis = 0; axis < 3; ++axis) fits = fits && int64_t(fraction.shape(axis + 2)) == shape.size[axis];
    require(fits, "fraction must be [volumes, 3, D, H, W]");
    const int64_t voxels = shape.voxels();
    nb::gil_scoped_release release;
    anystar::smooth(
        image.data(), shape.count, shape.size,
        [&](int64_t v) { return anystar::SideOfFraction{fraction.data() + 3 * v * voxels, voxels}; }, out.data(), threads);
}

static void thick_slices(Volumes image, Rows thickness, Rows start, int axis, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(thickness, "thickness", 3);
    shape.rows(start, "start", 3);
    check_axis(axis);
    nb::gil_scoped_release release;
    anystar::thick_slices(image.data(), shape.count, shape.size, thickness.data(), start.data(), axis, out.data(), threads);
}

static void bias_field(Volumes image, Rows coefficients, Rows extent, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(coefficients, "coefficients", 20);
    shape.rows(extent, "extent", 3);
    nb::gil_scoped_release release;
    anystar::bias_field(image.data(), shape.count, shape.size, coefficients.data(), extent.data(), out.data(), threads);
}

static void contrast(Volumes image, Rows limits, Numbers gamma, Numbers headroom, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(limits, "limits", 2);
    shape.rows(gamma, "gamma");
    shape.rows(headroom, "headroom");
    nb::gil_scoped_release release;
    anystar::contrast(image.data(), shape.count, shape.voxels(), limits.data(), gamma.data(), headroom.data(), out.data(),
                      threads);
}

static void to_unit(Volumes image, Rows limits, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(limits, "limits", 2);
    nb::gil_scoped_release release;
    anystar::to_unit(image.data(), shape.count, shape.voxels(), limits.data(), out.data(), threads);
}

static void lattice_quantiles(Volumes image, int64_t step, Numbers dark, Numbers bright, Array<float, 2> limits,
                              int threads) {
    const VolumeShape shape(image);
    shape.rows(dark, "dark");
    shape.rows(bright, "bright");
    require(int64_t(limits.shape(0)) == shape.count && limits.shape(1) == 2, "limits must be [volumes, 2]");
    require(step >= 1 && step <= (int64_t{1} << 40), "step must lie in 1..2^40, got " + std::to_string(step));
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::lattice_quantiles(image.data(), shape.count, shape.voxels(), step, dark.data(), bright.data(), limits.data(),
                               threads);
}

static void histogram_shift(Volumes image, Rows limits, Rows response, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(limits, "limits", 2);
    shape.rows(response, "response");
    require(response.shape(1) >= 2 && response.shape(1) <= (1 << 20), "response must have 2..2^20 points");
    nb::gil_scoped_release release;
    anystar::histogram_shift(image.data(), shape.count, shape.voxels(), limits.data(), response.data(),
                             int64_t(response.shape(1)), out.data(), threads);
}

template <class Number>
static void cut_holes(Array<Number, 4> field, Array<const int64_t, 3> corner, Array<const int64_t, 1> size, int threads) {
    const VolumeShape shape(field);
    check_threads(threads);
    require(int64_t(corner.shape(0)) == shape.count && corner.shape(2) == 3, "corner must be [volumes, N, 3]");
    require(int64_t(size.shape(0)) == shape.count, "size must have one number for each volume");
    const auto summable = [](int64_t voxel) { return std::abs(double(voxel)) < double(int64_t{1} << 62); };
    require(std::all_of(corner.data(), corner.data() + corner.size(), summable) &&
                std::all_of(size.data(), size.data() + size.size(), summable),
            "corner and size must lie within 2^62 voxels");
    nb::gil_scoped_release release;
    anystar::cut_holes(field.data(), shape.count, shape.size, corner.data(), int64_t(corner.shape(1)), size.data(), threads);
}

static void camera(Volumes image, Rows limits, Rows cameras, Field shot, Field electronic, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(limits, "limits", 2);
    shape.rows(cameras, "cameras", 3);
    const int64_t stride = shape.stride(shot, "shot");
    require(stride == shape.stride(electronic, "electronic"), "shot and electronic must have equal strides");
    nb::gil_scoped_release release;
    anystar::camera(image.data(), shape.count, shape.voxels(), limits.data(), cameras.data(), shot.data(),
                    electronic.data(), stride, out.data(), threads);
}

static void rician_noise(Volumes image, Numbers std_of, Field real, Field imaginary, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(std_of, "std");
    const int64_t stride = shape.stride(real, "real");
    require(stride == shape.stride(imaginary, "imaginary"), "real and imaginary must have equal strides");
    nb::gil_scoped_release release;
    anystar::rician_noise(image.data(), shape.count, shape.voxels(), std_of.data(), real.data(), imaginary.data(), stride,
                          out.data(), threads);
}

static void detector_noise(Volumes image, Rows widths, Volumes field, Output out, int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(widths, "widths", 3);
    shape.same(field, "field");
    nb::gil_scoped_release release;
    anystar::detector_noise(image.data(), shape.count, shape.voxels(), widths.data(), field.data(), out.data(), threads);
}

static void add_wave(Volumes image, Array<const int64_t, 2> frequency, Numbers cosine, Numbers sine, Output out,
                     int threads) {
    const VolumeShape shape = checked(image, out, threads);
    shape.rows(frequency, "frequency", 3);
    shape.rows(cosine, "cosine");
    shape.rows(sine, "sine");
    nb::gil_scoped_release release;
    anystar::add_wave(image.data(), shape.count, shape.size, frequency.data(), cosine.data(), sine.data(), out.data(),
                      threads);
}

static void cut_spectrum(Array<const float, 5> spectrum, Numbers alpha, Rows recorded, Array<float, 5> out, int threads) {
    const VolumeShape shape(spectrum);
    shape.same(out, "out");
    require(spectrum.shape(4) == 2 && out.shape(4) == 2, "spectrum must be [volumes, D, H, W, 2]");
    shape.rows(alpha, "alpha");
    shape.rows(recorded, "recorded", 3);
    check_threads(threads);
    nb::gil_scoped_release release;
    anystar::cut_spectrum(spectrum.data(), shape.count, shape.size, alpha.data(), recorded.data(), out.data(), threads);
}

// Arguments are named as in the functions above; all arrays are taken as they are, never converted.
template <class Function, class... Names>
static void define(nb::module_ &module, const char *name, Function function, Names... names) {
    module.def(name, function, nb::arg(names).noconvert()...);
}

void bind_effects(nb::module_ &module) {
    define(module, "gaussian_filter", &gaussian_filter, "image", "sigma", "axis", "taps", "out", "threads");
    define(module, "smooth", &smooth, "image", "sides", "out", "threads");
    define(module, "smooth_at", &smooth_at, "image", "fraction", "out", "threads");
    define(module, "thick_slices", &thick_slices, "image", "thickness", "start", "axis", "out", "threads");
    define(module, "bias_field", &bias_field, "image", "coefficients", "extent", "out", "threads");
    define(module, "contrast", &contrast, "image", "limits", "gamma", "headroom", "out", "threads");
    define(module, "to_unit", &to_unit, "image", "limits", "out", "threads");
    define(module, "lattice_quantiles", &lattice_quantiles, "image", "step", "dark", "bright", "limits", "threads");
    define(module, "histogram_shift", &histogram_shift, "image", "limits", "response", "out", "threads");
    define(module, "cut_holes", &cut_holes<float>, "field", "corner", "size", "threads");
    define(module, "cut_holes", &cut_holes<int32_t>, "field", "corner", "size", "threads");
    define(module, "camera", &camera, "image", "limits", "cameras", "shot", "electronic", "out", "threads");
    define(module, "rician_noise", &rician_noise, "image", "std", "real", "imaginary", "out", "threads");
    define(module, "detector_noise", &detector_noise, "image", "widths", "field", "out", "threads");
    define(module, "add_wave", &add_wave, "image", "frequency", "cosine", "sine", "out", "threads");
    define(module, "cut_spectrum", &cut_spectrum, "spectrum", "alpha", "recorded", "out", "threads");
}
