// An index of boxes: finds the stored boxes that meet a given one.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "box.hpp"
#include "vector.hpp"

namespace anystar {

// A hierarchy of sparse grids. A box lies in the grid whose cell size is the smallest power of two that is at least the
// size of the box, in the cell of its lower corner. So one huge box does not slow queries among small ones down.
// Coordinates: |x| < 2^24.
class BoxIndex {
public:
    void insert(int64_t id, const Box &box) {
        const int level = level_of(box);
        if (level >= levels_.size()) levels_.resize(level + 1);
        Level &grid = levels_[level];
        grid.cells[key(box.lo[0] >> level, box.lo[1] >> level, box.lo[2] >> level)].push_back({id, box});
        ++grid.count;
    }

    // Calls found(id, box) for every stored box that shares a voxel with `box`; each once, in no particular order.
    template <class Found>
    void meeting(const Box &box, const Found &found) const {
        auto visit = [&](const Vector<Entry> &entries) {
            for (const Entry &entry : entries)
                if ((entry.box & box).voxels() > 0) found(entry.id, entry.box);
        };
        for (int level = 0; level < levels_.size(); ++level) {
            const Level &grid = levels_[level];
            if (grid.count == 0) continue;
            int64_t first[3], last[3];
            double cells = 1;
            for (int k = 0; k < 3; ++k) {
                first[k] = (int64_t{box.lo[k]} - (int64_t{1} << level) + 1) >> level;
                last[k] = int64_t{box.hi[k]} >> level;
                cells *= double(last[k] - first[k] + 1);
            }
            if (cells > double(grid.cells.size())) {
                for (const auto &cell : grid.cells) visit(cell.second);
                continue;
            }
            for (int64_t z = first[0]; z <= last[0]; ++z)
                for (int64_t y = first[1]; y <= last[1]; ++y)
                    for (int64_t x = first[2]; x <= last[2]; ++x) {
                        const auto cell = grid.cells.find(key(z, y, x));
                        if (cell != grid.cells.end()) visit(cell->second);
                    }
        }
    }

private:
    struct Entry { int64_t id; Box box; };
    struct Hash {
        size_t operator()(uint64_t key) const {
            key = (key ^ (key >> 31)) * 0x7fb5d329728ea185ull;
            key = (key ^ (key >> 27)) * 0x81dadef4bc2dd44dull;
            return static_cast<size_t>(key ^ (key >> 33));
        }
    };
    struct Level {
        std::unordered_map<uint64_t, Vector<Entry>, Hash> cells;
        int64_t count = 0;
    };

    static constexpr int kSmallest = 4;  // cells of 16 voxels: three 21-bit cell coordinates fit a key

    static int level_of(const Box &box) {
        int64_t size = 1;
        for (int k = 0; k < 3; ++k) size = std::max(size, box.size(k));
        int level = kSmallest;
        while ((int64_t{1} << level) < size) ++level;
        return level;
    }

    static uint64_t key(int64_t z, int64_t y, int64_t x) {
        constexpr uint64_t kMask = (uint64_t{1} << 21) - 1;
        return ((uint64_t(z) & kMask) << 42) | ((uint64_t(y) & kMask) << 21) | (uint64_t(x) & kMask);
    }

    Vector<Level> levels_;
};

}  // namespace anystar
