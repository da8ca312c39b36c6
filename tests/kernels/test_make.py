"""A whole batch, samples and targets: the Triton kernels, on CPU tensors, make what the C++ kernels make."""

import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.kernels.implementations import forced
from anystar_torch.training.data import SynthesisData

pytest.importorskip("triton")
pytestmark = pytest.mark.interpreter

IDS = torch.tensor([1, 2**40])


@pytest.mark.parametrize("name", ["mix", "zero_shot"])
def test_a_batch_of_triton_is_the_batch_of_cpp(name):
    data = SynthesisData(
        synthesizer=load_synthesizer(name, shape=(16, 16, 16), seed=5),
        rays=8,
        anisotropy=(1.0, 1.0, 1.0),
        grid=(2, 2, 2),
        batch_size=2,
        validation_samples=1,
        normalisation="anystar",
    )
    native = data.make(IDS, data.synthesizer)
    with forced("triton"):
        found = data.make(IDS, data.synthesizer)
    assert (native.labels > 0).any()
    # a voxel within rounding of an object's surface may fall to either side
    assert (found.labels != native.labels).float().mean() < 2e-3
    if torch.equal(found.labels, native.labels):
        assert torch.equal(found.distances, native.distances)
        torch.testing.assert_close(found.probability, native.probability, rtol=1e-6, atol=1e-6)
    apart = (found.image - native.image).abs()
    assert apart.quantile(0.99) < 1e-4
    assert apart.mean() < 1e-4
