"""``anystar evaluate``: labels against the truth."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

_THRESHOLDS = [0.3, 0.5, 0.7]


def evaluate(
    truth: Annotated[Path, typer.Argument(help="True labels: a file, or a folder.")],
    prediction: Annotated[
        Path, typer.Argument(help="Predicted labels: a file, or a folder of the same names.")
    ],
    thresh: Annotated[
        list[float] | None, typer.Option(help="IoU from which a pair counts; may be repeated.")
    ] = None,
    drop_small: Annotated[
        float, typer.Option(help="Leave out true objects below this fraction of the median volume.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count what was found: precision, recall, F1, AP and panoptic quality at several IoU."""
    from anystar_torch.matching import combine

    pairs = matched(truth, prediction)
    thresholds = thresh or _THRESHOLDS
    scores = [[overlap.matching(t) for t in thresholds] for overlap in _overlaps(pairs, drop_small)]
    rows = list(zip([name for name, _, _ in pairs], scores, strict=True))
    if len(pairs) > 1:
        rows.append(
            ("all objects", [combine([score[i] for score in scores]) for i in range(len(thresholds))])
        )
    if as_json:
        print(json.dumps({name: [score.as_dict() for score in group] for name, group in rows}, indent=2))
    else:
        _table(rows)


def _overlaps(pairs: list[tuple[str, Path, Path]], drop_small: float) -> Any:
    from anystar_torch import io
    from anystar_torch.inference.progress import bar
    from anystar_torch.matching import Overlap

    with bar("matching", len(pairs) > 1) as tick:
        for done, (_, true_path, pred_path) in enumerate(pairs):
            tick(done, len(pairs))
            true_labels, pred_labels = io.read_labels(true_path).array, io.read_labels(pred_path).array
            if true_labels.shape != pred_labels.shape:
                raise ValueError(
                    f"{true_path} and {pred_path} must have one shape, "
                    f"got {true_labels.shape} and {pred_labels.shape}"
                )
            yield Overlap.of(true_labels, pred_labels).without_small(drop_small)


def matched(truth: Path, prediction: Path) -> list[tuple[str, Path, Path]]:
    """(name, truth, prediction) of two files, or of the files of two folders that share a name.

    ``nuclei.labels.tif`` belongs to ``nuclei.tif``, whatever the formats.
    """
    from anystar_torch import io

    for path in (truth, prediction):
        if not path.exists():
            raise ValueError(f"there is no file {path}")
    if truth.is_dir() != prediction.is_dir():
        raise ValueError(f"give two files or two folders, got {truth} and {prediction}")
    if not truth.is_dir():
        return [(prediction.name, truth, prediction)]
    predicted = {_stem(path): path for path in sorted(prediction.iterdir()) if io.kind_of(path)}
    true = {_stem(path): path for path in sorted(truth.iterdir()) if io.kind_of(path)}
    if not true:
        raise ValueError(f"{truth} holds no label volume; known endings: {', '.join(io.KINDS)}")
    missing = [path.name for stem, path in true.items() if stem not in predicted]
    if missing:
        raise ValueError(f"{prediction} has no labels for {', '.join(missing)}")
    return [(stem, path, predicted[stem]) for stem, path in true.items()]


def _stem(path: Path) -> str:
    from anystar_torch import io

    name = path.name[: -len(io.kind_of(path) or "x")]
    return name.removesuffix(".labels")


def _table(rows: list[tuple[str, Any]]) -> None:
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
    console.print(table) if console.is_terminal else Console(width=140).print(table)
