"""What torch says of the processor, compared with what the operating system says."""

from pathlib import Path

import pytest
import torch

from anystar_torch.system.precision import multiplies_bf16, trains_in_bf16

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file(), reason="flags of the processor are read from /proc/cpuinfo")
def test_the_instructions_are_those_of_the_processor():
    flags = set(next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")).split())
    assert multiplies_bf16() is ("amx_tile" in flags)
    assert trains_in_bf16() is bool({"amx_tile", "avx512_bf16"} & flags)


@pytest.mark.parametrize(
    ("amx", "avx512", "multiplies", "trains"),
    [(True, True, True, True), (False, True, False, True), (False, False, False, False)],
)
def test_training_needs_less_than_prediction(monkeypatch, amx, avx512, multiplies, trains):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert (multiplies_bf16(), trains_in_bf16()) == (multiplies, trains)


def test_a_torch_without_the_questions_computes_in_float32(monkeypatch):
    for question in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, question, raising=False)
    assert not trains_in_bf16()
