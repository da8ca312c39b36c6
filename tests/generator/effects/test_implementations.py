"""The native kernels of effects compute what the plain torch operators do, on any number of threads."""

import pytest
import torch

from anystar_torch.kernels.implementations import forced
from tests.generator.effects.cases import CASES, SHAPES, Draws, compare, image_of


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_native_equals_torch(name: str, shape: tuple[int, int, int]) -> None:
    image = image_of(shape)
    with forced("native"):
        found = CASES[name](image, Draws(1))
    with forced("torch"):
        expected = CASES[name](image, Draws(1))
    compare(name, found, expected)


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    image, threads = image_of((24, 31, 40)), torch.get_num_threads()
    expected = CASES[name](image, Draws(2))
    torch.set_num_threads(1)
    try:
        assert torch.equal(CASES[name](image, Draws(2)), expected)
    finally:
        torch.set_num_threads(threads)


NOT_FOURIER = [name for name in CASES if name not in ("kspace_spike", "gibbs_ringing")]


@pytest.mark.parametrize("name", NOT_FOURIER)
def test_inputs_need_not_be_contiguous(name: str) -> None:
    image = image_of((5, 9, 33))
    apart = image.transpose(2, 4).contiguous().transpose(2, 4)
    assert torch.equal(CASES[name](apart, Draws(3)), CASES[name](image, Draws(3)))


@pytest.mark.parametrize("name", NOT_FOURIER)
def test_samples_may_lie_apart(name: str) -> None:
    image = image_of((5, 9, 33))
    apart = torch.stack([image, torch.ones_like(image)], dim=1)[:, 0]
    assert apart[0].is_contiguous()
    assert not apart.is_contiguous()
    assert torch.equal(CASES[name](apart, Draws(3)), CASES[name](image, Draws(3)))
