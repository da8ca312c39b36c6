"""The draws are as good as their tests: moments, independence, uniformity, no collisions."""

import math

import pytest
import torch
from scipy import stats

from anystar_torch.random.source import Source

N = 1 << 16
LARGE = (1 << 62) - N


def source(first: int = 0, *, seed: int = 0, split: str = "train", count: int = N) -> Source:
    return Source.of(torch.arange(first, first + count), seed=seed, split=split)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


@pytest.mark.parametrize("first", [0, LARGE])
def test_uniform_has_its_moments_over_ids_and_over_indices(first: int) -> None:
    for draws in (
        source(first)("effect").uniform("x", 2.0, 5.0),
        source(first, count=2).uniform("x", 2.0, 5.0, N),
    ):
        assert draws.min() > 2.0
        assert draws.max() < 5.0
        sigma = 3.0 / math.sqrt(12.0)
        assert abs(draws.mean().item() - 3.5) < 5.0 * sigma / math.sqrt(N)
        assert draws.std().item() == pytest.approx(sigma, rel=0.01)


def test_normal_is_normal() -> None:
    draws = source(count=4).normal("field", 32, 32, 17)
    assert draws.shape == (4, 32, 32, 17)
    assert stats.kstest(draws.double().flatten().numpy(), "norm").pvalue > 1e-3
    assert correlation(draws[:, ::2], draws[:, 1::2]) == pytest.approx(0.0, abs=0.03)  # the two of a pair


@pytest.mark.parametrize("bits", [8, 16])
def test_words_are_uniform_by_chi_square(bits: int) -> None:
    for words in (source().bits("x"), source(count=1).bits("x", N * 16), source(LARGE)("y").bits("x", 3)):
        low = torch.bincount(words.flatten().long() & ((1 << bits) - 1), minlength=1 << bits)
        high = torch.bincount(
            (words.flatten().long() >> (32 - bits)) + (1 << (bits - 1)), minlength=1 << bits
        )
        for counts in (low, high):
            assert 1e-4 < stats.chisquare(counts.numpy()).pvalue < 1.0 - 1e-4


def test_every_bit_is_fair_and_independent_of_the_others() -> None:
    words = source().bits("x")
    bits = ((words[:, None] >> torch.arange(32, dtype=torch.int32)) & 1).double()
    matrix = torch.corrcoef(bits.T) - torch.eye(32)
    assert (bits.mean(0) - 0.5).abs().max() < 5.0 * 0.5 / math.sqrt(N)
    assert matrix.abs().max() < 5.5 / math.sqrt(N)


def test_neighbouring_ids_effects_names_seeds_and_splits_are_uncorrelated() -> None:
    base = source()("a").uniform("x", 0.0, 1.0)
    others = {
        "id": source(1)("a").uniform("x", 0.0, 1.0),
        "effect": source()("b").uniform("x", 0.0, 1.0),
        "name": source()("a").uniform("y", 0.0, 1.0),
        "seed": source(seed=1)("a").uniform("x", 0.0, 1.0),
        "split": source(split="validation")("a").uniform("x", 0.0, 1.0),
        "next index": source()("a").uniform("x", 0.0, 1.0, 2)[:, 1],
    }
    for what, other in others.items():
        assert abs(correlation(base, other)) < 4.5 / math.sqrt(N), what
        assert abs(correlation((base - 0.5) ** 2, (other - 0.5) ** 2)) < 4.5 / math.sqrt(N), what


def test_a_million_ids_have_distinct_keys_and_first_draws() -> None:
    ids = torch.cat(
        [torch.arange(500_000), torch.arange((1 << 62) - 500_000, 1 << 62), torch.tensor([1 << 62])]
    )
    stream = Source.of(ids, seed=0, split="train")("effect")
    assert len(stream.root.unique()) == len(ids)
    pairs = stream.bits("first", 2).long()
    assert len((pairs[:, 0] * (1 << 32) + pairs[:, 1]).unique()) == len(ids)


def test_flipping_a_bit_of_the_id_flips_half_of_the_word() -> None:
    ids = torch.arange(4096) * 0x3779B97F4A7C
    words = Source.of(ids, seed=0, split="train").bits("x").long()
    for bit in (0, 1, 17, 31, 32, 45, 61):
        other = Source.of(ids ^ (1 << bit), seed=0, split="train").bits("x").long()
        changed = sum(((words ^ other) >> k) & 1 for k in range(32)).double()
        assert changed.mean().item() == pytest.approx(16.0, abs=0.25)


def test_draws_depend_on_neither_the_batch_nor_each_other() -> None:
    ids = torch.tensor([5, 0, 1 << 62, 7, 9, 11, 2, 3, 4, 8, 10, 12, 13, 14, 15, 16])
    whole = Source.of(ids, seed=3, split="train")("effect")
    for size in (1, 2, 3):
        part = Source.of(ids[:size], seed=3, split="train")("effect")
        part.uniform("something else", 0.0, 1.0, 5)
        for shape in ((), (3,), (7, 5, 3), (64, 64, 3)):
            assert torch.equal(part.normal("n", *shape), whole.normal("n", *shape)[:size])
            assert torch.equal(
                part.uniform("u", 1.0, 2.0, *shape), whole.uniform("u", 1.0, 2.0, *shape)[:size]
            )


def test_draws_by_index_are_equal_for_equal_indices_only() -> None:
    stream = source(count=2)
    index = torch.tensor([[1, 2, 1, 70000], [1, 2, 3, 4]], dtype=torch.int32)
    draws = stream.uniform_at("mean", index, 25.0, 225.0)
    assert draws[0, 0] == draws[0, 2]
    assert len(draws.unique()) == 7
    assert torch.equal(
        stream.uniform_at("mean", torch.arange(9, dtype=torch.int32).expand(2, 9), 0.0, 1.0),
        stream.uniform("mean", 0.0, 1.0, 9),
    )


def test_coins_are_exact_at_their_ends_and_integers_cover_their_range() -> None:
    assert not source().coin("never", 0.0).any()
    assert source().coin("always", 1.0).all()
    assert source().coin("rarely", 0.1).float().mean().item() == pytest.approx(0.1, abs=0.006)
    counts = torch.bincount(source().integers("die", 1, 7), minlength=7)[1:]
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    with pytest.raises(ValueError, match="1 to 65536"):
        source().integers("none", 3, 3)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_ids_of_every_integer_type_have_the_same_draws(dtype: torch.dtype) -> None:
    ids = torch.tensor([3, 100, 127])
    expected = Source.of(ids, seed=0, split="train").uniform("x", 0.0, 1.0, 7)
    assert torch.equal(Source.of(ids.to(dtype), seed=0, split="train").uniform("x", 0.0, 1.0, 7), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_ids_that_are_no_integers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"ids must be whole numbers .*int64.*, got {dtype}"):
        Source.of(torch.ones(2, dtype=dtype), seed=0, split="train")


@pytest.mark.parametrize("ids", [torch.tensor(3), torch.tensor([[1, 2]])])
def test_ids_of_another_shape_are_refused(ids: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"ids must be \[B\], one number for each sample, got \["):
        Source.of(ids, seed=0, split="train")
