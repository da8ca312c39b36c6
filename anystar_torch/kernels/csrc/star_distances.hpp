// Distances along rays from every grid point to the border of its object: StarDist's star_dist3D, for batches.
//
// A step adds the unit vector of the ray to a float32 offset. The voxel met is the float32 sum of grid point and offset,
// rounded half to even. The first voxel of another label or outside the volume ends the ray, and the distance is the
// length of the rounded offset.
//
// Nearly always the voxel met is the grid point plus the rounded offset. The exception is an offset with a coordinate
// within float32 rounding of a half. Up to the first such step of a ray, addresses come from a table, and grid points
// adjacent along x are processed together. From then on each is processed alone, with StarDist's sums.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "lanes.hpp"
#include "pages.hpp"
#include "parallel.hpp"
#include "vector.hpp"

namespace anystar {

struct Grid {
    int64_t z, y, x;
};

// The labels of one sample with a margin of two voxels, the length of a step. They are sorted by x modulo the grid, so
// that grid points along x, displaced by any offset, are adjacent in memory.
class SurroundedLabels {
public:
    static constexpr int64_t kMargin = 2;

    SurroundedLabels(int64_t depth, int64_t height, int64_t width, int64_t step)
        : depth_(depth), height_(height), width_(width), step_(step), before_((kMargin + step - 1) / step * step),
          row_((before_ + width + kMargin + step - 1) / step), slice_(row_ * (height + 2 * kMargin)),
          residue_(slice_ * (depth + 2 * kMargin)),
          voxels_(new int32_t[static_cast<size_t>(residue_ * step + 2 * kLanes)]) {}

    // Labels of 0 and below are background, which is never compared with.
    void fill(const int32_t *labels, int threads) {
        std::fill_n(voxels_.get(), kLanes, -1);
        std::fill_n(voxels_.get() + kLanes + residue_ * step_, kLanes, -1);
        parallel_for((depth_ + 2 * kMargin) * (height_ + 2 * kMargin), threads, 64, [&](int64_t line, int) {
            const int64_t z = line / (height_ + 2 * kMargin) - kMargin, y = line % (height_ + 2 * kMargin) - kMargin;
            const bool outside = z < 0 || z >= depth_ || y < 0 || y >= height_;
            for (int64_t residue = 0; residue < step_; ++residue) {
                int32_t *to = voxels_.get() + kLanes + residue * residue_ + line * row_;
                const int64_t first = residue - before_;
                if (outside) {
                    std::fill_n(to, row_, -1);
                    continue;
                }
                const int32_t *from = labels + (z * height_ + y) * width_;
                int64_t i = 0, x = first;
                for (; x < 0; ++i, x += step_) to[i] = -1;
                for (; x < width_; ++i, x += step_) to[i] = from[x];
                std::fill(to + i, to + row_, -1);
            }
        });
    }

    // Address of a voxel of the volume or its margin, or of a displacement relative to a grid point.
    int64_t address(int64_t z, int64_t y, int64_t x) const {
        const int64_t place = x + before_;  // not negative within the margin
        return (place % step_) * residue_ + (z + kMargin) * slice_ + (y + kMargin) * row_ + place / step_;
    }
    int64_t displacement(int64_t z, int64_t y, int64_t x) const {
        const int64_t residue = (x % step_ + step_) % step_;
        return residue * residue_ + z * slice_ + y * row_ + (x - residue) / step_;
    }
    const int32_t *at(int64_t place) const { return voxels_.get() + kLanes + place; }

private:
    int64_t depth_, height_, width_, step_, before_, row_, slice_, residue_;
    std::unique_ptr<int32_t[]> voxels_;
};

// The steps of one ray, enough to leave the volume from any start.
struct RaySteps {
    Vector<float> z, y, x, length;
    Vector<int64_t> displacement;
    int64_t exact = 0;  // steps before the first whose rounding depends on the grid point

    RaySteps(const float *unit, const int64_t *shape, const SurroundedLabels &around) {
        const double norm = std::hypot(double(unit[0]), double(unit[1]), double(unit[2]));
        if (!(std::abs(norm - 1.0) <= 1e-3))
            throw std::invalid_argument("rays must have unit length, got a vertex of length " + std::to_string(norm));
        reserve(static_cast<int64_t>(std::hypot(double(shape[0]), double(shape[1]), double(shape[2]))) + 4);
        const double doubts[3] = {doubt(shape[0]), doubt(shape[1]), doubt(shape[2])};
        float offset[3] = {0, 0, 0};
        for (bool out = false, sure = true; !out;) {
            int64_t rounded[3];
            float square = 0;
            for (int k = 0; k < 3; ++k) {
                offset[k] += unit[k];
                rounded[k] = std::lrint(offset[k]);
                square += static_cast<float>(rounded[k]) * static_cast<float>(rounded[k]);
                const double from_half = 0.5 - std::abs(double(offset[k]) - double(rounded[k]));
                sure = sure && from_half > doubts[k];
                out = out || std::abs(rounded[k]) > shape[k];
            }
            z.push_back(offset[0]);
            y.push_back(offset[1]);
            x.push_back(offset[2]);
            length.push_back(std::sqrt(square));
            displacement.push_back(around.displacement(rounded[0], rounded[1], rounded[2]));
            exact += sure;
        }
    }

    int64_t size() const { return length.size(); }

private:
    // Largest distance of an offset from a half at which float32 rounding of (coordinate + offset) can change the voxel,
    // for coordinates below `extent`.
    static double doubt(int64_t extent) { return std::ldexp(1.0, std::ilogb(double(extent + 2)) + 1 - 23); }

    void reserve(int64_t steps) {
        for (Vector<float> *numbers : {&z, &y, &x, &length}) numbers->reserve(steps);
        displacement.reserve(steps);
    }
};

// Follows rays from up to kLanes grid points that are adjacent along x.
class Walk {
public:
    Walk(const SurroundedLabels &around, Grid grid, int64_t z, int64_t y, int64_t first, int lanes)
        : around_(&around), grid_(grid), z_(z), y_(y), first_(first), lanes_(lanes),
          base_(around.at(around.address(z, y, first * grid.x))) {
        for (int lane = 0; lane < kLanes; ++lane) start_[lane] = lane < lanes ? std::max(base_[lane], 0) : 0;
    }

    int64_t place(int64_t width) const { return y_ / grid_.y * width + first_; }  // in its slice of the grid

    void distances(const RaySteps &ray, float *out) const {
        const Lanes start(start_);
        Lanes inside = start, counts;
        inside.positive();
        const int64_t *step = ray.displacement.data(), *last = step + ray.exact;
        for (bool any = true; any && step < last; ++step) {
            inside.and_equal(Lanes(base_ + *step), start);
            counts.count(inside);
            any = inside.any();
        }
        int32_t taken[kLanes];
        counts.store(taken);
        if (step == last) finish(ray, inside, taken);
        const float *length = ray.length.data();
        for (int lane = 0; lane < lanes_; ++lane) out[lane] = start_[lane] > 0 ? length[taken[lane]] : 0.0f;
    }

private:
    void finish(const RaySteps &ray, const Lanes &inside, int32_t *taken) const {
        int32_t walking[kLanes];
        inside.store(walking);
        for (int lane = 0; lane < lanes_; ++lane)
            if (walking[lane]) taken[lane] = alone(ray, lane, ray.exact);
    }

    // The rest of a ray of one grid point, where rounding depends on the start.
    int32_t alone(const RaySteps &ray, int lane, int64_t step) const {
        const float x0 = static_cast<float>((first_ + lane) * grid_.x);
        for (; step < ray.size(); ++step) {
            const int64_t z = std::lrint(static_cast<float>(z_) + ray.z[step]);
            const int64_t y = std::lrint(static_cast<float>(y_) + ray.y[step]);
            const int64_t x = std::lrint(x0 + ray.x[step]);
            if (*around_->at(around_->address(z, y, x)) != start_[lane]) break;
        }
        return static_cast<int32_t>(std::min(step, ray.size() - 1));
    }

    const SurroundedLabels *around_;
    Grid grid_;
    int64_t z_, y_, first_;
    int lanes_;
    const int32_t *base_;
    int32_t start_[kLanes];
};

// All foreground of a slice of the grid. A group of grid points begins with a voxel of an object.
inline Vector<Walk> walks_of_slice(const SurroundedLabels &around, Grid grid, int64_t z, int64_t height,
                                        int64_t width) {
    Vector<Walk> walks;
    for (int64_t y = 0; y < height; ++y) {
        const int32_t *row = around.at(around.address(z * grid.z, y * grid.y, 0));
        for (int64_t first = 0; first < width;) {
            if (row[first] <= 0) {
                ++first;
                continue;
            }
            const int lanes = static_cast<int>(std::min<int64_t>(kLanes, width - first));
            walks.emplace_back(around, grid, z * grid.z, y * grid.y, first, lanes);
            first += lanes;
        }
    }
    return walks;
}

// labels [samples, shape] -> out [samples, rays, ceil(shape / grid)], 0 in the background.
inline void star_distances(const int32_t *labels, int64_t samples, const int64_t *shape, const float *vertices,
                           int64_t rays, Grid grid, float *out, int threads) {
    const int64_t d = (shape[0] + grid.z - 1) / grid.z, h = (shape[1] + grid.y - 1) / grid.y;
    const int64_t w = (shape[2] + grid.x - 1) / grid.x;
    SurroundedLabels around(shape[0], shape[1], shape[2], grid.x);
    Vector<RaySteps> steps;
    steps.reserve(rays);
    for (int64_t ray = 0; ray < rays; ++ray) steps.emplace_back(vertices + 3 * ray, shape, around);
    prefer_large_pages(out, samples * rays * d * h * w * static_cast<int64_t>(sizeof(float)));
    // The work is divided by slices, and by rays too where there are few slices: about 8 items per thread.
    const int64_t parts = std::min(rays, std::max<int64_t>(1, 8 * threads / d));
    for (int64_t sample = 0; sample < samples; ++sample) {
        around.fill(labels + sample * shape[0] * shape[1] * shape[2], threads);
        parallel_for(d * parts, threads, 1, [&](int64_t item, int) {
            const int64_t z = item % d, part = item / d;
            const Vector<Walk> walks = walks_of_slice(around, grid, z, h, w);
            for (int64_t ray = part * rays / parts; ray < (part + 1) * rays / parts; ++ray) {
                float *to = out + ((sample * rays + ray) * d + z) * h * w;
                std::fill_n(to, h * w, 0.0f);
                for (const Walk &walk : walks) walk.distances(steps[ray], to + walk.place(w));
            }
        });
    }
}

}  // namespace anystar
