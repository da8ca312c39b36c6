"""``anystar gallery``: synthetic samples as a picture or as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anystar_torch.generator.synthesizer import Synthesizer

_BATCH = 4  # samples that are made together


def gallery(
    synth: Annotated[str, typer.Option(help="Name of the generator's configuration.")] = "mix",
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 0,
    ids: Annotated[str, typer.Option(help="Numbers of the samples: 0:24 or 3,5,8.")] = "0:24",
    shape: Annotated[
        tuple[int, int, int], typer.Option(metavar="Z Y X", help="Size of a sample in voxels.")
    ] = (
        64,
        64,
        64,
    ),
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Picture to write (.png).")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for images and labels (NIfTI).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    override: Annotated[
        list[str] | None, typer.Option(help="Setting of the generator: key=value. Repeat for several.")
    ] = None,
) -> None:
    """Show synthetic samples that a network is trained on."""
    from anystar_torch import io
    from anystar_torch.configuration.compose import load_synthesizer
    from anystar_torch.evaluation import picture
    from anystar_torch.system.wording import number_of

    numbers = parse_ids(ids)
    target = output or (None if save else Path("gallery.png"))
    if target is not None:
        io.check_target(target, overwrite=True)
    generator = load_synthesizer(synth, shape=shape, seed=seed, overrides=list(override or []))
    pairs = _synthesised(generator, numbers, device)
    if save is not None:
        _save(save, numbers, pairs)
        print(f"{save}: {number_of(len(pairs), 'pair')} of image and labels")
    if target is not None:
        picture.gallery(
            pairs,
            target,
            [
                f"{i}: {number_of(len(set(t.flat) - {0}), 'object')}"
                for i, (_, t) in zip(numbers, pairs, strict=True)
            ],
        )
        print(f"{target}: {number_of(len(pairs), 'sample')} of {synth}, seed {seed}")


def parse_ids(text: str) -> list[int]:
    """The numbers that ``0:24`` or ``3,5,8`` means.

    Args:
        text: numbers from 0 on, with commas between them; the range 0:24 ends before 24.

    Raises:
        ValueError: the text is neither.
    """
    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition(":")
            numbers += range(int(first or 0), int(last)) if last else [int(part)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise ValueError(f"--ids must be a range such as 0:24 or numbers such as 3,5,8, got {text!r}")
    return numbers


def _synthesised(generator: "Synthesizer", numbers: list[int], device: str) -> list[tuple[Any, Any]]:
    """Image and labels of every sample, as arrays."""
    import torch

    from anystar_torch.system.device import resolve
    from anystar_torch.system.progress import bar

    pairs: list[tuple[Any, Any]] = []
    with bar("synthesising") as tick:
        for start in range(0, len(numbers), _BATCH):
            tick(start, len(numbers))
            sample = generator(torch.tensor(numbers[start : start + _BATCH]), device=resolve(device))
            images, labels = sample.image[:, 0].cpu().numpy(), sample.labels[:, 0].cpu().numpy()
            pairs += list(zip(images, labels, strict=True))
    return pairs


def _save(folder: Path, numbers: list[int], pairs: list[tuple[Any, Any]]) -> None:
    """Write every sample as two NIfTI files."""
    from anystar_torch import io

    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, labels) in zip(numbers, pairs, strict=True):
        like = io.SpatialImage(image, (1.0, 1.0, 1.0), "")
        io.write_image(folder / f"{number:06d}_image.nii.gz", image, like)
        io.write(folder / f"{number:06d}_labels.nii.gz", labels, like)
