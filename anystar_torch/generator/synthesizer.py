"""From sample ids to samples: the order of all steps.

ids -> draws -> coordinates -> label field -> image -> intensity effects -> finished sample. Every step is a function
of (seed, split, id) and of position. No state is kept between calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Shaped
from torch import Tensor

from anystar_torch.arrays import Labels, Sample
from anystar_torch.generator.chain import Chain, Finish
from anystar_torch.generator.scene.scene import Scene
from anystar_torch.generator.spatial.placement import Placement
from anystar_torch.geometry.components import connected_components
from anystar_torch.kernels.filters import smooth_noise
from anystar_torch.random.draws import Draws, Recording, Slots
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class Synthesizer:
    """Makes samples from ids. Sample ``id`` of a seed and split is the same in every batch and on every machine.

    Attributes:
        shape: (D, H, W) of a sample, at least 8 voxels each.
        seed: of everything drawn.
        split: "train", "validation" or any other name; each has samples of its own.
        scene: objects and background.
        placement: position and orientation of a sample in the scene.
        effects: what the instrument does to the image.
        finish: rescaling, holes and detector noise.

    Examples:
        All random parameters of a batch are one object, from which the samples are rendered:

        >>> import torch
        >>> from anystar_torch import load_synthesizer
        >>> synth = load_synthesizer("mix", shape=(32, 32, 32))
        >>> draws = synth.draw(torch.arange(2))
        >>> len(draws.as_dict()["/placement/zoom/factor"])
        2
        >>> torch.equal(synth.render(draws).image, synth(torch.arange(2)).image)
        True
    """

    shape: Sequence[int]
    seed: int
    split: str
    scene: Scene
    placement: Placement
    effects: Chain
    finish: Finish

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        if len(shape) != 3 or not all(isinstance(n, int) and n >= 8 for n in shape):
            raise ValueError(f"shape must be three whole numbers (z, y, x) of at least 8 voxels, got {shape}")
        object.__setattr__(self, "shape", shape)
        self.scene.check_shape(self.placement.scene_shape(shape))
        if self.scene.places_outlines:
            self.effects.check_blur_is_known()

    def on(self, split: str) -> "Synthesizer":
        """The same generator with the samples of another split.

        Args:
            split: "train", "validation" or any other name.
        """
        return replace(self, split=split)

    @torch.no_grad()
    def __call__(self, ids: Shaped[Tensor, " b"], device: torch.device | str | None = None) -> Sample:
        """Samples of some ids.

        Args:
            ids: ``[B]``, whole numbers from 0 to 2^62, of any integer type.
            device: where the samples are made; None for the device of the ids.
        """
        return self.render(self.draw(ids if device is None else ids.to(device)))

    def draw(self, ids: Shaped[Tensor, " b"]) -> Draws:
        """Everything that is drawn for the samples ``ids`` ``[B]``, as one object that can be printed and stored.

        Args:
            ids: ``[B]``, whole numbers from 0 to 2^62. The draws are made on their device.
        """
        return self.slots.draw(Source.of(ids, seed=self.seed, split=self.split).root)

    @torch.no_grad()
    def render(self, draws: Draws | Source) -> Sample:
        """Samples from their draws.

        Args:
            draws: what :meth:`draw` returned, on the device on which the samples are made. A source without a table
                of draws gives the same samples.
        """
        source = draws if isinstance(draws, Source) else Source.of_draws(draws)
        scene_shape = self.placement.scene_shape(self.shape)
        coordinates = self.placement(self.shape, source("placement"))
        drawn = self.scene.draw(source)
        blur = self.effects.blur_width(source("effects")) if self.scene.places_outlines else None
        located = self.scene.locate(coordinates, scene_shape, source)
        emitting = self.scene.emitting(located, blur, drawn)
        labels = connected_components(located.numbers, self.scene.smallest)
        inside = labels > 0
        objects = torch.where(emitting & inside, located.numbers, 0)
        image = self.scene.image(objects, inside, coordinates, scene_shape, drawn, source)
        image = self.effects(image, source("effects"))
        # AnyStar deforms the image last: one more interpolation, and zeros from outside of the recorded box.
        image = smooth_noise(image, coordinates.fraction) * coordinates.cover
        image, cut = self.scene.slab.repeated(image, labels, source("slab"))
        image, cut = self.finish(image, cut, source("finish"))
        return Sample(image, relabelled(labels, cut, self.scene.smallest))

    @cached_property
    def slots(self) -> Slots:
        """Names and ranges of all scalar draws, recorded by one run on ``meta`` tensors."""
        recording = Recording()
        ids = torch.empty(1, dtype=torch.int64, device="meta")
        self.render(Source.of(ids, seed=self.seed, split=self.split).with_draws(recording))
        return Slots(recording.slots)


def relabelled(labels: Labels, cut: Labels, smallest: int) -> Labels:
    """Dense ids of the connected pieces that effects left of the objects, ``[B, 1, D, H, W]``.

    On the CPU only the samples that changed are labelled again: labels of connected pieces are their own result.

    Args:
        labels: ``[B, 1, D, H, W]``, dense ids of connected pieces of at least ``smallest`` voxels.
        cut: ``[B, 1, D, H, W]``, the same after effects removed or repeated parts of the objects.
        smallest: pieces with fewer voxels than this lose their label.
    """
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return connected_components(cut, smallest)
    rows = (cut != labels).flatten(1).any(1).nonzero()[:, 0]
    if len(rows) == 0:
        return labels
    return labels.index_copy(0, rows, connected_components(cut[rows], smallest))
