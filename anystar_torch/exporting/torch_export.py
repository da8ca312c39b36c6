"""torch.export: a program (.pt2) that torch runs without this package, and the program compiled for this CPU.

``network.pt2`` is portable: ``torch.export.load("network.pt2").module()(image)``. Where a C++ compiler is found,
AOTInductor also writes ``network.aoti.pt2`` with machine code for the present CPU. It runs from Python with
``torch._inductor.aoti_load_package("network.aoti.pt2")(image)``, and from C++ without Python.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.export import ExportedProgram

from anystar_torch.exporting.dense import Dense, agree, example, quiet, trace
from anystar_torch.exporting.metadata import metadata
from anystar_torch.exporting.requirements import dense_only
from anystar_torch.io.atomic import atomic_write
from anystar_torch.network.residual_unet import ResidualUNet
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNet
from anystar_torch.network.weights import ModelConfig

METADATA = "anystar.json"
"""Name of the extra file with the metadata, in both programs."""
_TOLERANCE = 1e-5
_SMALLEST = (1, 1, 2)  # in divisors: torch's program takes no input of one divisor along all three axes


def write(path: Path, network: StarDist, config: ModelConfig, compiled: bool = True) -> Sequence[Path]:
    """Write the program, and the compiled one where a C++ compiler is found.

    Args:
        path: of the program (.pt2).
        network: to be exported.
        config: stored as metadata.
        compiled: whether to write the compiled program.

    Returns:
        The files that were written.

    Raises:
        ValueError: the network has a class head, AOTInductor cannot compile its backbone (as of torch 2.13), or a
            program computes other values than the network.
    """
    dense_only("torch", network)
    compiled = compiled and compiler() is not None
    if compiled and not any(isinstance(module, UNet | ResidualUNet) for module in network.modules()):
        raise ValueError(
            "for inputs of any size AOTInductor can compile U-Nets only; this network has another backbone: "
            "write the portable program alone with compiled=False"
        )
    module = Dense(network)
    program, content = trace(module, network), json.dumps(metadata(network, config))
    beside = path.with_suffix(".aoti.pt2")
    with atomic_write(path) as temporary:
        with quiet():
            torch.export.save(program, temporary, extra_files={METADATA: content})
            reloaded = torch.export.load(temporary).module()
        _check("torch.export", reloaded, module)
        if compiled:
            with atomic_write(beside) as machine_code:
                _compile(program, machine_code, content)
                _check("AOTInductor", torch._inductor.aoti_load_package(str(machine_code)), module)
            return [path, beside]
    beside.unlink(missing_ok=True)  # an earlier export, which holds another network
    return [path]


def compiler() -> str | None:
    """The C++ compiler that AOTInductor uses; None where there is none."""
    from torch._inductor import config

    names = config.cpp.cxx if isinstance(config.cpp.cxx, (tuple, list)) else (config.cpp.cxx,)
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _compile(program: ExportedProgram, path: Path, content: str) -> None:
    """Compile the program, with its metadata, to a file."""
    with quiet():
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs={"aot_inductor.metadata": {METADATA: content}}
        )


def _check(form: str, loaded: object, module: Dense) -> None:
    """Refuse a program that computes other values than the network."""
    assert callable(loaded)
    for blocks in (_SMALLEST, (1, 3, 2)):
        image = example(module.network, blocks, batch=1)
        with torch.no_grad():
            agree(form, loaded(image), module(image), _TOLERANCE)
