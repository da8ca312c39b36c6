// Array types of the arguments of all bindings, and their checks.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

namespace nb = nanobind;

template <class T, size_t D>
using Array = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

inline void require(bool condition, const std::string &message) {
    if (!condition) throw std::invalid_argument(message);
}

inline void check_threads(int threads) {
    require(threads >= 1 && threads <= 1024, "threads must lie in 1..1024, got " + std::to_string(threads));
}
