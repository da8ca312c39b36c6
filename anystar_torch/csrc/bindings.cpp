// The one place that knows Python: checks array types, releases the interpreter, calls the kernels.
// One block per kernel: a function bind_<kernel>(module), called at the end of this file.
//
// Arrays are C-contiguous on the CPU and are never converted: a wrong dtype, order or number of dimensions is a
// TypeError. std::invalid_argument from a kernel becomes ValueError. Nothing here or below prints.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <thread>

#include "parallel.hpp"

namespace nb = nanobind;

// ---- threads ------------------------------------------------------------------------------------------------------

static void bind_threads(nb::module_ &module) {
    module.def(
        "hardware_threads", [] { return std::max(1u, std::thread::hardware_concurrency()); },
        "Number of threads this machine runs at a time.");
}

// -------------------------------------------------------------------------------------------------------------------

NB_MODULE(_native, module) {
    module.doc() = "Native kernels of anystar_torch; called through anystar_torch.ops and anystar_torch.targets.";
    bind_threads(module);
}
