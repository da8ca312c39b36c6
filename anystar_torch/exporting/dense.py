"""The network as other programs see it: tensors in, plain tensors out, sizes left open."""

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
    """``[B, C, D, H, W]`` to probability ``[B, 1, d, h, w]`` and distances ``[B, R, d, h, w]``."""

    def __init__(self, network: StarDist) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The network's prediction as a plain tuple."""
        probability, distances = self.network(image)
        return probability, distances


def example(network: StarDist, blocks: Sequence[int] = (2, 2, 3), batch: int = 2) -> Tensor:
    """Random numbers the network can take, always the same: ``blocks`` times its divisor wide (z, y, x)."""
    size = [n * d for n, d in zip(blocks, network.divisor, strict=True)]
    generator = torch.Generator().manual_seed(0)
    return torch.rand((batch, network.channels, *size), generator=generator)


def trace(module: nn.Module, network: StarDist) -> ExportedProgram:
    """``module``, which computes ``network``, as a graph for any batch and any multiples of the divisor."""
    divisor = network.divisor
    sizes = [
        step * Dim(axis, min=1) if step > 1 else Dim(axis, min=1)
        for axis, step in zip("zyx", divisor, strict=True)
    ]
    shape = {0: Dim("batch", min=1), 2: sizes[0], 3: sizes[1], 4: sizes[2]}
    image = example(network)
    # Without the switch (which torch.onnx sets too) every axis would have to be at least two divisors wide.
    with quiet(), torch.no_grad(), symbolic_shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(module, (image,), dynamic_shapes={"image": shape})


def agree(form: str, outputs: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    """Refuse an export whose outputs are not the network's.

    Raises:
        ValueError: they differ by more than ``tolerance``.
    """
    for ours, theirs in zip(expected, outputs, strict=True):
        worst = float((ours - theirs).abs().max())
        if not worst <= tolerance:  # NaN is not
            raise ValueError(
                f"the {form} program differs from the network by {worst:.2g}; nothing was written"
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters print and log for their own developers off the screen; errors still come."""
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
