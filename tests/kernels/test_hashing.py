"""Random numbers of the Triton kernels are those of the torch operators."""

import pytest
import torch

from anystar_torch.random import Source

hashing = pytest.importorskip("anystar_torch.kernels.hashing")
pytestmark = pytest.mark.interpreter

IDS = torch.tensor([0, 5, 2**61])


@pytest.fixture
def source():
    return Source.of(IDS, seed=3, split="train")("effect")


@pytest.mark.parametrize("count", [1, 2, 1023, 1025, 3000])
def test_words_and_uniform_numbers_to_the_bit(source, count):
    keys = source._key("field")
    assert torch.equal(hashing.words(keys, count), source.bits("field", count))
    assert torch.equal(hashing.uniform(keys, count, -0.3, 2.0), source.uniform("field", -0.3, 1.7, count))


@pytest.mark.parametrize("count", [1, 2, 1023, 2048, 3001])
def test_normal_numbers_to_rounding(source, count):
    found, wanted = hashing.normal(source._key("field"), count), source.normal("field", count)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_numbers_at_places_to_the_bit(source):
    places = torch.randint(
        -5, 2**31 - 1, (3, 1, 4, 5, 67), dtype=torch.int32, generator=torch.Generator().manual_seed(0)
    )
    found = hashing.uniform_at(source._key("field"), places, 2.0, 3.0)
    assert torch.equal(found, source.uniform_at("field", places, 2.0, 5.0))
