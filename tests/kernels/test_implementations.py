"""Which implementation a device gets."""

import importlib.metadata
import importlib.util
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

from anystar_torch.kernels import implementations
from anystar_torch.kernels.implementations import MissingTritonWarning, implementation, widest_float

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def asked_anew():
    implementations._triton_misses.cache_clear()
    yield
    implementations._triton_misses.cache_clear()


def gpu(monkeypatch, capability, *, triton=True, hip=None, compiler="gcc", version="3.9.0"):
    """A machine whose GPU has this compute capability, with a Triton whose package has another name."""

    def no_package(name):
        raise PackageNotFoundError(name)

    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == compiler else None)
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__=version))
    monkeypatch.setattr(importlib.metadata, "version", no_package)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if triton else None)
    monkeypatch.setattr(torch.version, "hip", hip)


@pytest.mark.parametrize("capability", [(7, 0), (8, 6), (9, 0)])
def test_gpus_from_volta_on_run_triton(monkeypatch, recwarn, capability):
    gpu(monkeypatch, capability)
    assert implementation(GPU) == "triton"
    assert not recwarn.list


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ({"capability": (6, 1)}, "6.1"),
        ({"capability": (9, 0), "triton": False}, "pip install"),
        ({"capability": (9, 0), "compiler": None}, "C compiler"),
        ({"capability": (9, 4), "hip": "6.2", "version": "3.6.0"}, "AMD"),
    ],
)
def test_other_gpus_run_torch_and_say_so_once(monkeypatch, recwarn, machine, reason):
    gpu(monkeypatch, **machine)
    assert implementation(GPU) == implementation(GPU) == "torch"
    (warning,) = recwarn.list
    assert warning.category is MissingTritonWarning
    assert reason in str(warning.message)


def test_the_capability_of_amd_gpus_is_not_that_of_nvidia(monkeypatch):
    gpu(monkeypatch, (6, 0), hip="6.2")
    assert implementation(GPU) == "triton"


@pytest.mark.parametrize(("device", "expected"), [("cpu", "native"), ("meta", "triton"), ("mps", "torch")])
def test_other_devices(device, expected):
    assert implementation(torch.device(device)) == expected


def test_mps_has_no_float64():
    assert widest_float(torch.device("mps")) is torch.float32
    assert widest_float(torch.device("cpu")) is torch.float64
