// Eight int32 at a time. Compilers do not reliably turn loops over eight numbers into vector instructions. GCC and Clang
// have a vector type of 16 bytes, which every 64-bit machine has. Other compilers get loops.
#pragma once

#include <cstdint>
#include <cstring>

namespace anystar {

constexpr int kLanes = 8;

#if defined(__GNUC__) || defined(__clang__)

class Lanes {
public:
    Lanes() = default;
    explicit Lanes(const int32_t *from) {
        std::memcpy(&low_, from, sizeof low_);
        std::memcpy(&high_, from + 4, sizeof high_);
    }
    void store(int32_t *to) const {
        std::memcpy(to, &low_, sizeof low_);
        std::memcpy(to + 4, &high_, sizeof high_);
    }
    // All bits of a lane are set where its number is above 0, or equal to the other's; else none.
    void positive() { low_ = low_ > 0, high_ = high_ > 0; }
    void and_equal(const Lanes &a, const Lanes &b) { low_ &= a.low_ == b.low_, high_ &= a.high_ == b.high_; }
    bool any() const {
        const Words words = reinterpret_cast<Words>(low_ | high_);
        return (words[0] | words[1]) != 0;
    }
    // Adds one where a lane of the mask is set.
    void count(const Lanes &mask) { low_ -= mask.low_, high_ -= mask.high_; }

private:
    typedef int32_t Numbers __attribute__((vector_size(16)));
    typedef int64_t Words __attribute__((vector_size(16)));
    Numbers low_{}, high_{};
};

#else

class Lanes {
public:
    Lanes() = default;
    explicit Lanes(const int32_t *from) { std::memcpy(lane_, from, sizeof lane_); }
    void store(int32_t *to) const { std::memcpy(to, lane_, sizeof lane_); }
    void positive() {
        for (int32_t &number : lane_) number = -static_cast<int32_t>(number > 0);
    }
    void and_equal(const Lanes &a, const Lanes &b) {
        for (int i = 0; i < kLanes; ++i) lane_[i] &= -static_cast<int32_t>(a.lane_[i] == b.lane_[i]);
    }
    bool any() const {
        int32_t bits = 0;
        for (int32_t number : lane_) bits |= number;
        return bits != 0;
    }
    void count(const Lanes &mask) {
        for (int i = 0; i < kLanes; ++i) lane_[i] -= mask.lane_[i];
    }

private:
    int32_t lane_[kLanes] = {};
};

#endif

}  // namespace anystar
