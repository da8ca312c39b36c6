// Connected components: voxels of equal label that touch by a face, an edge or a corner.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "edt.hpp"
#include "parallel.hpp"
#include "vector.hpp"

namespace anystar {

// Union-find over the runs of one sample, line by line. The root of a piece is its first run, so pieces are numbered in
// the order of their first voxels.
class Pieces {
public:
    Pieces(const int32_t *labels, const int64_t *shape) : height_(shape[1]), lines_(shape[0] * shape[1]), width_(shape[2]) {
        first_of_line_.reserve(lines_ + 1);
        for (int64_t line = 0; line < lines_; ++line) {
            first_of_line_.push_back(runs_.size());
            for_each_run(labels + line * width_, width_, [&](int64_t start, int64_t end, int32_t label) {
                runs_.push_back({start, end, label, runs_.size()});
            });
        }
        first_of_line_.push_back(runs_.size());
        for (int64_t line = 0; line < lines_; ++line) {
            const int64_t z = line / height_, y = line % height_;
            if (y > 0) join(line, line - 1);
            if (z == 0) continue;
            if (y > 0) join(line, line - height_ - 1);
            join(line, line - height_);
            if (y + 1 < height_) join(line, line - height_ + 1);
        }
    }

    // Pieces of fewer than `least` voxels get 0 and use no number.
    void write(int64_t least, int32_t *out) {
        std::fill_n(out, lines_ * width_, 0);
        Vector<int64_t> voxels(runs_.size(), 0);
        for (int64_t i = 0; i < runs_.size(); ++i)
            voxels[find(i)] += runs_[i].end - runs_[i].start;
        Vector<int32_t> names(runs_.size());
        int32_t pieces = 0;
        for (int64_t line = 0; line < lines_; ++line)
            for (int64_t i = first_of_line_[line]; i < first_of_line_[line + 1]; ++i) {
                const int64_t root = find(i);
                if (voxels[root] < least) continue;
                names[i] = root == i ? ++pieces : names[root];
                std::fill(out + line * width_ + runs_[i].start, out + line * width_ + runs_[i].end, names[i]);
            }
    }

private:
    struct Run {
        int64_t start, end;
        int32_t label;
        int64_t parent;  // never a later run
    };

    int64_t find(int64_t i) {
        while (runs_[i].parent != i) i = runs_[i].parent = runs_[runs_[i].parent].parent;
        return i;
    }

    void join(int64_t line, int64_t earlier) {
        int64_t a = first_of_line_[line], b = first_of_line_[earlier];
        const int64_t last_a = first_of_line_[line + 1], last_b = first_of_line_[earlier + 1];
        while (a < last_a && b < last_b) {
            join_runs(a, b);
            const int64_t end_a = runs_[a].end, end_b = runs_[b].end;
            if (end_a == end_b && a + 1 < last_a) join_runs(a + 1, b);  // they may touch by a corner
            end_a < end_b ? ++a : ++b;
        }
    }

    void join_runs(int64_t a, int64_t b) {
        const Run &one = runs_[a], &other = runs_[b];
        if (one.label != other.label || one.start > other.end || other.start > one.end) return;
        const int64_t i = find(a), j = find(b);
        runs_[std::max(i, j)].parent = std::min(i, j);
    }

    int64_t height_, lines_, width_;
    Vector<int64_t> first_of_line_;
    Vector<Run> runs_;
};

// labels [samples, shape] -> ids 1..n of the pieces of each sample with at least `least` voxels, 0 elsewhere.
inline void connected_components(const int32_t *labels, int64_t samples, const int64_t *shape, int64_t least,
                                 int32_t *out, int threads) {
    const int64_t voxels = shape[0] * shape[1] * shape[2];
    parallel_for(samples, threads, 1, [&](int64_t sample, int) {
        Pieces(labels + sample * voxels, shape).write(least, out + sample * voxels);
    });
}

// labels [samples, voxels] -> the labels without those that have fewer than `least` voxels in their sample.
inline void remove_small(const int32_t *labels, int64_t samples, int64_t voxels, int64_t least, int32_t *out,
                         int threads) {
    parallel_for(samples, threads, 1, [&](int64_t sample, int) {
        const int32_t *from = labels + sample * voxels;
        int32_t *to = out + sample * voxels;
        std::unordered_map<int32_t, int64_t> counts;
        for_each_run(from, voxels, [&](int64_t start, int64_t end, int32_t label) { counts[label] += end - start; });
        std::fill_n(to, voxels, 0);
        for_each_run(from, voxels, [&](int64_t start, int64_t end, int32_t label) {
            if (counts[label] >= least) std::fill(to + start, to + end, label);
        });
    });
}

}  // namespace anystar
