"""Speed of exported networks beside the network itself, on one machine, in turn.

    python -m benchmarks.export                                     configs/model/small.yaml, fresh weights
    python -m benchmarks.export --model FOLDER --size 64 --size 128
    python -m benchmarks.export --peer-python PYTHON                StarDist in TensorFlow loads the keras format too

Eager torch, the program compiled by AOTInductor and onnxruntime take turns on the same random volume; times are
medians. ``--peer-python`` names the interpreter of an environment with TensorFlow and StarDist. There the folder that
``anystar export --format keras`` writes is loaded, and its outputs are compared.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from anystar_torch.exporting import export
from anystar_torch.network import loading
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.network.weights import ModelConfig
from benchmarks.header import ROOT
from benchmarks.peers import Peer
from benchmarks.report import Report, begin, parser
from benchmarks.timing import in_turn

Row = dict[str, Any]


def small() -> tuple[StarDist, ModelConfig]:
    """The small network, untrained: speed does not depend on the weights."""
    path = ROOT / "configs" / "model" / "small.yaml"
    numbers: Any = OmegaConf.to_container(OmegaConf.load(path))
    backbone = {name: value for name, value in numbers.pop("backbone").items() if name != "_target_"}
    network = StarDist(
        backbone=UNetBackbone(**backbone), **{n: v for n, v in numbers.items() if n != "_target_"}
    )
    config = ModelConfig(
        architecture=network.architecture,
        normalisation="anystar",
        diameter_band=(6.0, 13.0, 21.0),
        prob_thresh=0.5,
        nms_thresh=0.3,
    )
    return network.eval(), config


def exported(network: StarDist, config: ModelConfig, folder: Path) -> list[Row]:
    """Write the network in two formats; seconds and size of each."""
    rows = []
    for form, path in {"torch": folder / "network.pt2", "onnx": folder / "network.onnx"}.items():
        began = time.perf_counter()
        written = export(form, network, config, path)
        seconds = time.perf_counter() - began
        rows += [
            {"format": form, "file": file.name, "MB": file.stat().st_size / 1e6, "seconds in all": seconds}
            for file in written
        ]
    return rows


def runners(network: StarDist, folder: Path, threads: int) -> dict[str, Callable[[Tensor], Any]]:
    """Name -> what runs the network on an image."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", options, providers=["CPUExecutionProvider"]
    )
    found: dict[str, Callable[[Tensor], Any]] = {
        "eager": network,
        "onnxruntime": lambda image: session.run(None, {"image": image.numpy()}),
    }
    compiled = folder / "network.aoti.pt2"
    if compiled.exists():  # written where there is a C++ compiler
        found["AOTInductor"] = torch._inductor.aoti_load_package(str(compiled))
    return found


def race(rivals: dict[str, Callable[[Tensor], Any]], image: Tensor, repeats: int) -> list[Row]:
    """Seconds of every runner, and how many times faster than eager torch it is."""
    with torch.inference_mode():
        taken = in_turn(
            {name: lambda rival=rival: rival(image) for name, rival in rivals.items()},
            repeats=repeats,
            pause=0.0,
        )
    size = "x".join(map(str, image.shape[2:]))
    return [
        {
            "size": size,
            "runner": name,
            "seconds": str(time_of),
            "faster": f"{taken['eager'].median / time_of.median:.2f} x",
        }
        for name, time_of in taken.items()
    ]


def peer(network: StarDist, config: ModelConfig, folder: Path, python: str) -> list[Row]:
    """Largest difference of the outputs of StarDist in TensorFlow, which loads the folder."""
    image = torch.rand(1, network.channels, *(2 * d for d in network.divisor))
    export("keras", network, config, folder / "model")
    np.save(folder / "image.npy", image.movedim(1, -1).numpy())
    files = {"model": "model", "image": "image.npy", "outputs": "outputs.npz"}
    with Peer(
        "stardist_network", {key: str(folder / name) for key, name in files.items()}, python=python
    ) as stardist:
        stardist.ask()
    outputs = np.load(folder / "outputs.npz")
    with torch.no_grad():
        logits, distances = network.logits(image)
    pairs = zip(("probability", "distances"), outputs.files, (torch.sigmoid(logits), distances), strict=False)
    return [
        {
            "output": name,
            "largest difference in TensorFlow": float(
                np.abs(np.moveaxis(outputs[stored], -1, 1) - ours.numpy()).max()
            ),
        }
        for name, stored, ours in pairs
    ]


def main() -> None:
    options_of = parser(__doc__, repeats=7)
    options_of.add_argument("--model", help="model folder; the small network, untrained, if not given")
    options_of.add_argument("--size", type=int, action="append", help="cube of this many voxels; repeatable")
    options_of.add_argument(
        "--peer-python", help="interpreter of an environment with TensorFlow and StarDist"
    )
    options = options_of.parse_args()
    report: Report = begin(options, weights=options.model, packages=("onnxruntime",))
    network, config = loading.load_model(options.model) if options.model else small()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.peer_python:
            report.table("the keras format in StarDist", peer(network, config, folder, options.peer_python))
        report.table("files", exported(network, config, folder))
        rivals = runners(network, folder, options.threads)
        rows = []
        for size in options.size or [64, 128]:
            rows += race(rivals, torch.rand(1, network.channels, size, size, size), options.repeats)
        report.table("seconds of one volume, median (least to most)", rows)


if __name__ == "__main__":
    main()
