// The nearest ball of each voxel on a jittered lattice, the voxel's place on it, and the distance of its surface.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lattice.hpp"

namespace anystar {

struct Ball {
    float z, y, x, radius;
};

// The balls of a batch: centres [samples, 3, nodes], radii [samples, nodes], pitch [samples].
struct BallLattice {
    const float *centre, *radius, *pitch;
    int64_t samples, size[3];

    int64_t nodes() const { return size[0] * size[1] * size[2]; }

    std::vector<Ball> packed() const {
        const int64_t n = nodes();
        std::vector<Ball> balls(static_cast<size_t>(samples * n));
        for (int64_t b = 0; b < samples; ++b) {
            const float *z = centre + b * 3 * n, *y = z + n, *x = y + n;
            for (int64_t i = 0; i < n; ++i) balls[size_t(b * n + i)] = {z[i], y[i], x[i], radius[b * n + i]};
        }
        return balls;
    }
};

// Results per voxel: ball [samples, voxels], its index in its sample; centre and unit vector from it to the voxel
// [samples, 3, voxels]; radius and distance from the centre [samples, voxels].
struct AimOut {
    int32_t *ball;
    float *centre, *radius, *direction, *distance;
};

// For voxels [first, last) of one lattice cell: the ball of smallest `distance - radius` among the cell's eight.
inline void nearest_of_eight(const Ball *cell, const int32_t steps[8], int32_t start, const float *const place[3],
                             int first, int last, int32_t *winner) {
    float best[kChunk];
    for (int corner = 0; corner < 8; ++corner) {
        const Ball ball = cell[steps[corner]];
        const int32_t number = start + steps[corner];
        if (corner == 0)
            for (int i = first; i < last; ++i) best[i] = 3e38f, winner[i] = start;
        for (int i = first; i < last; ++i) {
            const float z = ball.z - place[0][i], y = ball.y - place[1][i], x = ball.x - place[2][i];
            const float excess = std::sqrt(z * z + y * y + x * x) - ball.radius;
            winner[i] = excess < best[i] ? number : winner[i];
            best[i] = excess < best[i] ? excess : best[i];
        }
    }
}

// Writes the aim of a chunk of voxels, given each one's ball.
inline void write_aim(const Ball *balls, const int32_t *winner, const float *const place[3], int count, int64_t voxels,
                      int64_t b, int64_t first, const AimOut &out) {
    float centre[3][kChunk], radius[kChunk];
    for (int i = 0; i < count; ++i) {
        const Ball ball = balls[winner[i]];
        centre[0][i] = ball.z, centre[1][i] = ball.y, centre[2][i] = ball.x, radius[i] = ball.radius;
    }
    const int64_t one = b * voxels + first, three = b * 3 * voxels + first;
    std::copy_n(winner, count, out.ball + one);
    std::copy_n(radius, count, out.radius + one);
    for (int axis = 0; axis < 3; ++axis) std::copy_n(centre[axis], count, out.centre + three + axis * voxels);
    float *distance = out.distance + one;
    float *dz = out.direction + three, *dy = dz + voxels, *dx = dy + voxels;
    for (int i = 0; i < count; ++i) {
        const float z = place[0][i] - centre[0][i], y = place[1][i] - centre[1][i], x = place[2][i] - centre[2][i];
        const float length = std::sqrt(z * z + y * y + x * x), inverse = 1.0f / (length + 1e-6f);
        distance[i] = length;
        dz[i] = z * inverse, dy[i] = y * inverse, dx[i] = x * inverse;
    }
}

// Positions [samples, 3, voxels] are moved by `origin` into the frame of the balls.
inline void aim_at_balls(const BallLattice &lattice, const float *position, int64_t voxels, const float origin[3],
                         const AimOut &out, int threads) {
    const std::vector<Ball> balls = lattice.packed();
    const int32_t stride[3] = {int32_t(lattice.size[1] * lattice.size[2]), int32_t(lattice.size[2]), 1};
    int32_t steps[8];
    for (int corner = 0; corner < 8; ++corner)
        steps[corner] = (corner & 4 ? stride[0] : 0) + (corner & 2 ? stride[1] : 0) + (corner & 1 ? stride[2] : 0);
    for_chunks(lattice.samples, voxels, threads, [&](int64_t b, int64_t first, int count, int) {
        float moved[3][kChunk];
        int32_t start[kChunk], winner[kChunk];
        const float scale = 1.0f / lattice.pitch[b];
        for (int axis = 0; axis < 3; ++axis) {
            const float *place = position + (b * 3 + axis) * voxels + first;
            const float top = float(lattice.size[axis] - 2);
            for (int i = 0; i < count; ++i) {
                moved[axis][i] = place[i] + origin[axis];
                float cell = moved[axis][i] * scale;
                cell = cell > 0.0f ? cell : 0.0f;
                cell = cell < top ? cell : top;
                start[i] = (axis == 0 ? 0 : start[i]) + int32_t(cell) * stride[axis];
            }
        }
        const float *const place[3] = {moved[0], moved[1], moved[2]};
        const Ball *own = balls.data() + b * lattice.nodes();
        for (int i = 0, end = 0; i < count; i = end) {  // runs of neighbours in one cell share its balls
            for (end = i + 1; end < count && start[end] == start[i];) ++end;
            nearest_of_eight(own + start[i], steps, start[i], place, i, end, winner);
        }
        write_aim(own, winner, place, count, voxels, b, first, out);
    });
}

// A smooth star: the middle of its directions in the noise, its own axis, and two powers of its elongation.
struct Star {
    float middle[3], axis[3], along, across;
};

// out [samples, voxels]: radius * exp(strength * noise) / |A direction|; kernels/balls.py has the formula.
// Per voxel: ball, radius [samples, voxels], direction [samples, 3, voxels]. Stars: [samples, balls]. Noise: [samples,
// nodes], sampled at `middle + direction * bumps`.
inline void star_reach(const int32_t *ball, const float *radius, const float *direction, int64_t samples,
                       int64_t voxels, const Star *stars, int64_t balls, const float *noise, const Lattice &lattice,
                       float bumps, float strength, float *out, int threads) {
    for_chunks(samples, voxels, threads, [&](int64_t b, int64_t first, int count, int) {
        const Star *own = stars + b * balls;
        const int32_t *number = ball + b * voxels + first;
        const float *size = radius + b * voxels + first, *dz = direction + b * 3 * voxels + first;
        const float *dy = dz + voxels, *dx = dy + voxels;
        float place[3][kChunk], stretched[kChunk];
        for (int i = 0; i < count; ++i) {
            const Star &star = own[std::clamp<int64_t>(number[i], 0, balls - 1)];
            place[0][i] = star.middle[0] + dz[i] * bumps;
            place[1][i] = star.middle[1] + dy[i] * bumps;
            place[2][i] = star.middle[2] + dx[i] * bumps;
            const float cosine = star.axis[0] * dz[i] + (star.axis[1] * dy[i] + star.axis[2] * dx[i]);
            const float share = cosine * cosine;
            stretched[i] = share * star.along + (1.0f - share) * star.across;
        }
        Cells cells;
        for (int axis = 0; axis < 3; ++axis) cells.locate(lattice, axis, place[axis], count);
        float *reach = out + b * voxels + first;
        const float *field = noise + b * lattice.nodes();
        for (int i = 0; i < count; ++i) {
            const float bump = cells.value(field, i) * strength;
            reach[i] = size[i] * std::exp(bump) * (1.0f / std::sqrt(stretched[i]));
        }
    });
}

}  // namespace anystar
