// Star-convex polyhedra on the voxel lattice: directions, volume, bounds and the voxels inside.
//
// A polyhedron has a centre c and a distance d_r > 0 along each direction u_r. The directions have a closed triangulation.
// The polyhedron is the union of the tetrahedra (c, c + d_a u_a, c + d_b u_b, c + d_c u_c) over its triangles (a, b, c).
// A voxel is inside when its centre, an integer point, lies in the closed polyhedron. All numbers are float64 and depend
// on one polyhedron alone, so no result depends on threads or on order. Axes are z, y, x.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "box.hpp"
#include "vector.hpp"

namespace anystar {

// Voxel centres on a facet count as inside for any rounding: polyhedra are enlarged by this relative amount before
// voxels are tested. Volumes are those of the polyhedra themselves.
constexpr double kGrowth = 1.0 + 1e-9;

// The directions and their triangulation, checked once: closed, and covering every direction exactly once.
class RaySet {
public:
    struct Edge { int32_t a, b; };
    struct Face { int32_t vertex[3], edge[3]; };  // edge[k] joins vertex[k] and vertex[(k + 1) % 3]

    // vertices [n, 3], triangles [count, 3]
    RaySet(const float *vertices, int64_t n, const int64_t *triangles, int64_t count) {
        if (n < 4) throw std::invalid_argument("rays must be at least 4, got " + std::to_string(n));
        for (int64_t i = 0; i < 3 * n; ++i) directions_.push_back(double(vertices[i]));
        for (double value : directions_)
            if (!std::isfinite(value)) throw std::invalid_argument("rays.vertices must be finite");
        std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int>> seen;  // undirected edge -> id, times used
        for (int64_t f = 0; f < count; ++f) add_face(triangles + 3 * f, static_cast<int32_t>(n), seen);
        for (const auto &entry : seen)
            if (entry.second.second != 2)
                throw std::invalid_argument("rays.faces must be a closed surface: edge (" + std::to_string(entry.first.first) +
                                            ", " + std::to_string(entry.first.second) + ") belongs to " +
                                            std::to_string(entry.second.second) + " triangles, not 2");
        check_covers_directions();
    }

    int64_t rays() const { return directions_.size() / 3; }
    const Vector<double> &directions() const { return directions_; }
    const Vector<Face> &faces() const { return faces_; }
    const Vector<Edge> &edges() const { return edges_; }

    // Analytic volume in voxels.
    double volume(const float *distances) const {
        double sum = 0;
        for (int64_t f = 0; f < faces_.size(); ++f) {
            const int32_t *v = faces_[f].vertex;
            sum += tetrahedra_[f] * distances[v[0]] * distances[v[1]] * distances[v[2]];
        }
        return sum;
    }

private:
    void add_face(const int64_t *corner, int32_t n,
                  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int>> &seen) {
        Face face{};
        for (int k = 0; k < 3; ++k) {
            if (corner[k] < 0 || corner[k] >= n)
                throw std::invalid_argument("rays.faces must hold indices 0.." + std::to_string(n - 1) + ", got " +
                                            std::to_string(corner[k]));
            face.vertex[k] = static_cast<int32_t>(corner[k]);
        }
        for (int k = 0; k < 3; ++k) {
            const int32_t a = face.vertex[k], b = face.vertex[(k + 1) % 3];
            auto &[id, uses] = seen.try_emplace({std::min(a, b), std::max(a, b)}, int32_t(edges_.size()), 0).first->second;
            if (uses++ == 0) edges_.push_back({std::min(a, b), std::max(a, b)});
            face.edge[k] = id;
        }
        faces_.push_back(face);
    }

    const double *direction(int32_t ray) const { return directions_.data() + 3 * ray; }

    // Solid angles of consistently oriented triangles that add up to the whole sphere are a tiling, so every direction
    // meets the surface once. Fills the volumes of the unit tetrahedra.
    void check_covers_directions() {
        const double sphere = 4 * std::acos(-1.0);
        double sum = 0, absolute = 0;
        for (const Face &face : faces_) {
            const double *a = direction(face.vertex[0]), *b = direction(face.vertex[1]), *c = direction(face.vertex[2]);
            const double det = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) +
                               a[2] * (b[0] * c[1] - b[1] * c[0]);
            auto dot = [](const double *p, const double *q) { return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]; };
            const double la = std::sqrt(dot(a, a)), lb = std::sqrt(dot(b, b)), lc = std::sqrt(dot(c, c));
            const double angle = 2 * std::atan2(det, la * lb * lc + dot(a, b) * lc + dot(a, c) * lb + dot(b, c) * la);
            sum += angle;
            absolute += std::abs(angle);
            tetrahedra_.push_back(std::abs(det) / 6);
        }
        if (!(std::abs(std::abs(sum) - sphere) < 1e-3) || !(std::abs(absolute - sphere) < 1e-3))
            throw std::invalid_argument(
                "rays.faces must cover every direction exactly once, all turning the same way: their solid angles add up "
                "to " + std::to_string(std::abs(sum) / sphere) + " of the sphere (" +
                std::to_string(absolute / sphere) + " without signs)");
    }

    Vector<double> directions_;
    Vector<Face> faces_;
    Vector<Edge> edges_;
    Vector<double> tetrahedra_;
};

// Throws unless points [n, 3] and distances [n, rays] are finite and within the supported range.
inline void check_polyhedra(const float *points, const float *distances, int64_t n, int64_t rays) {
    constexpr float kFarthest = 1 << 23, kLongest = 3.0e38f;  // float32 has half voxels up to 2^23
    auto place = [](int64_t i, int64_t columns) {
        return "[" + std::to_string(i / columns) + ", " + std::to_string(i % columns) + "]";
    };
    for (int64_t i = 0; i < 3 * n; ++i)
        if (!(std::abs(points[i]) < kFarthest))
            throw std::invalid_argument("points must be finite and below 2^23 voxels, got " + std::to_string(points[i]) +
                                        " at " + place(i, 3));
    int64_t good = 0;
    for (int64_t i = 0; i < n * rays; ++i) good += distances[i] > 0 && distances[i] < kLongest;
    for (int64_t i = 0; good < n * rays && i < n * rays; ++i)
        if (!(distances[i] > 0 && distances[i] < kLongest))
            throw std::invalid_argument("distances must be positive and finite, got " + std::to_string(distances[i]) +
                                        " at " + place(i, rays) + "; clip predictions to a small positive length first");
}

// Finds the voxels inside one polyhedron at a time, and keeps the memory for the next.
//
// Scan conversion. Each plane z = integer cuts every edge at most once, which gives the corners of the cross-section.
// Each row y = integer of the plane is cut by the sides of that contour, and each cut changes inside to outside along x.
// A corner is computed once and shared by the two sides that meet there, so a row is cut an even number of times for
// any rounding. The cost grows with the surface, not with the volume.
class Rasteriser {
public:
    explicit Rasteriser(const RaySet &rays)
        : rays_(rays), corners_(rays.rays()), slice_(rays.rays()), cuts_of_edge_(rays.edges().size()) {}

    // Takes a polyhedron: point [3], distances [rays].
    void set(const float *point, const float *distances) {
        const double *u = rays_.directions().data();
        double lo[3], hi[3];
        for (int k = 0; k < 3; ++k) {
            origin_[k] = std::nearbyint(static_cast<double>(point[k]));
            lo[k] = HUGE_VAL;
            hi[k] = -HUGE_VAL;
        }
        for (int64_t r = 0; r < corners_.size(); ++r) {
            const double distance = distances[r] * kGrowth;
            for (int k = 0; k < 3; ++k) {
                const double value = (point[k] - origin_[k]) + distance * u[3 * r + k];
                corners_[r].at[k] = value;
                lo[k] = std::min(lo[k], value);
                hi[k] = std::max(hi[k], value);
            }
        }
        constexpr double kFar = 1 << 30;
        for (int k = 0; k < 3; ++k) {
            box_.lo[k] = static_cast<int32_t>(std::clamp(std::ceil(lo[k]) + origin_[k], -kFar, kFar));
            box_.hi[k] = static_cast<int32_t>(std::clamp(std::floor(hi[k]) + origin_[k], -kFar, kFar));
        }
    }

    // The smallest box that holds all voxels inside (and, far out, no further than 2^30).
    const Box &box() const { return box_; }

    // Sets the bits of the voxels inside both the polyhedron and the crop; rows: zeros, Bitmap::words(crop) of them.
    void fill(const Box &crop, uint64_t *rows) {
        cut_edges(crop);
        if (Bitmap::words_per_row(crop) == 1) {
            cut_rows<true>(crop, rows);
            return;
        }
        cut_rows<false>(crop, rows);
        const int64_t words = Bitmap::words_per_row(crop), count = crop.size(0) * crop.size(1);
        for (int64_t row = 0; row < count; ++row) fill_between(rows + row * words, words);
    }

private:
    struct Point { double at[3]; };
    struct Corner { double y, x; int32_t row; };  // of a cross-section; row = the first lattice row at or after y

    // ceil(value) within [0, limit]; 0 for NaN
    static int32_t first_at_or_after(double value, int32_t limit) {
        value = std::min(std::max(0.0, value), static_cast<double>(limit));
        const auto whole = static_cast<int32_t>(value);
        return whole + (value > whole);
    }

    void cut_edges(const Box &crop) {
        for (int k = 0; k < 3; ++k) shift_[k] = origin_[k] - crop.lo[k];
        const auto depth = static_cast<int32_t>(crop.size(0)), height = static_cast<int32_t>(crop.size(1));
        for (int64_t r = 0; r < corners_.size(); ++r) slice_[r] = first_at_or_after(corners_[r].at[0] + shift_[0], depth);
        cuts_.clear();
        for (int64_t e = 0; e < cuts_of_edge_.size(); ++e) {
            auto [a, b] = rays_.edges()[e];
            if (slice_[a] > slice_[b]) std::swap(a, b);
            const int32_t first = slice_[a], last = slice_[b];
            cuts_of_edge_[e] = cuts_.size() - first;
            if (first == last) continue;
            const double *from = corners_[a].at, *to = corners_[b].at;
            const double scale = 1.0 / (to[0] - from[0]), start = from[0] + shift_[0];
            for (int32_t z = first; z < last; ++z) {
                const double t = std::min(std::max((z - start) * scale, 0.0), 1.0);
                const double y = from[1] + t * (to[1] - from[1]) + shift_[1];
                const double x = from[2] + t * (to[2] - from[2]) + shift_[2];
                cuts_.push_back({y, x, first_at_or_after(y, height)});
            }
        }
    }

    template <bool kOneWord>
    void cut_rows(const Box &crop, uint64_t *rows) {
        const int64_t height = crop.size(1);
        for (const auto &face : rays_.faces()) {
            // Corners in order of slice; `whole` is the edge from the lowest to the highest, which every slice cuts.
            int low = 0, middle = 1, high = 2;
            auto slice = [&](int k) { return slice_[face.vertex[k]]; };
            if (slice(low) > slice(middle)) std::swap(low, middle);
            if (slice(middle) > slice(high)) std::swap(middle, high);
            if (slice(low) > slice(middle)) std::swap(low, middle);
            auto cuts = [&](int p, int q) { return cuts_of_edge_[face.edge[(p + 1) % 3 == q ? p : q]]; };
            const int64_t whole = cuts(low, high), lower = cuts(low, middle), upper = cuts(middle, high);
            const int32_t turn = slice(middle), end = slice(high);
            for (int32_t z = slice(low); z < end; ++z)
                cut_side<kOneWord>(cuts_[whole + z], cuts_[(z < turn ? lower : upper) + z], crop, rows, z * height);
        }
    }

    template <bool kOneWord>
    static void cut_side(const Corner &p, const Corner &q, const Box &crop, uint64_t *rows, int64_t first_row) {
        if (p.row == q.row) return;
        const Corner &from = p.row < q.row ? p : q, &to = p.row < q.row ? q : p;
        const double slope = (to.x - from.x) / (to.y - from.y);
        const double low = std::min(from.x, to.x), high = std::max(from.x, to.x);
        const auto width = static_cast<int32_t>(crop.size(2));
        const int64_t words = kOneWord ? 1 : Bitmap::words_per_row(crop);
        for (int32_t y = from.row; y < to.row; ++y) {
            const double x = std::min(std::max(from.x + (y - from.y) * slope, low), high);
            const int32_t first = first_at_or_after(x, width);
            if constexpr (kOneWord)
                rows[first_row + y] ^= ~uint64_t{0} << first;
            else
                rows[(first_row + y) * words + first / 64] ^= uint64_t{1} << (first % 64);
        }
    }

    // Turns the flips of a row into the voxels between them.
    static void fill_between(uint64_t *row, int64_t words) {
        uint64_t inside = 0;
        for (int64_t i = 0; i < words; ++i) {
            uint64_t word = row[i];
            for (int step = 1; step < 64; step *= 2) word ^= word << step;
            row[i] = word ^= inside;
            inside = uint64_t{0} - (word >> 63);
        }
    }

    const RaySet &rays_;
    double origin_[3] = {0, 0, 0}, shift_[3] = {0, 0, 0};
    Box box_;
    Vector<Point> corners_;          // relative to origin_, the lattice point next to the centre
    Vector<int32_t> slice_;                  // of each corner: the first slice of the crop at or after it
    Vector<int64_t> cuts_of_edge_;           // index of an edge's cut with slice z, less z
    Vector<Corner> cuts_;
};

}  // namespace anystar
