// Exact distance of every voxel of an object to the nearest voxel of another label, and its share of the object's largest
// distance. The axes are separable: distances along x are counted, those along y and z are the lower envelope of
// parabolas (Felzenszwalb and Huttenlocher, 2012), one run of equal labels at a time. No parabola matters beyond its run,
// because the voxel that ends the run is nearer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>

#include "parallel.hpp"
#include "star_distances.hpp"
#include "vector.hpp"

namespace anystar {

struct Spacing {
    float z, y, x;
};

// Squared distances within one run of equal labels along a line, improved in place.
class Envelope {
public:
    Envelope(int64_t longest, float length)
        : square_(length * length), values_(3 * longest, kInfinite), parabola_(longest + 2), border_(longest + 3) {}

    // Takes `count` values `stride` apart, and whether a voxel of another label precedes and follows them.
    void lower(float *line, int64_t stride, int64_t count, bool before, bool after) {
        float *values = values_.data() + count;  // infinite on both sides
        for (int64_t i = 0; i < count; ++i) values[i] = line[i * stride];
        if (count <= kShort)
            search(line, stride, count, before, after);
        else
            sweep(line, stride, count, before, after);
        std::fill_n(values, count, kInfinite);
    }

private:
    static constexpr float kInfinite = std::numeric_limits<float>::infinity();
    static constexpr int64_t kShort = 32;  // shorter runs are searched, longer ones get an envelope

    float to_ends(int64_t i, int64_t count, bool before, bool after) const {
        const float left = before ? static_cast<float>(i + 1) : kInfinite;
        const float right = after ? static_cast<float>(count - i) : kInfinite;
        const float nearest = std::min(left, right);
        return square_ * nearest * nearest;
    }

    // Searches outwards from each voxel, until no parabola can be lower.
    void search(float *line, int64_t stride, int64_t count, bool before, bool after) const {
        const float *values = values_.data() + count;
        for (int64_t i = 0; i < count; ++i) {
            float best = std::min(values[i], to_ends(i, count, before, after));
            for (int64_t k = 1; k < count; ++k) {
                const float rise = square_ * static_cast<float>(k * k);
                if (rise >= best) break;
                best = std::min(best, rise + std::min(values[i - k], values[i + k]));
            }
            line[i * stride] = best;
        }
    }

    // Keeps the parabolas of the envelope, and the place from which on each is the lowest.
    void sweep(float *line, int64_t stride, int64_t count, bool before, bool after) {
        const float *values = values_.data() + count;
        int64_t kept = 0;
        auto height = [&](int64_t i) { return i < 0 || i >= count ? 0.0 : double(values[i]); };
        auto add = [&](int64_t i) {
            double from = -std::numeric_limits<double>::infinity();
            while (kept > 0) {
                const int64_t j = parabola_[kept - 1];
                from = ((height(i) - height(j)) / double(square_) + double(i * i - j * j)) / double(2 * (i - j));
                if (from > border_[kept - 1]) break;
                --kept;
            }
            if (kept == 0) from = -std::numeric_limits<double>::infinity();
            parabola_[kept] = i;
            border_[kept++] = from;
        };
        if (before) add(-1);
        for (int64_t i = 0; i < count; ++i)
            if (values[i] < kInfinite) add(i);
        if (after) add(count);
        for (int64_t i = 0, k = 0; i < count && kept > 0; ++i) {
            while (k + 1 < kept && border_[k + 1] < double(i)) ++k;
            const int64_t j = parabola_[k];
            line[i * stride] = static_cast<float>(height(j)) + square_ * static_cast<float>((i - j) * (i - j));
        }
    }

    float square_;
    Vector<float> values_;
    Vector<int64_t> parabola_;
    Vector<double> border_;
};

// The distance transform of one sample: squared distances of the foreground; the background stays unchanged.
class SquaredDistances {
public:
    SquaredDistances(const int64_t *shape, Spacing spacing) : shape_{shape[0], shape[1], shape[2]}, spacing_(spacing) {}

    void compute(const int32_t *labels, float *squared, int threads) const {
        const int64_t d = shape_.z, h = shape_.y, w = shape_.x;
        parallel_for(d * h, threads, 32, [&](int64_t line, int) { count_along_x(labels + line * w, squared + line * w); });
        // one slab of adjacent lines at a time: along y within a slice, along z within a section
        along(labels, squared, {d, h * w, h, w}, spacing_.y, threads);
        along(labels, squared, {h, w, d, h * w}, spacing_.z, threads);
        if (labels[0] > 0 && std::isinf(squared[0])) bound_by_outside(squared, threads);
    }

private:
    struct Slabs {
        int64_t count, apart;   // slabs, and elements from one to the next
        int64_t length, stride; // of the lines in a slab, which start at consecutive voxels along x
    };

    // Distance to the ends of the run, unless they are the ends of the volume.
    void count_along_x(const int32_t *labels, float *squared) const {
        const int64_t w = shape_.x;
        const float infinite = std::numeric_limits<float>::infinity();
        for (int64_t start = 0, end; start < w; start = end) {
            for (end = start + 1; end < w && labels[end] == labels[start];) ++end;
            if (labels[start] <= 0) continue;
            for (int64_t i = start; i < end; ++i) {
                const float left = start > 0 ? static_cast<float>(i - start + 1) : infinite;
                const float right = end < w ? static_cast<float>(end - i) : infinite;
                const float nearest = std::min(left, right) * spacing_.x;
                squared[i] = nearest * nearest;
            }
        }
    }

    void along(const int32_t *labels, float *squared, Slabs slabs, float length, int threads) const {
        const int64_t w = shape_.x;
        Vector<std::unique_ptr<Worker>> workers(threads);
        parallel_for(slabs.count, threads, 1, [&](int64_t slab, int index) {
            auto &worker = workers[index];
            if (!worker) worker = std::make_unique<Worker>(slabs.length, w, length);
            std::fill(worker->start.begin(), worker->start.end(), 0);
            const int32_t *here = labels + slab * slabs.apart;
            float *values = squared + slab * slabs.apart;
            auto close = [&](int64_t x, int64_t end) {
                int64_t &start = worker->start[x];
                if (here[start * slabs.stride + x] > 0)
                    worker->envelope.lower(values + start * slabs.stride + x, slabs.stride, end - start, start > 0,
                                           end < slabs.length);
                start = end;
            };
            for (int64_t i = 1; i < slabs.length; ++i) {
                const int32_t *line = here + i * slabs.stride, *last = line - slabs.stride;
                for (int64_t x = 0; x < w; ++x)
                    if (line[x] != last[x]) close(x, i);
            }
            for (int64_t x = 0; x < w; ++x) close(x, slabs.length);
        });
    }

    // A sample that is one object has no other label; its bound is the outside of the volume.
    void bound_by_outside(float *squared, int threads) const {
        const int64_t d = shape_.z, h = shape_.y, w = shape_.x;
        auto steps = [](int64_t i, int64_t n, float length) { return static_cast<float>(std::min(i + 1, n - i)) * length; };
        parallel_for(d * h, threads, 32, [&](int64_t line, int) {
            const float zy = std::min(steps(line / h, d, spacing_.z), steps(line % h, h, spacing_.y));
            for (int64_t x = 0; x < w; ++x) {
                const float nearest = std::min(zy, steps(x, w, spacing_.x));
                squared[line * w + x] = nearest * nearest;
            }
        });
    }

    struct Worker {
        Envelope envelope;
        Vector<int64_t> start;
        Worker(int64_t longest, int64_t width, float length)
            : envelope(longest, length), start(width) {}
    };
    struct Shape {
        int64_t z, y, x;
    } shape_;
    Spacing spacing_;
};

// Calls body(start, end, label) for the runs of equal positive labels of a line.
template <class Body>
void for_each_run(const int32_t *labels, int64_t width, const Body &body) {
    for (int64_t start = 0, end; start < width; start = end) {
        for (end = start + 1; end < width && labels[end] == labels[start];) ++end;
        if (labels[start] > 0) body(start, end, labels[start]);
    }
}

// labels [samples, shape] -> distances of the same shape, 0 in the background.
inline void distance_transform(const int32_t *labels, int64_t samples, const int64_t *shape, Spacing spacing, float *out,
                               int threads) {
    const int64_t lines = shape[0] * shape[1], w = shape[2];
    const SquaredDistances transform(shape, spacing);
    for (int64_t sample = 0; sample < samples; ++sample, labels += lines * w, out += lines * w) {
        transform.compute(labels, out, threads);
        parallel_for(lines, threads, 32, [&](int64_t line, int) {
            const int32_t *label = labels + line * w;
            float *distance = out + line * w;
            for (int64_t x = 0; x < w; ++x) distance[x] = label[x] > 0 ? std::sqrt(distance[x]) : 0.0f;
        });
    }
}

// The largest value of each label of a sample. There are few labels and many runs.
inline std::unordered_map<int32_t, float> largest_of_labels(const int32_t *labels, const float *values, int64_t lines,
                                                            int64_t width, int threads) {
    Vector<std::unordered_map<int32_t, float>> found(threads);
    parallel_for(lines, threads, 32, [&](int64_t line, int worker) {
        for_each_run(labels + line * width, width, [&](int64_t start, int64_t end, int32_t label) {
            float &largest = found[worker][label];
            largest = std::max(largest, *std::max_element(values + line * width + start, values + line * width + end));
        });
    });
    for (int64_t worker = 1; worker < found.size(); ++worker)
        for (const auto &[label, value] : found[worker]) found[0][label] = std::max(found[0][label], value);
    return found[0];
}

// labels [samples, shape] -> distance over the largest of the object, [samples, ceil(shape / grid)].
inline void object_probability(const int32_t *labels, int64_t samples, const int64_t *shape, Grid grid, Spacing spacing,
                               float *out, int threads) {
    const int64_t lines = shape[0] * shape[1], width = shape[2];
    const int64_t d = (shape[0] + grid.z - 1) / grid.z, h = (shape[1] + grid.y - 1) / grid.y;
    const int64_t w = (shape[2] + grid.x - 1) / grid.x;
    const SquaredDistances transform(shape, spacing);
    std::unique_ptr<float[]> squared(new float[static_cast<size_t>(lines * width)]);  // only the foreground is written
    for (int64_t sample = 0; sample < samples; ++sample, labels += lines * width, out += d * h * w) {
        transform.compute(labels, squared.get(), threads);
        const auto largest = largest_of_labels(labels, squared.get(), lines, width, threads);
        parallel_for(d * h, threads, 16, [&, out = out, labels = labels](int64_t line, int) {
            const int64_t from = (line / h * grid.z * shape[1] + line % h * grid.y) * width;
            float *to = out + line * w;
            std::fill_n(to, w, 0.0f);
            for_each_run(labels + from, width, [&](int64_t start, int64_t end, int32_t label) {
                const float scale = std::sqrt(largest.at(label));
                for (int64_t i = (start + grid.x - 1) / grid.x; i * grid.x < end; ++i)
                    to[i] = std::sqrt(squared[static_cast<size_t>(from + i * grid.x)]) / scale;
            });
        });
    }
}

}  // namespace anystar
