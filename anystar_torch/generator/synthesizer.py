"""From sample ids to samples: the only file that knows the order of everything.

ids -> draws -> coordinates -> label field -> image -> intensity effects -> finished sample. Every step is a function
of (seed, split, id) and of position; nothing is kept from one call to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from anystar_torch.arrays import Labels, PerSample, Sample, Volume, per_voxel
from anystar_torch.generator.chain import Chain, Finish
from anystar_torch.generator.parameters import Range, check_range, draw
from anystar_torch.generator.scene.chromatin import RandomChromatin
from anystar_torch.generator.scene.density import RandomDensity
from anystar_torch.generator.scene.displaced_background import RandomHollow
from anystar_torch.generator.scene.intensities import Mixture
from anystar_torch.generator.scene.outline import lit, outside
from anystar_torch.generator.scene.shapes import BallField
from anystar_torch.generator.scene.slab import RandomSlab
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.generator.spatial.placement import Placement
from anystar_torch.geometry.components import connected_components
from anystar_torch.kernels.filters import smooth_noise
from anystar_torch.random.draws import Draws, Recording, Slots
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class World:
    """The world a sample is a view of: objects, and what they and their surround look like.

    Attributes:
        objects: the label field.
        density: how much smaller than the label field the objects lie in the world, and their surround.
        mixture: intensities.
        outline: range of how far outside of its edge an object's outline is, in widths of the instrument's blur; 0 in
            AnyStar, 0.67 at a quarter of the height of a flat edge.
        out_of_focus: how much further it is along an axis with more blur than the sharpest, see
            :func:`~anystar_torch.generator.scene.outline.outside`.
        hollow: holes that the objects of some samples make into their ground; none in AnyStar.
        slab: stacks of few slices, in some samples; none in AnyStar.
        chromatin: texture inside the objects of some samples; none in AnyStar.
        smallest: pieces of objects with fewer voxels in the sample are left out of image and labels.
    """

    objects: BallField
    density: RandomDensity
    mixture: Mixture
    outline: Range
    out_of_focus: float
    hollow: RandomHollow
    slab: RandomSlab
    chromatin: RandomChromatin
    smallest: int

    def __post_init__(self) -> None:
        check_range("outline", self.outline, 0.0, 2.0)
        check_range("out_of_focus", (0.0, self.out_of_focus), 0.0, 2.0)
        if self.smallest < 1:
            raise ValueError(f"smallest must be a number of voxels from 1 up, got {self.smallest}")

    def rim(self, source: Source) -> PerSample:
        """The rim of each sample's hollows, ``[B]``, voxels; 0 for none, as where a dark ground would hide them."""
        dark = self.mixture.background.is_plain(source("mixture")("background"))
        return torch.where(dark, 0.0, self.hollow(source("hollow")))


@dataclass(frozen=True, kw_only=True)
class Synthesizer:
    """Makes samples from ids. Sample ``id`` of a seed and split is one thing, in any batch and on any machine.

    Example::

        synth = load_synthesizer("mix", shape=(64, 64, 64), seed=0)
        sample = synth(torch.arange(4))          # image [4, 1, 64, 64, 64] in [0, 1], labels int32

    Attributes:
        shape: (D, H, W) of a sample, at least 8 voxels each.
        seed: of everything drawn.
        split: "train", "validation" or any other name; each has samples of its own.
        world: what there is to see.
        placement: how a sample lies in it.
        effects: what the instrument does to the image.
        finish: rescale, holes and detector noise.
    """

    shape: Sequence[int]
    seed: int
    split: str
    world: World
    placement: Placement
    effects: Chain
    finish: Finish

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        if len(shape) != 3 or not all(isinstance(n, int) and n >= 8 for n in shape):
            raise ValueError(f"shape must be three whole numbers (z, y, x) of at least 8 voxels, got {shape}")
        object.__setattr__(self, "shape", shape)

    def on(self, split: str) -> "Synthesizer":
        """The same generator with the samples of another split."""
        return replace(self, split=split)

    @torch.no_grad()
    def __call__(self, ids: Int64[Tensor, " b"], device: torch.device | str | None = None) -> Sample:
        """Samples of ``ids`` ``[B]``, each from 0 to 2^62, on ``device`` (the ids' own if None)."""
        return self.sample(self.source(ids if device is None else ids.to(device)))

    def source(self, ids: Int64[Tensor, " b"]) -> Source:
        """The streams of ``ids`` ``[B]`` with the table of all their scalar draws."""
        source = Source.of(ids, seed=self.seed, split=self.split)
        return source.with_draws(self.slots.draw(source.root))

    def draws(self, ids: Int64[Tensor, " b"]) -> Draws:
        """Every scalar parameter that was drawn for the samples ``ids`` ``[B]``, by name."""
        draws = self.source(ids).draws
        assert isinstance(draws, Draws)
        return draws

    @cached_property
    def slots(self) -> Slots:
        """Names and ranges of all scalar draws, found by running the generator once on ``meta`` tensors."""
        recording = Recording()
        ids = torch.empty(1, dtype=torch.int64, device="meta")
        with torch.no_grad():
            self.sample(Source.of(ids, seed=self.seed, split=self.split).with_draws(recording))
        return Slots(recording.slots)

    def sample(self, source: Source) -> Sample:
        """Samples from their draws."""
        coordinates = self.placement(self.shape, source("placement"))
        objects, shining = self.objects(coordinates, source)
        labels = connected_components(objects, self.world.smallest)
        image, labels = self.render(objects, shining, labels, coordinates, source)
        # Holes cut objects: what is left of them are objects of their own, numbered from 1.
        return Sample(image, connected_components(labels, self.world.smallest))

    def objects(self, coordinates: Coordinates, source: Source) -> tuple[Labels, Bool[Tensor, "b 1 d h w"]]:
        """A number for each voxel that tells its object from all others of the sample, 0 for none; and what shines."""
        world = self.placement.world(self.shape)
        stretched = self.world.slab.stretched(coordinates, source("slab"))
        placed = self.world.density(stretched, world, source("density"))
        field = self.world.objects(placed.position, world, source("objects"))
        seen = (field.ball > 0) & (coordinates.cover >= 0.5)
        objects = torch.where(seen, placed.piece * field.count + field.ball, 0)
        if self.world.outline[1] == 0.0 and self.world.hollow.p == 0.0:
            return objects, seen
        widths, blur = (
            draw(source("outline"), "widths", self.world.outline),
            self.effects.blur_width(source("effects")),
        )
        offset = outside(widths, blur, self.world.out_of_focus)
        return objects, lit(field.depth, field.reach, offset + self.world.rim(source)[:, None])

    def render(
        self,
        objects: Labels,
        shining: Bool[Tensor, "b 1 d h w"],
        labels: Labels,
        coordinates: Coordinates,
        source: Source,
    ) -> tuple[Volume, Labels]:
        """The finished image of what shines of ``objects``, and ``labels`` with the same holes."""
        world = self.placement.world(self.shape)
        labelled = labels > 0
        shown = torch.where(shining & labelled, objects, 0)
        hollow = labelled & (per_voxel(self.world.rim(source)) > 0.0)
        image = self.world.mixture(shown, hollow, coordinates, world, source("mixture"))
        image = self.world.chromatin(image, shown, coordinates.position, source("chromatin"))
        image = self.effects(image, source("effects"))
        # The original deforms the image last: one more interpolation, and zeros from beyond the faces.
        image = smooth_noise(image, coordinates.fraction) * coordinates.cover
        image, labels = self.world.slab.repeated(image, labels, source("slab"))
        return self.finish(image, labels, source("finish"))
