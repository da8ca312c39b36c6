"""Random numbers of the Triton kernels are those of the torch operators."""

import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.kernels import hashing
from anystar_torch.kernels.hashing import name_word
from anystar_torch.kernels.implementations import forced
from anystar_torch.random.source import Source

pytest.importorskip("triton")
pytestmark = pytest.mark.interpreter

IDS = torch.tensor([0, 5, 2**61])
ROOT = hashing.roots(IDS, name_word("3/train"))
WORDS = [name_word("a"), name_word("b"), 0, 1, 16, -1]


def both(function, *arguments):
    with forced("triton"):
        found = function(*arguments)
    with forced("torch"):
        return found, function(*arguments)


def test_roots_to_the_bit():
    for word in WORDS:
        assert torch.equal(*both(hashing.roots, IDS, word))


@pytest.mark.parametrize("shape", [(), (1,), (1023,), (5, 205), (3, 10, 100)])
def test_words_and_uniform_numbers_to_the_bit(shape):
    for word in WORDS[:4]:
        assert torch.equal(*both(hashing.words, ROOT, word, shape))
        assert torch.equal(*both(hashing.uniform, ROOT, word, shape, -0.3, 2.0))


@pytest.mark.parametrize("shape", [(), (2,), (1023,), (2048,), (3, 1000)])
def test_normal_numbers_to_rounding(shape):
    found, wanted = both(hashing.normal, ROOT, WORDS[0], shape)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_numbers_at_places_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(-5, 2**31 - 1, (3, 1, 4, 5, 67), dtype=torch.int32, generator=generator)
    assert torch.equal(*both(hashing.uniform_at, ROOT, WORDS[0], places, 2.0, 3.0))


def test_the_table_of_a_generator_to_the_bit():
    slots = load_synthesizer("mix", shape=(16, 16, 16)).slots
    with forced("triton"):
        found = slots.draw(ROOT)
    with forced("torch"):
        wanted = slots.draw(ROOT)
    assert torch.equal(found.numbers, wanted.numbers)
    source = Source(ROOT)
    for name, (slot, _) in slots.places.items():
        drawn = source.integers if slot.kind == "integers" else source.uniform
        low, high = slot.low, slot.low + slot.width
        bounds = (int(low), int(high)) if slot.kind == "integers" else (low, high)
        if slot.kind == "uniform" and high - low != slot.width:
            continue  # the upper bound cannot be told from low and width to the bit
        values = drawn(name.removeprefix("/"), *bounds, *slot.shape)
        assert torch.equal(wanted.find(name, slot).to(values.dtype), values), name


def test_a_draw_of_no_numbers():
    for shape in ((0,), (2, 0)):
        for draw in (hashing.words, hashing.normal):
            found, wanted = both(draw, ROOT, WORDS[0], shape)
            assert found.shape == wanted.shape == (len(ROOT), *shape)


def test_tables_of_many_samples(monkeypatch):
    """CUDA has at most 65535 programs along the other axes than the first."""
    grids = []

    class Kernel:
        def __getitem__(self, grid):
            grids.append(grid)
            return lambda *arguments, **options: None

    monkeypatch.setattr("anystar_torch.kernels.triton.hashing._table", Kernel())
    slots = load_synthesizer("mix", shape=(16, 16, 16)).slots
    with forced("triton"):
        slots.draw(torch.arange(2**17))
    assert grids[0][0] == 2**17
    assert grids[0][1] * 128 >= sum(slot.size for slot, _ in slots.places.values())
    assert len(grids[0]) == 2
    assert grids[0][1] < 2**16
