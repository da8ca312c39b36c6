// The Python module. Its kernels are bound in bindings_<group>.cpp, each with one block and a function bind_<kernel>(module).
// The bindings check array types, release the interpreter and call the kernels.
//
// Arrays are C-contiguous on the CPU and are never converted: a wrong dtype, order or number of dimensions is a
// TypeError. std::invalid_argument from a kernel becomes ValueError. Nothing here or below prints.
#include "arrays.hpp"

void bind_effects(nb::module_ &module);
void bind_polyhedra(nb::module_ &module);
void bind_scene(nb::module_ &module);
void bind_targets(nb::module_ &module);

NB_MODULE(_native, module) {
    module.doc() = "Native kernels of anystar_torch; called through anystar_torch.geometry.ops, targets and loss.";
    bind_polyhedra(module);
    bind_targets(module);
    bind_effects(module);
    bind_scene(module);
}
