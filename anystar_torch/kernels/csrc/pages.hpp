// Large memory pages for large results, on systems that have them.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace anystar {

// Requests large pages for memory that will be written completely. It is a hint, and no result depends on it.
// The C library takes blocks of 32 MB and more from the system each time. The first write to each page is then one
// interruption, and for star distances all of them cost more than the computation. Smaller blocks are used again.
// Blocks above 256 MB are left alone, because hosts of virtual machines provide them page by page in any case.
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
