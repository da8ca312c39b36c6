"""The device that a name stands for."""

import pytest
import torch

from anystar_torch.system.device import resolve


@pytest.mark.parametrize(
    ("version", "expected"), [("2.8.0", "cpu"), ("2.10.1", "mps"), ("2.13.0+cpu", "mps"), ("3.0.0a0", "mps")]
)
def test_macs_compute_on_mps_if_torch_has_its_operators(monkeypatch, version, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "__version__", version)
    assert resolve("auto").type == expected


def test_mps_with_an_old_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.1")
    with pytest.raises(ValueError, match=r"'mps' needs torch 2.9 or later, this is 2.7.1"):
        resolve("mps")
