"""Before, after and the change of every intensity effect, for docs/effects.md.

    python docs/make_effect_pictures.py

writes docs/pictures/effects/NAME.png from one synthetic sample that no effect has touched.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.chain import Chain, Finish
from anystar_torch.generator.effects.attenuation import attenuation
from anystar_torch.generator.effects.bias_field import bias_field
from anystar_torch.generator.effects.blur import gaussian_blur
from anystar_torch.generator.effects.camera import camera
from anystar_torch.generator.effects.dropout import RandomCoarseDropout
from anystar_torch.generator.effects.exposure import exposure
from anystar_torch.generator.effects.gamma import adjust_contrast
from anystar_torch.generator.effects.gibbs import gibbs_ringing
from anystar_torch.generator.effects.histogram import histogram_shift
from anystar_torch.generator.effects.inversion import invert
from anystar_torch.generator.effects.kspace_spike import kspace_spike
from anystar_torch.generator.effects.noise import detector_noise, gaussian_noise, rician_noise
from anystar_torch.generator.effects.out_of_focus import out_of_focus
from anystar_torch.generator.effects.rescale import Rescale, rescale
from anystar_torch.generator.effects.sharpen import sharpen
from anystar_torch.kernels.filters import thick_slices
from anystar_torch.random.source import Source

FOLDER = Path(__file__).resolve().parent / "pictures" / "effects"
SOURCE = Source.of(torch.zeros(1, dtype=torch.int64), seed=0, split="documentation")


def untouched() -> tuple[Tensor, Tensor]:
    """Image and labels of a sample without any intensity effect."""
    off = RandomCoarseDropout(p=0.0, holes=1, size=1)
    finish = Finish(rescale=Rescale(), dropout=off, noise=Chain(effects={}))
    sample = replace(load_synthesizer("rand"), effects=Chain(effects={}), finish=finish)(torch.tensor([23]))
    return sample.image, sample.labels


def one(*values: float) -> Tensor:
    """Parameters of one sample: a number as ``[1]``, several as ``[1, N]``."""
    return torch.tensor([values[0]] if len(values) == 1 else [values])


def field(name: str, image: Tensor) -> Tensor:
    """White noise."""
    return SOURCE.normal(name, *image.shape[1:])


def dropped(image: Tensor, labels: Tensor) -> Tensor:
    """Twenty cubes cut out."""
    return RandomCoarseDropout(p=1.0, holes=20, size=12)(image, labels, SOURCE("dropout"))[0]


EFFECTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bias_field": lambda x, _: bias_field(x, torch.full((1, 20), 0.05), one(1.0, 1.0, 1.0)),
    "attenuation": lambda x, _: attenuation(x, one(0.0, 2.3, 0.0)),
    "out_of_focus": lambda x, _: out_of_focus(x, one(0.5), one(6.0, 12.0, 6.0), taps=12),
    "microscope": lambda x, _: thick_slices(
        camera(
            gaussian_blur(x, one(0.8, 2.0, 0.8), taps=8),
            one(12.0),
            one(1.0),
            one(0.5),
            field("shot", x),
            field("electronic", x),
        ),
        one(1.5, 3.0, 1.5),
        one(0.0, 0.1, 0.2),
    ),
    "inversion": lambda x, _: invert(x),
    "gaussian_noise": lambda x, _: gaussian_noise(x, one(0.1), field("noise", x)),
    "kspace_spike": lambda x, _: kspace_spike(x, torch.tensor([[0, 9, 5]]), one(2.75)),
    "contrast": lambda x, _: adjust_contrast(x, one(2.5), one(0.0)),
    "smoothing": lambda x, _: gaussian_blur(x, one(0.333, 0.333, 0.333), taps=1),
    "rician_noise": lambda x, _: rician_noise(x, one(0.05), field("real", x), field("imaginary", x)),
    "gibbs_ringing": lambda x, _: gibbs_ringing(x, one(0.5), one(1.0, 1.0, 1.0)),
    "sharpening": lambda x, _: sharpen(x, one(1.0, 1.0, 1.0), one(0.75, 0.75, 0.75), one(20.0), taps=4),
    "histogram_shift": lambda x, _: histogram_shift(
        x, one(0.0, 0.2, 0.3, 0.31, 0.33, 0.6, 0.65, 0.7, 0.95, 1.0)
    ),
    "rescale": lambda x, _: rescale(x),
    "exposure": lambda x, _: exposure(x, one(0.1), one(0.1)),
    "dropout": dropped,
    "detector_noise": lambda x, _: detector_noise(x, one(0.0), one(0.1), one(0.0), field("speckle", x)),
}
BEFORE: dict[str, Callable[[Tensor], Tensor]] = {
    "rescale": lambda x: x * 0.3 + 0.2,
    "kspace_spike": lambda x: gaussian_noise(x, one(0.1), field("noise", x)),
}
"""What an effect is shown on, where that is not the untouched sample."""


def draw(before: Tensor, after: Tensor, path: Path) -> None:
    """Middle slices, the later one with its own range where it leaves [0, 1]; then their difference, grey for none."""
    figure = Figure(figsize=(4.08, 1.36), dpi=100)
    FigureCanvasAgg(figure)
    change = (after - before)[0, 0, before.shape[2] // 2]
    panels = [volume[0, 0, volume.shape[2] // 2] for volume in (before, after)] + [change]
    most = float(change.abs().max())
    ranges = [(min(0.0, float(v.min())), max(1.0, float(v.max()))) for v in (before, after)] + [(-most, most)]
    for column, (panel, (low, high)) in enumerate(zip(panels, ranges, strict=True)):
        axes = figure.add_axes(((column + 0.01) / 3, 0.01, 0.98 / 3, 0.98))
        axes.imshow(panel, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
        axes.set_axis_off()
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Make every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    image, labels = untouched()
    for name, effect in EFFECTS.items():
        before = BEFORE.get(name, lambda x: x)(image)
        draw(before, effect(before, labels), FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
