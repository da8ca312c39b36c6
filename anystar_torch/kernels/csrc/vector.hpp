// A std::vector whose sizes and indices are int64_t, as all sizes and indices of these kernels are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace anystar {

template <class T>
class Vector : private std::vector<T> {
    using Base = std::vector<T>;

public:
    Vector() = default;
    explicit Vector(int64_t count) : Base(static_cast<size_t>(count)) {}
    Vector(int64_t count, const T &value) : Base(static_cast<size_t>(count), value) {}

    using Base::begin, Base::end, Base::data, Base::empty, Base::clear, Base::push_back, Base::emplace_back;

    int64_t size() const { return static_cast<int64_t>(Base::size()); }
    T &operator[](int64_t index) { return Base::operator[](static_cast<size_t>(index)); }
    const T &operator[](int64_t index) const { return Base::operator[](static_cast<size_t>(index)); }

    void reserve(int64_t count) { Base::reserve(static_cast<size_t>(count)); }
    void resize(int64_t count) { Base::resize(static_cast<size_t>(count)); }
    void assign(int64_t count, const T &value) { Base::assign(static_cast<size_t>(count), value); }
    void assign(const T *first, const T *last) { Base::assign(first, last); }
    void append(const T *first, const T *last) { Base::insert(Base::end(), first, last); }
};

}  // namespace anystar
