"""``anystar evaluate``: scores of predicted labels against true ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from anystar_torch.cli.paths import is_candidates, stem

if TYPE_CHECKING:
    from anystar_torch.evaluation.matching import ContingencyTable

Row = tuple[str, Any]  # name, and a score per threshold


class Pair(NamedTuple):
    """Label volumes to compare.

    Attributes:
        name: of the row in the table of scores.
        truth: file or folder of the true labels.
        prediction: file or folder of the predicted labels.
        frame: index of the time point; None where there is one.
    """

    name: str
    truth: Path
    prediction: Path
    frame: int | None = None


def evaluate(
    truth: Annotated[Path, typer.Argument(help="True labels: a file or a folder.")],
    prediction: Annotated[
        Path, typer.Argument(help="Predicted labels: a file, or a folder with files of the same names.")
    ],
    iou_thresh: Annotated[
        list[float] | None,
        typer.Option(help="IoU threshold of a match. Repeat for several. Default: 0.3, 0.5, 0.7."),
    ] = None,
    drop_small: Annotated[
        float, typer.Option(help="Ignore true objects below this fraction of the median volume.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score predicted labels: precision, recall, F1, AP and panoptic quality at several IoU thresholds."""
    from anystar_torch.evaluation.matching import IOU_THRESHOLDS

    pairs = by_frame(matched(truth, prediction))
    thresholds = iou_thresh or IOU_THRESHOLDS
    scores = [[table.matching(t) for t in thresholds] for table in _tables(pairs, drop_small)]
    rows = list(zip([pair.name for pair in pairs], scores, strict=True))
    rows += summaries(rows)
    if as_json:
        print(json.dumps({name: [score.as_dict() for score in group] for name, group in rows}, indent=2))
    else:
        _table(rows)


def summaries(rows: list[Row]) -> list[Row]:
    """Rows for all objects of every source together, and for the mean of the sources with equal weights.

    Args:
        rows: of single volumes; ``embryos/0`` belongs to the source (the folder) ``embryos``.
    """
    from anystar_torch.evaluation.scores import combine

    sources: dict[str, list[Any]] = {}
    for name, scores in rows:
        sources.setdefault(name.rpartition("/")[0], []).append(scores)
    pooled = {
        source: [combine(list(scores)) for scores in zip(*volumes, strict=True)]
        for source, volumes in sources.items()
    }
    if len(rows) == 1:
        return []
    if len(sources) == 1:
        return [("all objects", scores) for scores in pooled.values()]
    lines = [(f"{source or '.'}: all objects", scores) for source, scores in pooled.items()]
    means = [combine(list(scores), by_image=True) for scores in zip(*pooled.values(), strict=True)]
    return [*lines, (f"mean of {len(sources)} sources", means)]


def by_frame(pairs: list[Pair]) -> list[Pair]:
    """One pair per time point.

    Args:
        pairs: of files.

    Raises:
        ValueError: truth and prediction have different numbers of time points.
    """
    from anystar_torch import io

    single = []
    for pair in pairs:
        true, predicted = io.frames(pair.truth), io.frames(pair.prediction)
        if true != predicted:
            raise ValueError(
                f"{pair.truth} has {true} time points and {pair.prediction} has {predicted}; "
                "both must have the same number"
            )
        frames = range(true) if true > 1 else ()
        single += [pair._replace(name=f"{pair.name} frame {t}", frame=t) for t in frames] or [pair]
    return single


def _tables(pairs: list[Pair], drop_small: float) -> Iterator["ContingencyTable"]:
    """The voxels that true and predicted objects share, pair by pair."""
    from anystar_torch import io
    from anystar_torch.evaluation.matching import ContingencyTable
    from anystar_torch.system.progress import bar

    with bar("matching", len(pairs) > 1) as tick:
        for done, (_, true_path, pred_path, frame) in enumerate(pairs):
            tick(done, len(pairs))
            true, predicted = (io.read_labels(path, frame=frame) for path in (true_path, pred_path))
            predicted = io.reoriented(predicted, like=true)
            yield ContingencyTable.of(true.array, predicted.array).without_small(drop_small)


def matched(truth: Path, prediction: Path) -> list[Pair]:
    """Two files as one pair, or a pair for every file of the folder of true labels.

    ``nuclei.labels.tif`` is the prediction for ``nuclei.tif``, in any format, also where a folder holds both.
    Files of inner folders are named ``folder/nuclei``.

    Args:
        truth: file or folder of true labels.
        prediction: file or folder of predicted labels.

    Raises:
        ValueError: a file or folder is missing, or a prediction is.
    """
    for path in (truth, prediction):
        if not path.exists():
            raise ValueError(f"there is no file {path}")
    alone = [not path.is_dir() or _one_volume(path) for path in (truth, prediction)]
    if alone[0] != alone[1]:
        raise ValueError(f"give two files or two folders, got {truth} and {prediction}")
    if alone[0]:
        return [Pair(prediction.name, truth, prediction)]
    from anystar_torch import io

    true, predicted = _named(truth), _named(prediction)
    if not true:
        raise ValueError(f"{truth} holds no label volume; known endings: {', '.join(io.KINDS)}")
    missing = [str(path.relative_to(truth)) for name, path in true.items() if name not in predicted]
    if missing:
        raise ValueError(f"{prediction} has no labels for {', '.join(missing)}")
    return [Pair(name, path, predicted[name]) for name, path in true.items()]


def _one_volume(path: Path) -> bool:
    """Whether a folder is one volume."""
    from anystar_torch import io

    return io.kind_of(path) is not None or io.is_volume(path)


def _named(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The label volumes of a folder and of its inner folders, by their names without endings."""
    from anystar_torch import io

    found: dict[str, Path] = {}
    for path in (path for path in io.volumes(folder) if not is_candidates(path)):
        name, labels = prefix + stem(path), ".labels." in path.name
        other = found.get(name)
        if other is not None and (".labels." in other.name) == labels:
            raise ValueError(f"{other} and {path} are both called {name}; remove one")
        if other is None or labels:
            found[name] = path
    for inner in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if not _one_volume(inner):
            found |= _named(inner, f"{prefix}{inner.name}/")
    return found


def _table(rows: list[Row]) -> None:
    """Print the scores as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("volume", "IoU", "true", "predicted", "found", "precision", "recall", "F1", "AP", "PQ"):
        table.add_column(column, justify="left" if column == "volume" else "right", no_wrap=True)
    for name, group in rows:
        for score in group:
            counts = [f"{score.thresh:g}", str(score.n_true), str(score.n_pred), str(score.tp)]
            ratios = (score.precision, score.recall, score.f1, score.accuracy, score.panoptic_quality)
            table.add_row(name, *counts, *(f"{ratio:.3f}" for ratio in ratios))
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
