// Large results in large pages, where the system gives them on request.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace anystar {

// Asks for large pages for memory that is about to be written whole. The C library takes blocks of 32 MB and more from
// the system each time, and writing them for the first time then costs one interruption per page: for star distances
// more than computing them. A hint: nothing depends on it. Smaller blocks, which are used again, are left alone, and so
// are much larger ones: a virtual machine's host gives them page by page all the same, and large pages only add to that.
inline void prefer_large_pages([[maybe_unused]] void *memory, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr int64_t kLeast = int64_t{32} << 20, kMost = int64_t{256} << 20;
    constexpr uintptr_t kLarge = uintptr_t{2} << 20;
    if (bytes < kLeast || bytes > kMost) return;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kLarge - 1) / kLarge * kLarge;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes)) / kLarge * kLarge;
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace anystar
