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
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"
)
CAPABILITIES = (80, 90, 100)


def specialisations():
    found = {}
    for module in pkgutil.iter_modules(anystar_torch.kernels.triton.__path__):
        kernels = importlib.import_module(f"anystar_torch.kernels.triton.{module.name}")
        found |= getattr(kernels, "SPECIALISATIONS", {})
    return found


def compiled(specialisation, capability):
    names = specialisation.kernel.arg_names
    source = ASTSource(
        fn=specialisation.kernel,
        signature={name: specialisation.types.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in specialisation.constants.items()},
    )
    options = {"num_warps": specialisation.num_warps, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


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
