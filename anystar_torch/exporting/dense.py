"""The network as a module with plain tensors as inputs and outputs, and its graph for inputs of any size."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
import torch.fx.experimental._config as symbolic_shapes
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from anystar_torch.network.stardist import StarDist


class Dense(nn.Module):
    """A copy of a network, on the CPU and in evaluation mode, that returns a tuple.

    Args:
        network: it is not changed.
    """

    def __init__(self, network: StarDist) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict probability ``[B, 1, d, h, w]`` and distances ``[B, R, d, h, w]`` of ``[B, C, D, H, W]``."""
        probability, distances = self.network(image)
        return probability, distances


def example(network: StarDist, blocks: Sequence[int] = (2, 2, 3), batch: int = 2) -> Tensor:
    """An input of fixed random numbers for a network.

    Args:
        network: that takes it.
        blocks: sizes (z, y, x) in divisors of the network.
        batch: number of inputs.
    """
    size = [n * d for n, d in zip(blocks, network.divisor, strict=True)]
    generator = torch.Generator().manual_seed(0)
    return torch.rand((batch, network.channels, *size), generator=generator)


def trace(module: nn.Module, network: StarDist) -> ExportedProgram:
    """The graph of a module, for any batch and any sizes that are multiples of the divisor.

    As a program of torch it takes no input of exactly one divisor along all three axes.

    Args:
        module: computes ``network``, on the CPU and in evaluation mode.
        network: defines the inputs.
    """
    divisor = network.divisor
    sizes = [
        step * Dim(axis, min=1) if step > 1 else Dim(axis, min=1)
        for axis, step in zip("zyx", divisor, strict=True)
    ]
    shape = {0: Dim("batch", min=1), 2: sizes[0], 3: sizes[1], 4: sizes[2]}
    image = example(network)
    # Without this switch, which torch.onnx also sets, every axis must have at least two divisors.
    with quiet(), torch.no_grad(), symbolic_shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(module, (image,), dynamic_shapes={"image": shape})


def agree(form: str, outputs: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    """Refuse an export that computes other values than the network.

    Args:
        form: name of the format.
        outputs: of the export.
        expected: outputs of the network for the same input.
        tolerance: largest absolute difference.

    Raises:
        ValueError: the difference is larger, or not a number.
    """
    for ours, theirs in zip(expected, outputs, strict=True):
        worst = float((ours - theirs).abs().max())
        if not worst <= tolerance:  # also true for NaN
            raise ValueError(
                f"the {form} program differs from the network by {worst:.2g}; nothing was written"
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch's exporters print and log within the block. Errors are still raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._inductor")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
