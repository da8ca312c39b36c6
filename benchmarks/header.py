"""What figures were measured on: date, commit, hardware, versions, weights."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import anystar_torch
from anystar_torch.network.loading import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = "*.safetensors", "*.h5"


@dataclass(frozen=True)
class Header:
    """Date, commit, hardware, versions and weights.

    Attributes:
        command: what was run.
        date: year-month-day.
        commit: of this repository; ends in "+" if files differ from it.
        processor: its name.
        cores: logical cores of the machine.
        threads: of torch.
        load: mean number of running processes in the minute before the start.
        device: name of the GPU, or "CPU".
        versions: package -> version.
        weights: first 12 digits of the SHA-256 of the weights' file; None where no trained network is used.
    """

    command: str
    date: str
    commit: str
    processor: str
    cores: int
    threads: int
    load: float
    device: str
    versions: dict[str, str]
    weights: str | None

    @classmethod
    def now(
        cls, *, weights: Path | str | None = None, packages: tuple[str, ...] = (), gpu: bool = False
    ) -> "Header":
        """The header of this process.

        Args:
            weights: the model's folder.
            packages: others whose versions matter.
            gpu: whether the GPU is what is measured.
        """
        versions = {"anystar_torch": anystar_torch.__version__, "torch": torch.__version__}
        versions |= {name: version_of(name) for name in packages}
        return cls(
            command=command(),
            date=time.strftime("%Y-%m-%d"),
            commit=commit(),
            processor=processor(),
            cores=os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            load=round(os.getloadavg()[0], 1),
            device=torch.cuda.get_device_name() if gpu else "CPU",
            versions={"Python": platform.python_version()} | versions,
            weights=None if weights is None else hash_of_weights(weights),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        device = "" if self.device == "CPU" else f"{self.device}; "
        weights = "" if self.weights is None else f", weights {self.weights}"
        return (
            f"`{self.command}`, {self.date}, commit {self.commit}{weights}; {device}{self.processor}, {self.cores} "
            f"logical cores, {self.threads} threads, load {self.load} at the start; "
            + ", ".join(f"{name} {number}" for name, number in self.versions.items())
        )


def command() -> str:
    """What was typed, as ``python -m benchmarks.NAME ...``."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    name = module.name.removesuffix(".__main__") if module else Path(sys.argv[0]).stem
    return " ".join(["python -m", name, *sys.argv[1:]])


def commit() -> str:
    """This repository's commit, shortened; COMMIT where the files are no repository, or git is not installed."""
    git = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    except FileNotFoundError:
        found = ""
    return found or os.environ.get("COMMIT", "unknown")


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version_of(package: str) -> str:
    """Its version, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def hash_of_weights(model: Path | str | None = None) -> str:
    """First 12 digits of the SHA-256 of a model's weights.

    Args:
        model: a model, run or StarDist folder; None for the shipped weights.
    """
    folder = SHIPPED if model is None else Path(model)
    found = [
        path for place in (folder, folder / "model") for kind in WEIGHTS for path in sorted(place.glob(kind))
    ]
    return hashlib.sha256(found[0].read_bytes()).hexdigest()[:12] if found else "unknown"
