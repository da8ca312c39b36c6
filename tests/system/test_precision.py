"""What torch says of the processor, compared with what the operating system says."""

from pathlib import Path

import pytest
import torch

from anystar_torch.system.precision import multiplies_bf16

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file(), reason="flags of the processor are read from /proc/cpuinfo")
def test_the_instructions_are_those_of_the_processor():
    flags = set(next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")).split())
    assert multiplies_bf16() is ("amx_tile" in flags)


def test_a_torch_without_the_question_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not multiplies_bf16()
