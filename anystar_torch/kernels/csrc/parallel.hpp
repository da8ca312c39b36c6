// Loops over independent items on a given number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace anystar {

// Calls body(index, worker) once for every index in [0, count), worker in [0, threads), in blocks of `grain`.
// Which worker gets which index is not determined. Bodies write to separate places, so results do not depend on it.
// The first exception thrown by a body stops the loop and is rethrown here.
template <class Body>
void parallel_for(int64_t count, int threads, int64_t grain, const Body &body) {
    grain = std::max<int64_t>(grain, 1);
    const int64_t blocks = (count + grain - 1) / grain;
    const int workers = static_cast<int>(std::min<int64_t>(std::max(threads, 1), blocks));
    if (workers <= 1) {
        for (int64_t i = 0; i < count; ++i) body(i, 0);
        return;
    }
    std::atomic<int64_t> next{0};
    std::exception_ptr error;
    std::mutex error_mutex;
    auto work = [&](int worker) {
        try {
            for (int64_t block = next++; block < blocks; block = next++) {
                const int64_t end = std::min(count, (block + 1) * grain);
                for (int64_t i = block * grain; i < end; ++i) body(i, worker);
            }
        } catch (...) {
            next = blocks;
            std::lock_guard<std::mutex> lock(error_mutex);
            if (!error) error = std::current_exception();
        }
    };
    std::vector<std::thread> pool;
    pool.reserve(static_cast<size_t>(workers - 1));
    for (int worker = 1; worker < workers; ++worker) {
        try {
            pool.emplace_back(work, worker);
        } catch (const std::exception &) {
            break;  // the system gives no more threads, or no memory for one: the existing ones do all the work
        }
    }
    work(0);
    for (auto &thread : pool) thread.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace anystar
