// Fields that are given by their values on a lattice and interpolated linearly between them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.hpp"

namespace anystar {

// Voxels of one chunk; their intermediate results stay in the cache.
constexpr int64_t kChunk = 256;

// A lattice of [z, y, x] nodes. A position p lies at the (fractional) node `p * factor + offset` of its axis.
struct Lattice {
    int64_t size[3];
    float factor[3], offset[3];

    int64_t nodes() const { return size[0] * size[1] * size[2]; }
    int64_t stride(int axis) const { return axis == 2 ? 1 : axis == 1 ? size[2] : size[1] * size[2]; }
};

// Calls body(sample, first, count, worker) for chunks of at most kChunk of the `voxels` of every sample.
template <class Body>
void for_chunks(int64_t samples, int64_t voxels, int threads, const Body &body) {
    const int64_t chunks = (voxels + kChunk - 1) / kChunk;
    parallel_for(samples * chunks, threads, 16, [&](int64_t i, int worker) {
        const int64_t first = (i % chunks) * kChunk;
        body(i / chunks, first, int(std::min(kChunk, voxels - first)), worker);
    });
}

// For each position of a chunk: the node below, the strides to the nodes above, and the fraction between them.
class Cells {
public:
    // Positions outside of the lattice get the value at the nearest face.
    void locate(const Lattice &lattice, int axis, const float *position, int count) {
        const float factor = lattice.factor[axis], offset = lattice.offset[axis];
        const float top = float(lattice.size[axis] - 1);
        const int32_t last = int32_t(lattice.size[axis] - 1), stride = int32_t(lattice.stride(axis));
        for (int i = 0; i < count; ++i) {
            float node = position[i] * factor + offset;
            node = node > 0.0f ? node : 0.0f;
            node = node < top ? node : top;
            const int32_t below = int32_t(node);
            set(axis, i, below * stride, below < last ? stride : 0, node - float(below));
        }
    }

    // Nodes lie one unit apart, and the lattice repeats without end.
    void locate_periodic(const Lattice &lattice, int axis, const float *position, int count) {
        const float size = float(lattice.size[axis]), inverse = 1.0f / size;
        const int32_t last = int32_t(lattice.size[axis] - 1), stride = int32_t(lattice.stride(axis));
        for (int i = 0; i < count; ++i) {
            const float turns = position[i] * inverse;
            float whole = float(int32_t(turns));
            whole = whole > turns ? whole - 1.0f : whole;
            const float node = position[i] - whole * size;
            int32_t below = int32_t(node);
            const float fraction = node - float(below);
            below = below > last ? 0 : below;  // a position just below 0 rounds to `size`
            below = below < 0 ? 0 : below;
            set(axis, i, below * stride, below < last ? stride : -last * stride, fraction);
        }
    }

    int32_t start(int i) const { return start_[i]; }
    int32_t step(int axis, int i) const { return step_[axis][i]; }
    float fraction(int axis, int i) const { return fraction_[axis][i]; }

    // The field at position `i`.
    float value(const float *field, int i) const {
        const float *below = field + start_[i], *above = below + step_[0][i];
        const float z = fraction_[0][i], y = fraction_[1][i], x = fraction_[2][i];
        const int32_t dy = step_[1][i], dx = step_[2][i];
        return mixed(face(below, dy, dx, y, x), face(above, dy, dx, y, x), z);
    }

    static float mixed(float low, float high, float fraction) { return low + fraction * (high - low); }

private:
    static float face(const float *node, int32_t dy, int32_t dx, float y, float x) {
        return mixed(mixed(node[0], node[dx], x), mixed(node[dy], node[dy + dx], x), y);
    }
    void set(int axis, int i, int32_t place, int32_t step, float fraction) {
        start_[i] = axis == 0 ? place : start_[i] + place;
        step_[axis][i] = step;
        fraction_[axis][i] = fraction;
    }

    int32_t start_[kChunk], step_[3][kChunk];
    float fraction_[3][kChunk];
};

// Fields [samples, channels, nodes] at positions [samples, 3, voxels]: out [samples, channels, voxels].
inline void sample_lattice(const float *fields, int64_t samples, int64_t channels, const Lattice &lattice,
                           bool periodic, const float *position, int64_t voxels, float *out, int threads) {
    for_chunks(samples, voxels, threads, [&](int64_t b, int64_t first, int count, int) {
        Cells cells;
        for (int axis = 0; axis < 3; ++axis) {
            const float *place = position + (b * 3 + axis) * voxels + first;
            if (periodic)
                cells.locate_periodic(lattice, axis, place, count);
            else
                cells.locate(lattice, axis, place, count);
        }
        for (int64_t c = b * channels; c < (b + 1) * channels; ++c) {
            const float *field = fields + c * lattice.nodes();
            float *values = out + c * voxels + first;
            for (int i = 0; i < count; ++i) values[i] = cells.value(field, i);
        }
    });
}

// Index of the largest of the first `counts[b]` fields of each sample at warped positions, out [samples, voxels].
// The fields are [samples, channels, nodes], the warp is [samples, 3, nodes of the warp]. The first of equal fields wins.
// Samples without fields get 0.
inline void strongest_field(const float *fields, int64_t samples, int64_t channels, const Lattice &lattice,
                            const int32_t *counts, const float *warps, const Lattice &warp_lattice,
                            const float *position, int64_t voxels, int32_t *out, int threads) {
    // Channels are last, so that the fields of one voxel are adjacent in memory, and padded to whole vectors.
    const int64_t nodes = lattice.nodes(), padded = (channels + 3) / 4 * 4;
    std::vector<float> table(size_t(samples * nodes * padded), -1e30f);
    for (int64_t b = 0; b < samples; ++b)
        for (int64_t c = 0; c < std::min<int64_t>(counts[b], channels); ++c)
            for (int64_t n = 0; n < nodes; ++n)
                table[size_t((b * nodes + n) * padded + c)] = fields[(b * channels + c) * nodes + n];
    for_chunks(samples, voxels, threads, [&](int64_t b, int64_t first, int count, int) {
        int32_t *winners = out + b * voxels + first;
        const int64_t here = std::min<int64_t>(counts[b], channels);
        if (here < 2) {
            std::fill_n(winners, count, 0);
            return;
        }
        Cells cells;
        float warped[3][kChunk];
        const float *place = position + b * 3 * voxels + first;
        for (int axis = 0; axis < 3; ++axis) cells.locate(warp_lattice, axis, place + axis * voxels, count);
        for (int axis = 0; axis < 3; ++axis) {
            const float *warp = warps + (b * 3 + axis) * warp_lattice.nodes();
            for (int i = 0; i < count; ++i) warped[axis][i] = place[axis * voxels + i] + cells.value(warp, i);
        }
        for (int axis = 0; axis < 3; ++axis) cells.locate(lattice, axis, warped[axis], count);
        const float *own = table.data() + b * nodes * padded;
        for (int i = 0; i < count; ++i) {
            const float *node[8];
            for (int corner = 0; corner < 8; ++corner)
                node[corner] = own + padded * (cells.start(i) + (corner & 4 ? cells.step(0, i) : 0) +
                                               (corner & 2 ? cells.step(1, i) : 0) + (corner & 1 ? cells.step(2, i) : 0));
            const float z = cells.fraction(0, i), y = cells.fraction(1, i), x = cells.fraction(2, i);
            float best = -1e30f;
            int32_t winner = 0;
            for (int64_t start = 0; start < here; start += 4) {
                float value[4];
                for (int lane = 0; lane < 4; ++lane) {
                    const int64_t c = start + lane;
                    const float low = Cells::mixed(Cells::mixed(node[0][c], node[1][c], x),
                                                   Cells::mixed(node[2][c], node[3][c], x), y);
                    const float high = Cells::mixed(Cells::mixed(node[4][c], node[5][c], x),
                                                    Cells::mixed(node[6][c], node[7][c], x), y);
                    value[lane] = Cells::mixed(low, high, z);
                }
                for (int lane = 0; lane < 4; ++lane)
                    if (value[lane] > best) best = value[lane], winner = int32_t(start) + lane;
            }
            winners[i] = winner;
        }
    });
}

}  // namespace anystar
