"""How fast exported networks run beside the network itself, on one machine, one after the other.

    python benchmarks/export.py                                     configs/model/small.yaml, fresh weights
    python benchmarks/export.py --model FOLDER --size 64 --size 128
    python benchmarks/export.py --peer-python PYTHON                StarDist in TensorFlow loads the keras format too

Eager torch, the program compiled by AOTInductor and onnxruntime take turns on the same random volume; times are
medians. ``--peer-python`` names the interpreter of an environment with TensorFlow and StarDist: the folder that
``anystar export --format keras`` writes is loaded there, and its outputs are compared.
"""

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from anystar_torch import __version__
from anystar_torch.exporting import export
from anystar_torch.network import loading
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.network.weights import ModelConfig

PEER = """
import sys
import numpy as np
from pathlib import Path
from stardist.models import StarDist3D
folder, image, output = sys.argv[1:]
model = StarDist3D(None, name=Path(folder).name, basedir=str(Path(folder).parent))
np.savez(output, *model.keras_model.predict(np.load(image)))
"""


def small() -> tuple[StarDist, ModelConfig]:
    """The laptop recipe's network, untrained: speed does not depend on the weights."""
    path = Path(__file__).resolve().parent.parent / "configs" / "model" / "small.yaml"
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


def rivals(network: StarDist, config: ModelConfig, folder: Path, threads: int) -> dict[str, Callable]:
    """Name -> what runs the network on an image; the export and its duration are printed."""
    import onnxruntime

    files = {"torch": folder / "network.pt2", "onnx": folder / "network.onnx"}
    for form, path in files.items():
        start = time.perf_counter()
        written = export(form, network, config, path)
        size = ", ".join(f"{p.name} {p.stat().st_size / 1e6:.1f} MB" for p in written)
        print(f"  exported to {form} in {time.perf_counter() - start:.1f} s: {size}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(files["onnx"], options, providers=["CPUExecutionProvider"])
    found: dict[str, Callable] = {
        "eager": network,
        "onnxruntime": lambda image: session.run(None, {"image": image.numpy()}),
    }
    compiled = folder / "network.aoti.pt2"
    if compiled.exists():
        found["AOTInductor"] = torch._inductor.aoti_load_package(str(compiled))
    else:
        print("  no C++ compiler was found: AOTInductor is left out")
    return found


def race(runners: dict[str, Callable], image: Tensor, repeats: int) -> None:
    """Take turns, and print medians and what they are worth beside eager torch."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    with torch.inference_mode():
        for turn in range(repeats + 1):
            for name, runner in runners.items():
                start = time.perf_counter()
                runner(image)
                if turn:  # the first warms up
                    times[name].append(time.perf_counter() - start)
    eager = statistics.median(times["eager"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        spread = f"({min(seconds):.3f} to {max(seconds):.3f})"
        print(
            f"  {'x'.join(map(str, image.shape[2:])):14s} {name:12s} {middle:7.3f} s {spread} {eager / middle:5.2f} x"
        )


def peer(network: StarDist, config: ModelConfig, folder: Path, python: str) -> None:
    """StarDist in TensorFlow loads the folder; the largest difference of its outputs is printed."""
    image = torch.rand(1, network.channels, *(2 * d for d in network.divisor))
    export("keras", network, config, folder / "model")
    np.save(folder / "image.npy", image.movedim(1, -1).numpy())
    command = [python, "-c", PEER, *(str(folder / name) for name in ("model", "image.npy", "outputs.npz"))]
    subprocess.run(command, check=True, capture_output=True)
    outputs = np.load(folder / "outputs.npz")
    with torch.no_grad():
        logits, distances = network.logits(image)
    for name, stored, ours in zip(
        ("probability", "distances"), outputs.files, (torch.sigmoid(logits), distances), strict=False
    ):
        worst = np.abs(np.moveaxis(outputs[stored], -1, 1) - ours.numpy()).max()
        print(
            f"  StarDist in TensorFlow: {name} differ by at most {worst:.2g} of {float(ours.abs().max()):.3g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder; the small network, untrained, if not given")
    parser.add_argument("--size", type=int, action="append", help="cube of this many voxels; repeatable")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peer-python", help="interpreter of an environment with TensorFlow and StarDist")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    print(f"{platform.processor() or platform.machine()}, {platform.platform()}, {options.threads} threads")
    print(f"torch {torch.__version__}, anystar_torch {__version__} {commit}")
    network, config = loading.load_model(options.model) if options.model else small()
    with tempfile.TemporaryDirectory() as scratch:
        if options.peer_python:
            peer(network, config, Path(scratch), options.peer_python)
        runners = rivals(network, config, Path(scratch), options.threads)
        for size in options.size or [64, 128]:
            race(runners, torch.rand(1, network.channels, size, size, size), options.repeats)


if __name__ == "__main__":
    main()
