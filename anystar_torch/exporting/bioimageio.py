"""A BioImage.IO package (.zip, model description 0.5) for programs that run models of the BioImage Model Zoo.

It holds the network twice: as a PyTorch state dict with source code, and as ONNX. Both return probability and distances
in one tensor, from which ``stardist_postprocessing`` makes labels. Before the package gets its name, bioimageio.core
must accept it and reproduce its test output with both weights.
"""

import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anystar_torch import __version__
from anystar_torch.exporting import architecture, card, onnx
from anystar_torch.exporting.metadata import metadata
from anystar_torch.exporting.origin import AUTHORS, LICENSE, Origin, origin
from anystar_torch.exporting.requirements import dense_only, listed_license, need
from anystar_torch.exporting.specimen import cover, specimen
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.io.atomic import atomic_write
from anystar_torch.network.normalisation import NORMALISATIONS
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

FORMATS = ("pytorch_state_dict", "onnx")
# Rounding swaps the numbers of objects whose scores are nearly equal. Where there are hundreds of objects, such numbers
# differ by less than one percent; where there are few, numbers must be equal.
_TOLERANCE = {"mismatched_elements_per_million": 1000, "absolute_tolerance": 0, "relative_tolerance": 0.01}
_USE = """```python
from bioimageio.core import load_model_description, predict

labels = predict(model=load_model_description("PACKAGE.zip"), inputs="volume.npy").members["labels"]
```

`stardist_postprocessing` needs the package `stardist`, which computes without TensorFlow."""


def write(
    path: Path,
    network: StarDist,
    config: ModelConfig,
    authors: Sequence[str] = (),
    license_id: str | None = None,
) -> Sequence[Path]:
    """Write the package ``path`` (.zip).

    Args:
        path: the file to write.
        network: the network to export.
        config: its settings.
        authors: names of the authors of the network. Without them they are unknown, except for the shipped one.
        license_id: SPDX identifier of the licence of its weights, likewise. Without them the package has none.

    Raises:
        ValueError: the network has a class head or several input channels, finds nothing in the test volume, or
            bioimageio.core does not accept the package. Or a name has a slash, or bioimage.io has no such licence.
        ImportError: bioimageio.core, onnx, onnxscript, onnxruntime or stardist is missing.
    """
    dense_only("bioimageio", network, channels=1)
    need("bioimageio", "bioimageio.core", "onnx", "onnxscript", "onnxruntime", "stardist")
    known = origin(config, authors, license_id)
    listed_license(known.license_id)
    with (
        _quiet(),
        _restored_ctrl_c(),
        atomic_write(path) as temporary,
        tempfile.TemporaryDirectory() as scratch,
    ):
        description = _described(Path(scratch), network, config, known)
        _pack(description, temporary)
        check(temporary)
    return [path]


def check(package: Path) -> None:
    """Refuse a package that bioimageio.core does not accept.

    Args:
        package: the file.

    Raises:
        ValueError: a test of bioimageio.core failed for one of the weights.
    """
    from bioimageio.core import test_model

    for form in FORMATS:
        summary = test_model(package, weight_format=form, devices=["cpu"] if form != "onnx" else None)
        failed = [detail for detail in summary.details if detail.status != "passed"]
        if summary.status != "passed" or failed:
            said = [error.msg for detail in failed for error in detail.errors if error.msg]
            what = "; ".join([detail.name for detail in failed] + said)
            raise ValueError(f"bioimageio.core does not accept the package: {' '.join(what.split())}")


def _described(folder: Path, network: StarDist, config: ModelConfig, known: Origin) -> Any:
    """The model description with its files in ``folder``, including test output and cover."""
    from bioimageio.spec.model import v0_5

    content, image = metadata(network, config), specimen(network, config)
    stacked = architecture.stacked(network)
    _require_objects(stacked, image, config)
    opset = onnx.save(folder / "weights.onnx", stacked, network, ["stacked"], content)
    torch.save(stacked.state_dict(), folder / "weights.pt")
    (folder / "stardist3d.py").write_text(architecture.source(network), encoding="utf-8")
    (folder / "README.md").write_text(card.readme(network, config, known, _USE), encoding="utf-8")
    np.save(folder / "input.npy", image[None, None])
    entries = _entries(folder, network, config, known, opset)
    output = entries["outputs"][0]
    labels = _labels(v0_5.ModelDescr(**entries), folder / "input.npy")
    np.save(folder / "labels.npy", labels)
    cover(folder / "cover.png", image, labels[0, ..., 0])
    output["test_tensor"] = {"source": folder / "labels.npy"}
    return v0_5.ModelDescr(**entries, covers=[{"source": folder / "cover.png"}])


def _entries(
    folder: Path, network: StarDist, config: ModelConfig, known: Origin, opset: int
) -> dict[str, Any]:
    """The arguments of ``ModelDescr`` except test output and cover. Unknown authors and licences are left out."""
    cite = [{"text": text, "doi": doi} for text, doi in card.CITATIONS]
    trained = {
        "type": "dataset",
        "format_version": "0.3.0",
        "name": "AnyStar synthetic volumes",
        "description": known.training_data,
        "authors": [{"name": AUTHORS}],  # of the generator
        "cite": cite,
        "license": LICENSE,
        "tags": ["synthetic", "3d", "instance-segmentation"],
    }
    return {
        "name": "AnyStar star-convex objects in 3D",
        "description": known.description,
        "version": __version__,
        "authors": [{"name": name} for name in known.authors],
        "cite": cite,
        "license": known.license_id,
        "documentation": {"source": folder / "README.md"},
        "tags": [
            "3d",
            "instance-segmentation",
            "star-convex",
            "stardist",
            "nuclei",
            "pytorch",
            *(["synthetic-data"] if known.synthetic else []),
        ],
        "inputs": [_input(folder, network, config)],
        "outputs": [_output(network, config)],
        "weights": _weights(folder, network, opset),
        **({"training_data": trained} if known.synthetic else {}),
        "config": {
            "bioimageio": {"reproducibility_tolerance": [_TOLERANCE]},
            "anystar_torch": {**metadata(network, config), "rays": network.rays.config},
        },
    }


def _input(folder: Path, network: StarDist, config: ModelConfig) -> dict[str, Any]:
    """The description of the input volume."""
    middle = config.diameter_band[1]
    # bioimageio.core also tests crops of the smallest size, and its post-processing fails where nothing is found. Two
    # diameters hold an object. An object spans fewer voxels along the axes with longer voxels.
    step = np.array(network.rays.anisotropy) / min(network.rays.anisotropy)
    smallest = [int(-(-2 * middle / s // d) * d) for s, d in zip(step, network.divisor, strict=True)]
    each = ["channel", "z", "y", "x"]
    method = NORMALISATIONS[config.normalisation]
    scale = {"axes": each, "min_percentile": 100 * method.low, "max_percentile": 100 * method.high}
    clip = [{"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}}] if method.clip else []
    return {
        "id": "volume",
        "description": f"Volume, resampled so that the median object has a diameter of about {middle:g} voxels.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["intensity"]},
            *(
                {"type": "space", "id": axis, "size": {"min": least, "step": step}}
                for axis, least, step in zip("zyx", smallest, network.divisor, strict=True)
            ),
        ],
        "test_tensor": {"source": folder / "input.npy"},
        "data": {"type": "float32"},
        "preprocessing": [{"id": "scale_range", "kwargs": scale}, *clip],
    }


def _output(network: StarDist, config: ModelConfig) -> dict[str, Any]:
    """The description of the labels and of their post-processing."""
    suppression = {
        "prob_threshold": config.prob_thresh,
        "nms_threshold": config.nms_thresh,
        "n_rays": len(network.rays),
        "grid": network.grid,
        "anisotropy": network.rays.anisotropy,
        "b": 0,  # objects at the border are kept, as in AnyStar.predict
    }
    return {
        "id": "labels",
        "description": "Labels: one number per object, 0 for background.",
        "axes": [
            {"type": "batch"},
            *({"type": "space", "id": i, "size": {"tensor_id": "volume", "axis_id": i}} for i in "zyx"),
            {"type": "channel", "channel_names": ["label"]},
        ],
        "data": {"type": "int32"},
        "postprocessing": [{"id": "stardist_postprocessing", "kwargs": suppression}],
    }


def _weights(folder: Path, network: StarDist, opset: int) -> dict[str, Any]:
    """The description of both weights."""
    return {
        "pytorch_state_dict": {
            "source": folder / "weights.pt",
            "pytorch_version": torch.__version__.split("+")[0],
            "architecture": {
                "source": folder / "stardist3d.py",
                "callable": architecture.NAME,
                "kwargs": architecture.arguments(network),
            },
        },
        "onnx": {
            "source": folder / "weights.onnx",
            "opset_version": opset,
            "parent": "pytorch_state_dict",
        },
    }


def _require_objects(stacked: torch.nn.Module, image: NDArray[np.float32], config: ModelConfig) -> None:
    """Refuse a network that finds nothing in the test volume, because bioimageio.core fails on empty results."""
    normalised = intensity_range(image, config.normalisation).normalise(torch.from_numpy(image))[None, None]
    with torch.no_grad():
        highest = float(stacked(normalised)[..., 0].max())
    if highest <= config.prob_thresh:
        raise ValueError(
            f"bioimageio needs a network that finds objects in its test volume of bright balls "
            f"({config.diameter_band[1]:g} voxels wide); the highest probability is {highest:.2g}, "
            f"the threshold {config.prob_thresh:g}"
        )


def _labels(description: Any, image: Path) -> NDArray[np.int32]:
    """The labels that bioimageio.core finds in the test volume, ``[1, D, H, W, 1]``."""
    from bioimageio.core import predict

    found = predict(model=description, inputs=str(image)).members["labels"]
    assert found is not None
    labels: NDArray[np.int32] = found.to_numpy().astype(np.int32)
    return labels


def _pack(description: Any, path: Path) -> None:
    """Write the package."""
    from bioimageio.spec import save_bioimageio_package

    save_bioimageio_package(description, output_path=path)


@contextmanager
def _restored_ctrl_c() -> Iterator[None]:
    """Restore the handler of Ctrl-C after the block, because StarDist's native suppression replaces it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what bioimageio logs and stardist prints within the block. :func:`check` raises errors."""
    from loguru import logger

    logger.disable("bioimageio")
    sys.stdout.flush()
    screen = os.dup(1)  # stardist prints from C++
    try:
        with open(os.devnull, "wb") as nowhere, warnings.catch_warnings():
            os.dup2(nowhere.fileno(), 1)
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(screen, 1)
        os.close(screen)
        logger.enable("bioimageio")
