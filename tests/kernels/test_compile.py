"""Every Triton kernel compiles for three generations of GPUs, on a machine without one, and spills no registers."""

import importlib
import os
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

import anystar_torch.kernels.triton

triton = pytest.importorskip("triton")
from triton._C.libtriton import ir  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.compiler.compiler import make_backend  # noqa: E402

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"
)
CAPABILITIES = (80, 90, 100)
SAME_BITS = (
    *("balls.aim", "coordinates.evaluate", "filters.smooth", "hashing.table", "hashing.uniform"),
    *("hashing.uniform_at", "intensities.cut_holes", "intensities.to_unit", "lattice.sample"),
    *("lattice.sample_periodic", "lattice.strongest", "lattice_sum.resampled_sum", "shading.emitting"),
    *("spectrum.cut_spectrum", "star_distances"),
)
"""Kernels whose results, or decisions between objects, are the bits of the CPU."""


def specialisations():
    found = {}
    for module in pkgutil.iter_modules(anystar_torch.kernels.triton.__path__):
        kernels = importlib.import_module(f"anystar_torch.kernels.triton.{module.name}")
        found |= getattr(kernels, "SPECIALISATIONS", {})
    return found


def source_of(specialisation, ones=()):
    """The kernel with its types and constants; arguments in ``ones`` are constants of 1."""
    names = specialisation.kernel.arg_names
    constants = {**specialisation.constants, **dict.fromkeys(ones, 1)}
    return ASTSource(
        fn=specialisation.kernel,
        signature={name: "constexpr" if name in constants else specialisation.types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )


def options_of(specialisation):
    return {"num_warps": specialisation.num_warps, "enable_fp_fusion": False}


def compiled(specialisation, capability):
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source_of(specialisation), target=target, options=options_of(specialisation))


def parse(specialisation, ones):
    """Triton's first pass over a kernel, which checks types and constants."""
    target = GPUTarget("cuda", 90, 32)
    backend = make_backend(target)
    options = backend.parse_options(options_of(specialisation))
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    known = backend.get_codegen_implementation(options), backend.get_module_map()
    source_of(specialisation, ones).make_ir(target, options, *known, context)


def resources(cubin, folder):
    """Registers of a thread, and bytes of its stack: a stack holds what did not fit into registers."""
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    printed = subprocess.run(
        [tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True
    ).stdout
    return int(re.search(r"REG:(\d+)", printed)[1]), int(re.search(r"STACK:(\d+)", printed)[1])


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(specialisations()))
def test_compiles_without_spills(name, tmp_path):
    for capability in CAPABILITIES:
        code = compiled(specialisations()[name], capability)
        assert f".target sm_{capability}" in code.asm["ptx"]
        registers, stack = resources(code.asm["cubin"], tmp_path)
        print(f"{name} sm_{capability}: {registers} registers, {stack} bytes of stack")
        assert registers <= 255
        assert stack == 0


@pytest.mark.long
@pytest.mark.parametrize("name", SAME_BITS)
def test_kernels_with_the_bits_of_the_cpu_round_as_it_does(name):
    """The interpreter rounds every operation to the nearest. A GPU has quotients and roots that are only close."""
    ptx = compiled(specialisations()[name], 90).asm["ptx"]
    close = re.findall(
        r"\b(?:div\.full|div\.approx|rcp\.approx|sqrt\.approx|rsqrt\.approx|ex2|lg2|fma)\S*f32", ptx
    )
    assert not close


@pytest.mark.parametrize("name", sorted(specialisations()))
def test_an_integer_of_one_is_a_constant(name):
    """A launch makes a constant of every integer argument that is 1, and a constant has no ``.to``."""
    specialisation = specialisations()[name]
    integers = [name for name, kind in specialisation.types.items() if kind in ("i32", "i64")]
    for ones in [*([one] for one in integers), integers]:
        parse(specialisation, ones)
