"""``anystar evaluate``: scores of predicted labels against true ones."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anystar_torch.cli.pairs import Pair, Reading, by_frame, matched

if TYPE_CHECKING:
    from rich.table import Table

    from anystar_torch.evaluation.matching import ContingencyTable

_TWICE = "For both files; give it twice for truth and prediction."
_UNLIMITED = 10_000  # columns of a console that cuts nothing off
_NARROWEST = 75  # columns that the numbers and 14 letters of a name need
Row = tuple[str, Any]  # name, and a score per threshold


def evaluate(  # noqa: PLR0913 - one argument per option
    truth: Annotated[str, typer.Argument(help="True labels: a file, a folder or the URL of a Zarr.")],
    prediction: Annotated[
        str,
        typer.Argument(
            help="Predicted labels: a file, a folder with files of the same names, or the URL of a Zarr."
        ),
    ],
    iou_thresh: Annotated[
        list[float] | None,
        typer.Option(help="IoU threshold of a match. Repeat for several. Default: 0.3, 0.5, 0.7."),
    ] = None,
    drop_small: Annotated[
        float, typer.Option(help="Ignore true objects below this fraction (0 to 1) of the median volume.")
    ] = 0.0,
    axes: Annotated[
        list[str] | None,
        typer.Option(metavar="LETTERS", help=f"Meaning of the dimensions, such as CZYX. {_TWICE}"),
    ] = None,
    scene: Annotated[
        list[str] | None, typer.Option(help=f"Name or number (from 0) of the scene. {_TWICE}")
    ] = None,
    channel: Annotated[list[int] | None, typer.Option(help=f"Index of the channel, from 0. {_TWICE}")] = None,
    frame: Annotated[
        list[int] | None, typer.Option(help=f"Index of the time point, from 0. Default: all. {_TWICE}")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score predicted labels: precision, recall, F1, AP and panoptic quality at several IoU thresholds."""
    from anystar_torch.evaluation.matching import IOU_THRESHOLDS
    from anystar_torch.io.location import checked

    if not 0 <= drop_small <= 1:
        raise ValueError(f"--drop-small must be a fraction between 0 and 1, got {drop_small:g}")
    readings = _readings(axes=axes, scene=scene, channel=channel, frame=frame)
    pairs = by_frame(
        [pair._replace(readings=readings) for pair in matched(checked(truth), checked(prediction))]
    )
    thresholds = iou_thresh or IOU_THRESHOLDS
    scores = [[table.matching(t) for t in thresholds] for table in _tables(pairs, drop_small)]
    rows = list(zip([pair.name for pair in pairs], scores, strict=True))
    rows += summaries(rows)
    if as_json:
        print(json.dumps({name: [score.as_dict() for score in group] for name, group in rows}, indent=2))
    else:
        _table(rows)


def _readings(**options: list[Any] | None) -> tuple[Reading, Reading]:
    """How truth and prediction are read: values that are given once count for both.

    Raises:
        ValueError: an option is given more than twice.
    """
    for name, values in options.items():
        if values and len(values) > 2:
            raise ValueError(
                f"--{name} may be given once for both files, or twice, got it {len(values)} times"
            )
    true, predicted = ({name: values[at] for name, values in options.items() if values} for at in (0, -1))
    return Reading(**true), Reading(**predicted)


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


def _tables(pairs: list[Pair], drop_small: float) -> Iterator["ContingencyTable"]:
    """The voxels that true and predicted objects share, pair by pair."""
    from anystar_torch import io
    from anystar_torch.evaluation.matching import ContingencyTable
    from anystar_torch.system.progress import bar

    with bar("matching", len(pairs) > 1) as tick:
        for done, pair in enumerate(pairs):
            tick(done, len(pairs))
            files = zip((pair.truth, pair.prediction), pair.readings, strict=True)
            true, predicted = (io.read_labels(path, **reading._asdict()) for path, reading in files)
            own = io.read_record(pair.prediction) is not None  # of a prediction with --spacing, perhaps
            predicted = io.reoriented(predicted, like=true, resized=own)
            yield ContingencyTable.of(true.array, predicted.array).without_small(drop_small)


def _table(rows: list[Row]) -> None:
    """Print the scores as a table, whose numbers are whole in a terminal of any width."""
    from rich.console import Console
    from rich.table import Table

    console, table = Console(), _filled(Table(), rows)
    needed = Console(width=_UNLIMITED).measure(table).maximum
    if not console.is_terminal:
        console = Console(width=needed)
    elif needed > console.width:  # without lines, and with broken names
        table = _filled(Table(box=None, pad_edge=False, collapse_padding=True), rows)
        console = Console(width=max(console.width, _NARROWEST))
    console.print(table)


def _filled(table: "Table", rows: list[Row]) -> "Table":
    """The table with a row per volume and threshold."""
    from rich.text import Text

    table.add_column("volume", overflow="fold")
    for column in ("IoU", "true", "predicted", "found", "precision", "recall", "F1", "AP", "PQ"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, group in rows:
        for score in group:
            counts = [f"{score.thresh:g}", str(score.n_true), str(score.n_pred), str(score.tp)]
            ratios = (score.precision, score.recall, score.f1, score.accuracy, score.panoptic_quality)
            # a name is no markup: brackets in it are shown
            table.add_row(Text(name), *counts, *(f"{ratio:.3f}" for ratio in ratios))
        table.add_section()
    return table
