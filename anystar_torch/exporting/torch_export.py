"""torch.export: a program (.pt2) that torch runs without this package, and the same compiled for this CPU.

``network.pt2`` is portable: ``torch.export.load("network.pt2").module()(image)``. Beside it, where a C++ compiler is
found, ``network.aoti.pt2`` holds machine code made by AOTInductor for the instructions of the machine it was made on:
``torch._inductor.aoti_load_package("network.aoti.pt2")(image)``, from Python or from C++ without Python.
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
"""The extra file of the program that holds the metadata; the compiled one holds it under this name too."""
_TOLERANCE = 1e-5


def write(path: Path, network: StarDist, config: ModelConfig, compiled: bool = True) -> Sequence[Path]:
    """Write ``path`` (.pt2), and with ``compiled`` the compiled program beside it where that is possible.

    Raises:
        ValueError: a class head; a backbone AOTInductor cannot compile (as of torch 2.13).
        ValueError: what was written does not compute what the network computes.
    """
    dense_only("torch", network)
    compiled = compiled and compiler() is not None
    if compiled and not any(isinstance(module, UNet | ResidualUNet) for module in network.modules()):
        raise ValueError(
            "AOTInductor can compile U-Nets alone for any size, and this network is another; "
            "--no-compile writes the portable program"
        )
    module = Dense(network)
    program, about = trace(module, network), json.dumps(metadata(network, config))
    beside = path.with_suffix(".aoti.pt2")
    with atomic_write(path) as temporary:
        with quiet():
            torch.export.save(program, temporary, extra_files={METADATA: about})
            reloaded = torch.export.load(temporary).module()
        _check("torch.export", reloaded, module)
        if compiled:
            with atomic_write(beside) as machine_code:
                _compile(program, machine_code, about)
                _check("AOTInductor", torch._inductor.aoti_load_package(str(machine_code)), module)
            return [path, beside]
    beside.unlink(missing_ok=True)  # an earlier export's: it would be another network than the one beside it
    return [path]


def compiler() -> str | None:
    """The C++ compiler AOTInductor would use, None where there is none."""
    from torch._inductor import config

    names = config.cpp.cxx if isinstance(config.cpp.cxx, (tuple, list)) else (config.cpp.cxx,)
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _compile(program: ExportedProgram, path: Path, about: str) -> None:
    with quiet():
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs={"aot_inductor.metadata": {METADATA: about}}
        )


def _check(form: str, loaded: object, module: Dense) -> None:
    image = example(module.network, (1, 3, 2), batch=1)
    assert callable(loaded)
    with torch.no_grad():
        agree(form, loaded(image), module(image), _TOLERANCE)
