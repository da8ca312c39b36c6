"""The stages of a sample, for docs/generator.md.

    python docs/make_generator_pictures.py

writes docs/pictures/generator/*.png: the label field, densities, the map, textures, backgrounds, and finished samples.
"""

import sys
from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from anystar_torch.arrays import Sample
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.density import shrink
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.random.source import Source
from anystar_torch.system.wording import number_of

FOLDER = Path(__file__).resolve().parent / "pictures" / "generator"
SCENE = (128, 128, 128)
SYNTH = load_synthesizer("mix")
SOURCE = Source.of(torch.tensor([4]), seed=0, split="documentation")


def plane(z: float = 0.0) -> Coordinates:
    """One plane of the scene, one voxel per pixel."""
    grid = Coordinates.of_grid((1, 128, 128), torch.full((1, 3), 128.0))
    return grid.then(Step(identity(grid.size), after=torch.tensor([[z, 0.0, 0.0]])))


def colours(labels: Tensor) -> Tensor:
    """A colour for each number, black for 0."""
    palette = torch.tensor(colormaps["tab20"](torch.arange(20).numpy()))[:, :3]
    return torch.where(labels[..., None] > 0, palette[(labels.long() * 7) % 20], 0.0)


def save(
    name: str, panels: dict[str, Tensor], columns: int, width: float = 2.2, low: float | None = None
) -> None:
    """Panels with titles, grey from ``low`` on if two-dimensional; written as ``name``.png."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(width * columns, (width + 0.2) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis in axes:
        axis.axis("off")
    for axis, (title, panel) in zip(figure.axes, panels.items(), strict=False):
        axis.imshow(panel.numpy(), cmap="gray", interpolation="nearest", vmin=low)
        axis.set_title(title, fontsize=8)
    FigureCanvasAgg(figure).print_png(FOLDER / f"{name}.png", metadata={"Software": None})


def field_of(name: str, coordinates: Coordinates, source: Source = SOURCE) -> Tensor:
    """The label field of a generator, coloured."""
    objects = load_synthesizer(name).scene.objects(coordinates.position, SCENE, source).ball
    return colours(objects[0, 0, 0])


def label_fields() -> None:
    """Objects, and the same scene at other densities."""
    panels = {"rough balls (AnyStar)": field_of("mix", plane(-14.0))}
    panels["smooth stars (option)"] = field_of("zero_shot", plane(-14.0))
    for factors, mirrored in (((1.0, 1.5, 2.5), False), ((1.0, 1.5, 2.5), True)):
        squeezed = shrink(plane(-14.0), torch.tensor([factors]), torch.tensor([mirrored]), SCENE)
        title = f"shrunk by 1.5 and 2.5, {'mirrored' if mirrored else 'constant'}"
        field = SYNTH.scene.objects(squeezed.position, SCENE, SOURCE)
        objects, count = field.ball, field.count
        number = torch.where(objects > 0, squeezed.piece * count + objects, 0)
        panels[title] = colours(number[0, 0, 0])
    save("objects", panels, 4)


def placements() -> None:
    """Positions of four samples in the scene: a grid in coordinates of the scene."""
    panels = {}
    for number in range(4):
        source = Source.of(torch.tensor([number]), seed=3, split="train")("placement")
        seen = SYNTH.placement((64, 64, 64), source)
        lines = ((seen.position + 63.5) % 16.0 < 1.5).any(1)[0, 32].float()
        panels[f"sample {number}"] = lines * 0.8 * seen.cover[0, 0, 32] + 0.2 * seen.cover[0, 0, 32]
    save("placements", panels, 4, low=0.0)


def intensities() -> None:
    """Texture, and one scene with each kind of background."""
    mixture = SYNTH.scene.mixture
    panels = {"texture": mixture.texture(SCENE, SOURCE("texture"))[0, 0, 24]}
    seen = plane(-14.0)
    objects = SYNTH.scene.objects(seen.position, SCENE, SOURCE).ball
    for name in ("plain", "rand", "perlin"):
        painter, source = load_synthesizer(name).scene.mixture, SOURCE("mixture")
        painted = painter(objects, objects < 0, seen, SCENE, painter.draw(source), source)
        panels[f"{name} background"] = painted[0, 0, 0]
    save("intensities", panels, 4)


def finished() -> None:
    """Middle slices of finished samples."""
    for name in ("mix", "zero_shot"):
        sample: Sample = load_synthesizer(name, seed=3)(torch.arange(12))
        pairs = enumerate(zip(sample.image[:, 0, 32], sample.labels[:, 0, 32], strict=True))
        panels = {
            f"id {number}: {number_of(len(labels.unique()) - 1, 'object')}": image
            for number, (image, labels) in pairs
        }
        save(name, panels, 6, width=1.5)


ARRANGED = [
    "scene.objects.arrangement.p=1",
    "scene.objects.mean_radius=[6.5,7.0]",
    "placement.zoom.factor=[0.6,0.8]",
]
KINDS: dict[str, list[str]] = {
    "elongated": ["scene.density.stretch.p=1", "scene.density.stretch.aspect=[2.0,3.0]"],
    "flat": ["scene.density.stretch.p=1", "scene.density.stretch.aspect=[0.4,0.5]"],
    "sheets": [*ARRANGED, "scene.objects.arrangement.chains=0"],
    "chains": [*ARRANGED, "scene.objects.arrangement.chains=1"],
    "slab": ["scene.slab.p=1"],
    "chromatin": ["scene.chromatin.p=1", "scene.chromatin.grain=[0.4,0.5]"],
    "attenuation": ["effects.effects.attenuation.p=1", "effects.effects.attenuation.loss=[1.8,2.3]"],
    "displaced background": ["scene.displaced_background.p=1", "scene.displaced_background.rim=[2.0,2.5]"],
}
"""What a part of the samples of zero_shot have: title, and overrides that put it on all of them."""
WITHOUT = (
    "inversion",
    "contrast",
    "gaussian_noise",
    "rician_noise",
    "kspace_spike",
    "sharpening",
    "out_of_focus",
)
"""Effects that would hide the property."""
CANDIDATES = 24
"""Samples from which those with the most objects are shown."""


def kinds() -> None:
    """Three samples of each kind, those with the largest volume of objects: a slice, or objects seen along z."""
    rows = {}
    for title, overrides in KINDS.items():
        kind = "rand" if title == "displaced background" else "plain"
        chances = [f"scene.mixture.background.{k}={int(k == kind)}" for k in ("plain", "rand", "perlin")]
        others = [
            *chances,
            "effects.effects.microscope.camera.p=0",
            "finish.noise.effects.detector_noise.p=0",
        ]
        others += [f"effects.effects.{effect}.p=0" for effect in WITHOUT]
        sample = load_synthesizer("zero_shot", overrides=[*others, *overrides])(torch.arange(CANDIDATES))
        most = (sample.labels > 0).flatten(1).sum(1).argsort(descending=True)[:3]
        for number, index in enumerate(most.tolist(), 1):
            image, labels = sample.image[index, 0], sample.labels[index, 0]
            panel = {"sheets": colours(labels[32]), "chains": colours(labels.amax(0)), "slab": image[:, 32]}
            rows[f"{title} {number}"] = panel.get(title, image[32])
    save("parts_of_zero_shot", rows, 6, width=1.6)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    label_fields()
    placements()
    intensities()
    finished()
    kinds()
