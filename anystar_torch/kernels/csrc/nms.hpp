// Greedy non-maximum suppression of star-convex polyhedra.
//
// In order of score, a candidate j survives unless a better survivor i has voxels(Pi and Pj) > threshold * min(Vi, Vj),
// where V are analytic volumes. The decision about a candidate depends on better ones alone, so candidates are decided in
// chunks. (1) In parallel, each is tested against the survivors of earlier chunks. (2) In parallel, those left are tested
// against each other. (3) In order, those that conflict with a better survivor go. The only bound used is exact: two
// polyhedra share at most the voxels that their boxes share.
//
// Candidates may arrive in rounds, while parts of the volume are unfinished. A candidate stays open in its round if a
// later one could meet it, or if it conflicts with an open better one. All other decisions are final: the survivors of
// all rounds are those of one round with all candidates.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "box.hpp"
#include "box_index.hpp"
#include "parallel.hpp"
#include "polyhedron.hpp"
#include "processing_order.hpp"
#include "vector.hpp"

namespace anystar {

class Suppression {
    using Clock = std::chrono::steady_clock;

public:
    // The rays must outlive this object. Up to cache_bytes of the voxels of survivors and open candidates are kept. Those
    // of later ones are computed again when they are needed.
    Suppression(const RaySet &rays, double threshold, int threads, int64_t cache_bytes)
        : rays_(rays), threshold_(threshold), threads_(std::max(threads, 1)), cache_bytes_(cache_bytes) {
        for (int t = 0; t < threads_; ++t) {
            own_.emplace_back(rays);
            others_.emplace_back(rays);
        }
        other_rows_.resize(threads_);
        rows_.resize(threads_);
    }

    // Begins a round with points [n, 3], distances [n, rays], scores [n], which must live until the round ends. They are
    // new candidates and those that the round before left open. All later candidates lie within the boxes `unfinished`,
    // which the caller has enlarged by the reach of those candidates. `held` [n], if given, is not 0 for candidates that
    // stay open unless a survivor suppresses them. Where it is 2, the caller does not need the candidate's state: it is
    // kOpen if no worse candidate that is not held depends on it.
    void begin(const float *points, const float *distances, const float *scores, int64_t n,
               const Vector<Box> &unfinished, const uint8_t *held = nullptr) {
        points_ = points;
        distances_ = distances;
        held_ = held;
        states_.assign(n, kGone);
        order_ = processing_order(points, distances, scores, n, rays_.rays());
        decided_ = 0;
        chunk_ = kSmallestChunk;
        for (const Candidate &candidate : open_) cache_bytes_ += kept_bytes(candidate);
        open_.clear();
        open_index_ = BoxIndex();
        unfinished_ = BoxIndex();
        for (int64_t i = 0; i < unfinished.size(); ++i) unfinished_.insert(i, unfinished[i]);
        if (std::any_of(held, held ? held + n : held, [](uint8_t value) { return value == kStateNotNeeded; })) leave_out();
    }

    // Decides candidates for about this long, and at least one; returns how many are decided by now.
    int64_t advance(double seconds) {
        const auto span = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        const auto end = Clock::now() + span / 2;  // the last chunk may start just before, and has two halves
        do decide_chunk(span / 4);
        while (decided_ < order_.size() && Clock::now() < end);
        return decided_ + size() - order_.size();
    }

    int64_t size() const { return states_.size(); }
    const Vector<uint8_t> &states() const { return states_; }  // of this round's candidates

    enum State : uint8_t { kGone = 0, kSurvives = 1, kOpen = 2 };

private:
    struct Candidate {
        int64_t index = -1;  // in the caller's arrays
        double volume = 0;
        Box box;
        bool open = false;                 // a better candidate may still come, or one is open itself
        std::unique_ptr<uint64_t[]> rows;  // absent beyond cache_bytes: found again when needed, from
        Vector<float> shape;          // its point and distances
        Bitmap bitmap() const { return {box, rows.get()}; }
    };

    // Removes from the round those candidates whose state is not needed and that cannot conflict with a worse candidate
    // that is not held. They are held, so they suppress nothing in this round: no other state depends on them.
    void leave_out() {
        struct Bound { Box box; double volume; };
        const int64_t n = size(), rays = rays_.rays();
        Vector<Bound> bounds(n);
        parallel_for(n, threads_, 64, [&](int64_t i, int worker) {
            own_[worker].set(points_ + 3 * i, distances_ + rays * i);
            bounds[i] = {own_[worker].box(), rays_.volume(distances_ + rays * i)};
            check_box(bounds[i].box, i);
        });
        BoxIndex worse;
        Vector<int64_t> order;  // from the worst to the best
        for (int64_t k = n - 1; k >= 0; --k) {
            const int64_t i = order_[k];
            bool needed = held_[i] != kStateNotNeeded;
            if (!needed)
                worse.meeting(bounds[i].box, [&](int64_t j, const Box &box) {
                    const double limit = threshold_ * std::min(bounds[i].volume, bounds[j].volume);
                    needed = needed || (box & bounds[i].box).voxels() > limit;
                });
            if (!held_[i]) worse.insert(i, bounds[i].box);
            if (needed) order.push_back(i);
            else states_[i] = kOpen;
        }
        std::reverse(order.begin(), order.end());
        order_ = std::move(order);
    }

    // Calls body(i, worker) for i = 0, 1, ... in parallel until the deadline. Returns m such that all i < m are done; m is
    // `count`, or at least 1.
    template <class Body>
    int64_t until(Clock::time_point deadline, int64_t count, const Body &body) const {
        Vector<uint8_t> done(count, 0);
        std::atomic<bool> late{false};
        parallel_for(count, threads_, 8, [&](int64_t i, int worker) {
            if (i > 0 && (late || (late = Clock::now() > deadline))) return;
            body(i, worker);
            done[i] = 1;
        });
        return std::find(done.begin(), done.end(), 0) - done.begin();
    }

    void decide_chunk(Clock::duration patience) {
        int64_t count = std::min(chunk_, order_.size() - decided_);
        if (count == 0) return;
        Vector<Candidate> fresh(count);  // index stays -1 where a survivor of an earlier chunk suppresses
        count = until(Clock::now() + patience, count, [&](int64_t i, int worker) { test_against_survivors(i, fresh[i], worker); });
        Vector<int64_t> left;
        BoxIndex index;
        for (int64_t i = 0; i < count; ++i)
            if (fresh[i].index >= 0) {
                index.insert(left.size(), fresh[i].box);
                left.push_back(i);
            }
        Vector<Vector<int64_t>> better(left.size());  // of each one left: the conflicting ones before it
        int64_t tested = left.size();
        tested = until(Clock::now() + patience, tested, [&](int64_t j, int worker) {
            index.meeting(fresh[left[j]].box, [&](int64_t i, const Box &) {
                if (i < j && conflict(fresh[left[i]], fresh[left[j]], worker)) better[j].push_back(i);
            });
        });
        if (tested < left.size()) count = left[tested];
        adapt_chunk(count, tested);
        Vector<uint8_t> state(tested, kGone);
        for (int64_t j = 0; j < tested; ++j) {
            auto any_better = [&](State wanted) {
                return std::any_of(better[j].begin(), better[j].end(), [&](int64_t i) { return state[i] == wanted; });
            };
            Candidate &candidate = fresh[left[j]];
            if (any_better(kSurvives)) continue;
            state[j] = candidate.open || any_better(kOpen) ? kOpen : kSurvives;
            states_[candidate.index] = state[j];
            if (candidate.box.voxels() == 0) continue;  // contains no voxel centre, so it suppresses nothing
            if (state[j] == kOpen)
                store(std::move(candidate), open_, open_index_);
            else
                store(std::move(candidate), survivors_, survivors_index_);
        }
        decided_ += count;
    }

    // Large chunks use the threads better, but all candidates that are left of a chunk are tested against each other.
    void adapt_chunk(int64_t count, int64_t left) {
        chunk_ = std::min(chunk_, std::max(count, kSmallestChunk));  // as many as there was time for
        if (4 * left <= count) chunk_ = std::min<int64_t>(2 * chunk_, 65536);
        if (2 * left > count) chunk_ = std::max<int64_t>(chunk_ / 2, kSmallestChunk);
    }

    void test_against_survivors(int64_t i, Candidate &fresh, int worker) {
        const int64_t index = order_[decided_ + i];
        Rasteriser &own = own_[worker];
        own.set(points_ + 3 * index, distances_ + rays_.rays() * index);
        Candidate candidate;
        candidate.volume = rays_.volume(distances_ + rays_.rays() * index);
        candidate.box = own.box();
        check_box(candidate.box, index);
        Vector<std::pair<double, int64_t>> near;  // the more voxels the boxes share, the earlier the pair is decided
        survivors_index_.meeting(candidate.box, [&](int64_t s, const Box &box) {
            const double bound = (box & candidate.box).voxels();
            if (bound > threshold_ * std::min(survivors_[s].volume, candidate.volume)) near.emplace_back(-bound, s);
        });
        std::sort(near.begin(), near.end());
        auto &rows = rows_[worker];
        rows.assign(Bitmap::words(candidate.box), 0);
        const Bitmap bitmap{candidate.box, rows.data()};
        Box middle = candidate.box;  // the slices drawn first
        if (!near.empty()) {
            middle = middle_slices(candidate.box, survivors_[near[0].second].box);
            fill_slices(own, bitmap, middle.lo[0], middle.hi[0], rows.data());
            if (suppresses(survivors_[near[0].second], candidate, bitmap, worker)) return;
            fill_slices(own, bitmap, candidate.box.lo[0], middle.lo[0] - 1, rows.data());
            fill_slices(own, bitmap, middle.hi[0] + 1, candidate.box.hi[0], rows.data());
        } else {
            own.fill(candidate.box, rows.data());
        }
        for (const auto &pair : near)
            if (suppresses(survivors_[pair.second], candidate, bitmap, worker)) return;
        candidate.index = index;
        candidate.rows.reset(new uint64_t[static_cast<size_t>(rows.size())]);
        std::copy(rows.begin(), rows.end(), candidate.rows.get());
        candidate.open = (held_ && held_[index]) || stays_open(candidate, worker);
        fresh = std::move(candidate);
    }

    bool stays_open(const Candidate &candidate, int worker) {
        bool open = false;
        unfinished_.meeting(candidate.box, [&](int64_t, const Box &) { open = true; });
        open_index_.meeting(candidate.box, [&](int64_t i, const Box &) {
            open = open || conflict(open_[i], candidate, worker);
        });
        return open;
    }

    // Some slices in the middle of the common box: most pairs that overlap too much already do so there.
    Box middle_slices(const Box &box, const Box &other) const {
        Box both = box & other;
        const double share = std::min(1.0, 0.15 + 0.7 * threshold_);
        const auto count = static_cast<int32_t>(std::ceil(share * double(box.size(0))));
        const int32_t spare = std::max<int32_t>(0, int32_t(both.size(0)) - count);
        both.lo[0] += spare / 2;
        both.hi[0] -= spare - spare / 2;
        return both;
    }

    static void fill_slices(Rasteriser &rasteriser, const Bitmap &bitmap, int32_t first, int32_t last, uint64_t *rows) {
        if (first > last) return;
        Box crop = bitmap.box;
        crop.lo[0] = first;
        crop.hi[0] = last;
        rasteriser.fill(crop, rows + (first - bitmap.box.lo[0]) * crop.size(1) * Bitmap::words_per_row(crop));
    }

    bool conflict(const Candidate &a, const Candidate &b, int worker) {
        const double limit = threshold_ * std::min(a.volume, b.volume);
        return (a.box & b.box).voxels() > limit && suppresses(a, b, b.bitmap(), worker);
    }

    bool suppresses(const Candidate &survivor, const Candidate &candidate, const Bitmap &bitmap, int worker) {
        const double limit = threshold_ * std::min(survivor.volume, candidate.volume);
        if (survivor.rows) return double(shared_voxels(survivor.bitmap(), bitmap, limit)) > limit;
        auto &rows = other_rows_[worker];
        rows.assign(Bitmap::words(survivor.box), 0);
        others_[worker].set(survivor.shape.data(), survivor.shape.data() + 3);
        others_[worker].fill(survivor.box, rows.data());
        return double(shared_voxels({survivor.box, rows.data()}, bitmap, limit)) > limit;
    }

    static int64_t kept_bytes(const Candidate &candidate) { return candidate.rows ? 8 * Bitmap::words(candidate.box) : 0; }

    void store(Candidate &&candidate, Vector<Candidate> &list, BoxIndex &index) {
        if (kept_bytes(candidate) > cache_bytes_) {
            candidate.rows.reset();
            const float *point = points_ + 3 * candidate.index, *distances = distances_ + rays_.rays() * candidate.index;
            candidate.shape.assign(point, point + 3);
            candidate.shape.append(distances, distances + rays_.rays());
        }
        cache_bytes_ -= kept_bytes(candidate);
        index.insert(list.size(), candidate.box);
        list.push_back(std::move(candidate));
    }

    static constexpr int64_t kSmallestChunk = 128;
    static constexpr uint8_t kStateNotNeeded = 2;  // in held

    const RaySet &rays_;
    const float *points_ = nullptr, *distances_ = nullptr;  // of this round
    const uint8_t *held_ = nullptr;
    double threshold_;
    int threads_;
    int64_t cache_bytes_;  // left
    Vector<uint8_t> states_;
    Vector<int64_t> order_;  // of the candidates that are tested, from the best to the worst
    int64_t decided_ = 0, chunk_ = kSmallestChunk;
    Vector<Candidate> survivors_;  // of all rounds
    BoxIndex survivors_index_;
    Vector<Candidate> open_;  // of this round
    BoxIndex open_index_, unfinished_;
    Vector<Rasteriser> own_, others_;                  // one per worker
    Vector<Vector<uint64_t>> rows_, other_rows_;  // one per worker
};

}  // namespace anystar
