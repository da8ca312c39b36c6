"""ONNX: for onnxruntime, C++, C#, Java and whatever else reads it. Suppression is not in the file.

Input ``image [batch, C, Z, Y, X]`` float32, normalised; outputs ``probability [batch, 1, z, y, x]`` and
``distances [batch, R, z, y, x]`` on the grid. The metadata of the file holds, as JSON, what post-processing needs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anystar_torch.exporting.dense import Dense, agree, example, quiet, trace
from anystar_torch.exporting.metadata import metadata
from anystar_torch.exporting.requirements import dense_only, need
from anystar_torch.io.atomic import atomic_write
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

NAMES = ("probability", "distances")
_TOLERANCE = 1e-4
_LARGEST = 1_900_000_000  # bytes; a protobuf file ends at 2 GiB


def write(path: Path, network: StarDist, config: ModelConfig) -> Sequence[Path]:
    """Write ``path`` (.onnx).

    Raises:
        ValueError: a class head, or weights beyond what one file can hold.
        ImportError: onnx, onnxscript or onnxruntime is missing.
        ValueError: onnxruntime does not compute what torch computes.
    """
    dense_only("onnx", network)
    with atomic_write(path) as temporary:
        save(temporary, Dense(network), network, NAMES, metadata(network, config))
    return [path]


def save(
    path: Path, module: nn.Module, network: StarDist, names: Sequence[str], about: dict[str, Any]
) -> int:
    """Write a module that computes ``network`` as ONNX, compare both, and return the opset version.

    Args:
        path: the file.
        module: on the CPU, in evaluation mode.
        network: whose inputs it takes.
        names: of its outputs.
        about: metadata; values become JSON.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")
    weight = sum(p.numel() * p.element_size() for p in module.parameters())
    if weight > _LARGEST:
        raise ValueError(
            f"onnx can carry 2 GB in one file, and this network has {weight / 1e9:.1f} GB of weights"
        )
    with quiet():
        program = torch.onnx.export(
            trace(module, network),
            input_names=["image"],
            output_names=list(names),
            dynamo=True,
            external_data=False,
        )
    assert program is not None
    program.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    program.model.producer_name, program.model.producer_version = "anystar_torch", about["anystar_torch"]
    program.save(path, external_data=False)
    image = example(network, (1, 3, 2), batch=1)
    with torch.no_grad():
        expected = module(image)
    agree("onnx", run(path, image), expected if isinstance(expected, tuple) else (expected,), _TOLERANCE)
    return int(program.model.opset_imports[""])


def run(path: Path, image: Tensor) -> list[Tensor]:
    """What onnxruntime computes from ``image`` on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(output) for output in session.run(None, {"image": image.numpy()})]
