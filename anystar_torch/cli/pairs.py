"""Pairs of true and predicted labels for ``anystar evaluate``, and how their files are read."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anystar_torch.cli.paths import is_candidates, is_labels, stem, volumes_in, without_parts
from anystar_torch.system.wording import number_of

if TYPE_CHECKING:
    from anystar_torch.io import Location


class Reading(NamedTuple):
    """How a file is read, as for ``anystar predict``.

    Attributes:
        axes: letters of the dimensions; None for those of the file.
        scene: name or number; None where there is one.
        channel: index; None where there is one.
        frame: index of the time point; None for all.
    """

    axes: str | None = None
    scene: str | None = None
    channel: int | None = None
    frame: int | None = None


class Pair(NamedTuple):
    """Label volumes to compare.

    Attributes:
        name: of the row in the table of scores.
        truth: file, folder or URL of the true labels.
        prediction: file, folder or URL of the predicted labels.
        readings: how the two are read.
    """

    name: str
    truth: "Location"
    prediction: "Location"
    readings: tuple[Reading, Reading] = (Reading(), Reading())


def by_frame(pairs: list[Pair]) -> list[Pair]:
    """One pair per time point; a pair as it is where a time point of both files is chosen.

    Args:
        pairs: of files.

    Raises:
        ValueError: truth and prediction have different numbers of time points.
    """
    from anystar_torch import io

    single = []
    for pair in pairs:
        files = zip((pair.truth, pair.prediction), pair.readings, strict=True)
        counts = [
            1 if reading.frame is not None else io.frames(path, reading.axes, reading.scene)
            for path, reading in files
        ]
        if counts[0] != counts[1]:
            raise ValueError(
                f"{pair.truth} has {number_of(counts[0], 'time point')} and {pair.prediction} has {counts[1]}; "
                "both must have the same number, or choose one of each with frame="
            )
        frames = range(counts[0]) if counts[0] > 1 else ()
        single += [_at(pair, frame) for frame in frames] or [pair]
    return single


def _at(pair: Pair, frame: int) -> Pair:
    """The pair of one time point."""
    true, predicted = (reading._replace(frame=frame) for reading in pair.readings)
    return pair._replace(name=f"{pair.name} frame {frame}", readings=(true, predicted))


def matched(truth: "Location", prediction: "Location") -> list[Pair]:
    """Two volumes as one pair, or a pair for every file of the folder of true labels.

    ``nuclei.labels.tif`` is the prediction for ``nuclei.tif``, in any format, also where a folder holds both.
    Volumes may be inner folders, such as folders of 2D images. Volumes in other inner folders are named
    ``folder/nuclei``.

    Args:
        truth: file or folder of true labels, or the URL of a Zarr.
        prediction: file or folder of predicted labels, or the URL of a Zarr.

    Raises:
        ValueError: a file or folder is missing, or a prediction is.
    """
    from anystar_torch import io

    alone = [io.is_url(place) or _is_one_volume(Path(place)) for place in (truth, prediction)]
    if alone[0] != alone[1]:
        raise ValueError(f"give two volumes or two folders, got {truth} and {prediction}")
    if alone[0]:
        return [Pair(Path(prediction).name, truth, prediction)]
    true, predicted = _named(Path(truth)), _named(Path(prediction))
    if not true:
        raise ValueError(f"{truth} holds no label volume; known endings: {', '.join(io.KINDS)}")
    missing = [str(path.relative_to(truth)) for name, path in true.items() if name not in predicted]
    if missing:
        raise ValueError(f"{prediction} has no labels for {', '.join(missing)}")
    return [Pair(name, path, predicted[name]) for name, path in true.items()]


def _is_one_volume(path: Path) -> bool:
    """Whether a path is one volume, and not a folder of volumes.

    Raises:
        ValueError: nothing is there.
    """
    from anystar_torch import io

    if not io.container(path).exists():
        raise ValueError(f"there is no file {path}")
    return not path.is_dir() or io.kind_of(path) is not None or io.is_volume(path)


def _named(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The label volumes of a folder and of its inner folders, by their names without endings."""
    found: dict[str, Path] = {}
    for path in without_parts([path for path in volumes_in(folder) if not is_candidates(path)]):
        name, labels = prefix + stem(path), is_labels(path)
        other = found.get(name)
        if other is not None and is_labels(other) == labels:
            raise ValueError(f"{other} and {path} are both called {name}; remove one")
        if other is None or labels:
            found[name] = path
    for inner in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if not _is_one_volume(inner):
            found |= _named(inner, f"{prefix}{inner.name}/")
    return found
