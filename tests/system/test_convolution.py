"""Convolutions of small volumes by oneDNN, against a convolution that sums shifted images."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anystar_torch.system import convolution
from anystar_torch.system.convolution import SmallConvolutions


def summed(image, weight, bias, stride, padding, dilation):
    """The convolution as a sum over the kernel, in float64."""
    image, weight = image.double(), weight.double()
    image = F.pad(image, [side for p in reversed(padding) for side in (p, p)])
    spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    counts = [(n - s - 1) // t + 1 for n, s, t in zip(image.shape[2:], spans, stride, strict=True)]
    total = bias.double()[None, :, None, None, None]
    for place in itertools.product(*map(range, weight.shape[2:])):
        slices = [
            slice(p * d, p * d + (n - 1) * t + 1, t)
            for p, d, n, t in zip(place, dilation, counts, stride, strict=True)
        ]
        part = image[:, :, slices[0], slices[1], slices[2]]
        total = total + torch.einsum("bizyx,oi->bozyx", part, weight[:, :, place[0], place[1], place[2]])
    return total


@pytest.fixture
def taken(monkeypatch):
    """Whether oneDNN computed each of the convolutions."""
    seen, real = [], convolution._by_onednn

    def watched(*args):
        result = real(*args)
        seen.append(result is not None)
        return result

    monkeypatch.setattr(convolution, "_by_onednn", watched)
    return seen


CASES = [
    ({"kernel_size": 3, "padding": "same"}, (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ({"kernel_size": (1, 3, 5), "padding": "same"}, (1, 1, 1), (0, 1, 2), (1, 1, 1)),
    ({"kernel_size": 3, "padding": "same", "dilation": 2}, (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    ({"kernel_size": 2, "stride": 2}, (2, 2, 2), (0, 0, 0), (1, 1, 1)),
    ({"kernel_size": 3, "stride": (1, 2, 2), "padding": 1}, (1, 2, 2), (1, 1, 1), (1, 1, 1)),
    ({"kernel_size": 3, "padding": "valid"}, (1, 1, 1), (0, 0, 0), (1, 1, 1)),
]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
@pytest.mark.parametrize(("settings", "stride", "padding", "dilation"), CASES)
def test_one_volume_is_convolved_by_onednn(taken, settings, stride, padding, dilation):
    torch.manual_seed(0)
    layer, image = nn.Conv3d(3, 5, **settings), torch.randn(1, 3, 6, 9, 8)
    with torch.inference_mode(), SmallConvolutions():
        found = layer(image)
    assert taken == [True]
    expected = summed(image, layer.weight, layer.bias, stride, padding, dilation)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("settings", "batch", "dtype"),
    [
        ({"kernel_size": 1}, 1, torch.float32),
        ({"kernel_size": 3}, 2, torch.float32),
        ({"kernel_size": 3}, 1, torch.float64),
        ({"kernel_size": 2, "padding": "same"}, 1, torch.float32),
    ],
)
def test_others_are_left_to_pytorch(taken, settings, batch, dtype):
    layer, image = nn.Conv3d(2, 3, **settings).to(dtype), torch.randn(batch, 2, 4, 5, 6).to(dtype)
    with torch.inference_mode():
        expected = layer(image)
        with SmallConvolutions():
            assert torch.equal(layer(image), expected)
    assert taken == [False]
