"""``anystar gallery``: a picture of synthetic samples, or the samples themselves."""

from pathlib import Path
from typing import Annotated, Any

import typer

_AT_ONCE = 4  # samples in a batch


def gallery(
    synth: Annotated[str, typer.Option(help="Which generator, by the name of its configuration.")] = "mix",
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 0,
    ids: Annotated[str, typer.Option(help="Which samples: 0:24, or 3,5,8.")] = "0:24",
    shape: Annotated[tuple[int, int, int], typer.Option(metavar="Z Y X", help="Size of a sample.")] = (
        64,
        64,
        64,
    ),
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Picture (.png).")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for NIfTI pairs of image and labels.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    override: Annotated[
        list[str] | None, typer.Option(help="Change the generator: key=value; repeatable.")
    ] = None,
) -> None:
    """Look at what the network is trained on."""
    import torch

    from anystar_torch.configuration.compose import load_synthesizer
    from anystar_torch.evaluation import picture
    from anystar_torch.system.device import resolve
    from anystar_torch.system.progress import bar

    numbers = parse_ids(ids)
    target = output or (None if save else Path("gallery.png"))
    if target is not None and not target.parent.is_dir():
        raise ValueError(f"cannot write {target}: there is no folder {target.parent}")
    generator = load_synthesizer(synth, shape=shape, seed=seed, overrides=list(override or []))
    pairs: list[tuple[Any, Any]] = []
    with bar("synthesising") as tick:
        for start in range(0, len(numbers), _AT_ONCE):
            tick(start, len(numbers))
            sample = generator(torch.tensor(numbers[start : start + _AT_ONCE]), device=resolve(device))
            images, labels = sample.image[:, 0].cpu().numpy(), sample.labels[:, 0].cpu().numpy()
            pairs += list(zip(images, labels, strict=True))
    if save is not None:
        _save(save, numbers, pairs)
        print(f"{save}: {len(pairs)} pairs of image and labels")
    if target is not None:
        picture.gallery(
            pairs,
            target,
            [f"{i}: {len(set(t.flat) - {0})} objects" for i, (_, t) in zip(numbers, pairs, strict=True)],
        )
        print(f"{target}: {len(pairs)} samples of {synth}, seed {seed}")


def parse_ids(text: str) -> list[int]:
    """``0:24`` or ``3,5,8`` as numbers."""
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


def _save(folder: Path, numbers: list[int], pairs: list[tuple[Any, Any]]) -> None:
    from anystar_torch import io

    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, labels) in zip(numbers, pairs, strict=True):
        like = io.Scan(image, (1.0, 1.0, 1.0), "")
        io.write_image(folder / f"{number:06d}_image.nii.gz", image, like)
        io.write(folder / f"{number:06d}_labels.nii.gz", labels, like)
