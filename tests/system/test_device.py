"""The device that a name stands for."""

import pytest
import torch

from anystar_torch.system.device import exact_float32, resolve


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


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.filterwarnings("ignore:Please use the new API")  # of torch 2.9
def test_the_precision_of_products_is_that_of_before(precision):
    """Torch refuses to tell it if some settings were changed and others were not."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        with exact_float32(), exact_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
