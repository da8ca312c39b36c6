"""ONNX, for onnxruntime in Python, C++, C# or Java. The file does not contain the suppression.

The input is ``image [batch, C, Z, Y, X]``, normalised. The outputs are ``probability [batch, 1, z, y, x]`` and
``distances [batch, R, z, y, x]`` on the grid. The metadata of the file hold what post-processing needs, as JSON.
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
_LARGEST = 1_900_000_000  # bytes; a protobuf file has at most 2 GiB


def write(path: Path, network: StarDist, config: ModelConfig) -> Sequence[Path]:
    """Write ``path`` (.onnx).

    Args:
        path: the file to write.
        network: the network to export.
        config: its settings.

    Raises:
        ValueError: the network has a class head or too many weights for one file, or onnxruntime computes other values
            than torch.
        ImportError: onnx, onnxscript or onnxruntime is missing.
    """
    dense_only("onnx", network)
    with atomic_write(path) as temporary:
        save(temporary, Dense(network), network, NAMES, metadata(network, config))
    return [path]


def save(
    path: Path, module: nn.Module, network: StarDist, names: Sequence[str], content: dict[str, Any]
) -> int:
    """Write a module as ONNX and compare it with onnxruntime.

    Args:
        path: the file.
        module: computes ``network``, on the CPU and in evaluation mode.
        network: whose inputs the module takes.
        names: of the outputs.
        content: metadata, stored as JSON.

    Returns:
        The version of the ONNX operators.

    Raises:
        ValueError: the network has too many weights, or onnxruntime computes other values than torch.
        ImportError: a library is missing.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")
    weight = sum(p.numel() * p.element_size() for p in module.parameters())
    if weight > _LARGEST:
        raise ValueError(
            f"onnx can express 2 GB of weights in one file; this network has {weight / 1e9:.1f} GB"
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
    program.model.metadata_props.update({name: json.dumps(value) for name, value in content.items()})
    program.model.producer_name, program.model.producer_version = "anystar_torch", content["anystar_torch"]
    program.save(path, external_data=False)
    for blocks in ((1, 1, 1), (1, 3, 2)):
        image = example(network, blocks, batch=1)
        with torch.no_grad():
            expected = module(image)
        agree("onnx", run(path, image), expected if isinstance(expected, tuple) else (expected,), _TOLERANCE)
    return int(program.model.opset_imports[""])


def run(path: Path, image: Tensor) -> list[Tensor]:
    """The outputs of an ONNX file on the CPU.

    Args:
        path: the file.
        image: ``[B, C, D, H, W]``, normalised.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(output) for output in session.run(None, {"image": image.numpy()})]
