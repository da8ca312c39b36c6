"""``anystar gallery``: synthetic samples as a picture or as files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anystar_torch.generator.synthesizer import Synthesizer

_BATCH = 4  # samples that are made together
_LARGEST = 2**62  # number of a sample
_MOST, _MOST_SHOWN = 1_000_000, 1000  # samples of one command, and of one picture
Pair = tuple[Any, Any]  # image and labels of a sample, as arrays


def gallery(  # noqa: PLR0913 - one argument per option
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Show synthetic samples that a network is trained on."""
    from anystar_torch.configuration.compose import load_synthesizer
    from anystar_torch.evaluation import picture
    from anystar_torch.system.wording import number_of

    numbers = parse_ids(ids)
    target = output or (None if save else Path("gallery.png"))
    if target is not None:
        _check_picture(target, len(numbers), overwrite)
    generator = load_synthesizer(synth, shape=shape, seed=seed, overrides=list(override or []))
    if save is not None:
        _check_folder(save, numbers, overwrite)
    shown: list[Pair] = []
    for number, pair in _synthesised(generator, numbers, device):
        if save is not None:
            _save(save, number, pair)
        if target is not None:
            shown.append(pair)
    if save is not None:
        print(f"{save}: {number_of(len(numbers), 'pair')} of image and labels")
    if target is not None:
        counts = [number_of(len(set(labels.flat) - {0}), "object") for _, labels in shown]
        titles = [f"{number}: {count}" for number, count in zip(numbers, counts, strict=True)]
        picture.gallery(shown, target, titles)
        print(f"{target}: {number_of(len(shown), 'sample')} of {synth}, seed {seed}")


def parse_ids(text: str) -> list[int]:
    """The numbers that ``0:24`` or ``3,5,8`` means.

    Args:
        text: numbers from 0 on, with commas between them; the range 0:24 ends before 24.

    Raises:
        ValueError: the text is neither.
    """
    try:
        parts = [part.partition(":") for part in text.split(",")]
        ranges = [
            range(int(first or 0), int(last)) if colon else range(int(first), int(first) + 1)
            for first, colon, last in parts
        ]
    except ValueError:
        ranges = []
    ranges = [one for one in ranges if one.start < one.stop]
    if not ranges or min(one.start for one in ranges) < 0:
        raise ValueError(f"--ids must be a range such as 0:24 or numbers such as 3,5,8, got {text!r}")
    if max(one.stop - 1 for one in ranges) > _LARGEST:
        raise ValueError(f"--ids must be at most 2^62 = {_LARGEST}, got {text!r}")
    count = sum(one.stop - one.start for one in ranges)
    if count > _MOST:
        raise ValueError(f"--ids may name at most {_MOST} samples, got {count} in {text!r}")
    return [number for one in ranges for number in one]


def _check_picture(path: Path, samples: int, overwrite: bool) -> None:
    """Refuse, before the work, a picture that could not or must not be written.

    Raises:
        ValueError: its format is unknown, it exists, nothing can be written there, or it would show too many samples.
    """
    from anystar_torch import io
    from anystar_torch.evaluation import picture

    picture.check_ending(path)
    io.check_target(path, overwrite)
    io.check_folder(path, lambda folder: False)
    if samples > _MOST_SHOWN:
        raise ValueError(
            f"a picture shows at most {_MOST_SHOWN} samples, got {samples}; write them as files with --save alone"
        )


def _check_folder(folder: Path, numbers: list[int], overwrite: bool) -> None:
    """Make the folder of the samples, and refuse, before the work, to replace samples in it.

    Raises:
        ValueError: a sample exists, or nothing can be written into the folder.
    """
    from anystar_torch import io

    folder.mkdir(parents=True, exist_ok=True)
    files = [file for number in numbers for file in _files(folder, number)]
    io.check_target(next((file for file in files if file.exists()), files[0]), overwrite)


def _synthesised(generator: "Synthesizer", numbers: list[int], device: str) -> Iterator[tuple[int, Pair]]:
    """Number, image and labels of every sample."""
    import torch

    from anystar_torch.system.device import resolve
    from anystar_torch.system.progress import bar

    with bar("synthesising") as tick:
        for start in range(0, len(numbers), _BATCH):
            tick(start, len(numbers))
            batch = numbers[start : start + _BATCH]
            sample = generator(torch.tensor(batch), device=resolve(device))
            images, labels = sample.image[:, 0].cpu().numpy(), sample.labels[:, 0].cpu().numpy()
            yield from zip(batch, zip(images, labels, strict=True), strict=True)


def _save(folder: Path, number: int, pair: Pair) -> None:
    """Write a sample as two NIfTI files."""
    from anystar_torch import io

    image, labels = pair
    like = io.SpatialImage(image, (1.0, 1.0, 1.0), "")
    image_file, label_file = _files(folder, number)
    io.write_image(image_file, image, like)
    io.write(label_file, labels, like)


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    """The files of the image and of the labels of a sample."""
    return folder / f"{number:06d}_image.nii.gz", folder / f"{number:06d}_labels.nii.gz"
