"""Statistics of fresh samples beside those of the original AnyStar's samples.

    python -m benchmarks.fidelity [--samples 500] [--shared ../shared] [--seed 0] [-o table.md]

The reference is 210 finished samples of the unmodified original, and their statistics, by the definitions that stand
beside them (``shared/data/reference``). They come from 70 images of 10 label maps, so they are fewer than they seem.
The reference's own uncertainty is estimated on the 100 samples that were kept, resampled by map. The reference has 48
samples with a plain background, 75 with a uniform one of random brightness and 87 with patches. 27 of its 70 images
are of mirrored scenes, which have eight times the objects. Fresh samples are made in the same proportions.

A statistic agrees if its median lies within the reference's 25 to 75 % quantiles, and its 5 and 95 % quantiles lie
within half an interquartile range of the reference's. For a quantile that does not agree the table has a chance. Sets
of fresh samples, as large as the reference, are drawn at random. The chance is the share of these sets whose quantile
differs at least as much as that of the reference, on either side. The reference has three samples per image, so true
chances are larger.
"""

import argparse
import importlib.util
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from anystar_torch.configuration.compose import load_synthesizer
from benchmarks.header import ROOT
from benchmarks.report import Report, begin, parser

MODES = {"plain": 48, "rand": 75, "perlin": 87}
MIRRORED = 27 / 70
QUANTILES = (5, 25, 50, 75, 95)
Record = dict[str, Any]
COMPARED = {
    "fg": "foreground fraction",
    "count_ge100": "objects of 100 voxels or more",
    "eqd100": "equivalent diameter of those",
    "sph": "sphericity (64 voxels or more)",
    "in_mean": "mean inside",
    "out_mean": "mean outside",
    "contrast_signed": "signed contrast / std",
    "contrast_norm": "absolute contrast / std",
    "inst_darker_frac": "objects darker than what surrounds them",
    "slope": "power-spectrum slope k 2..32",
    "grad_mean": "gradient magnitude",
}
ALSO = {
    "mean": "mean",
    "std": "standard deviation",
    "in_std": "deviation inside",
    "out_std": "deviation outside",
    "inst_std": "deviation within objects",
    "inst_mean_spread": "spread of object means",
    "inst_cnr": "contrast to noise of objects",
    "noise_mad": "noise (high-pass)",
    "grad_rel": "gradient / std",
    "slope_lo": "slope k 2..8",
    "slope_hi": "slope k 16..32",
    "zero_frac": "exact zeros",
}
BY_MODE = ("contrast_signed", "contrast_norm", "in_mean", "out_mean", "inst_darker_frac")


def reference_definitions(folder: Path) -> ModuleType:
    """The module that computed the reference's statistics."""
    spec = importlib.util.spec_from_file_location("reference_stats", folder / "stats.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(definitions: ModuleType, image: np.ndarray, labels: np.ndarray, shapes: bool) -> Record:
    """All statistics of one sample: numbers, or lists over its objects."""
    record = definitions.label_stats(labels, gap=False, sph=shapes)
    record |= definitions.image_stats(image, labels)
    volume = np.asarray(record["vol"])
    record["eqd100"] = np.cbrt(6.0 * volume[volume >= 100] / np.pi).tolist()
    return record


def samples(
    mode: str, count: int, seed: int, overrides: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and labels of fresh samples with one kind of background."""
    # Splits of their own: with the same ids the three kinds would share the draws of every effect.
    mirrored = f"scene.density.mirrored={MIRRORED}"
    synth = load_synthesizer(mode, seed=seed, overrides=[mirrored, *overrides]).on(mode)
    for ids in torch.arange(count).split(4):
        batch = synth(ids)
        yield from zip(batch.image[:, 0].numpy(), batch.labels[:, 0].numpy(), strict=True)


def pool(records: list[Record]) -> dict[str, np.ndarray]:
    """Finite values by statistic, those of objects put together over samples."""
    pooled: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for key, value in record.items():
            pooled[key].extend(value if isinstance(value, list) else [value])
    return {key: np.asarray([v for v in values if np.isfinite(v)]) for key, values in pooled.items()}


def reference_records(definitions: ModuleType, folder: Path) -> dict[str, list[Record]]:
    """Statistics of the kept samples of the original, by the label map they come from."""
    by_map: dict[str, list[Record]] = defaultdict(list)
    for path in sorted((folder / "samples").glob("*.npz")):
        with np.load(path) as arrays:
            image, labels = sorted((arrays[name] for name in arrays), key=lambda a: a.dtype.kind != "f")
        record = measure(definitions, image.astype(np.float32), labels.astype(np.int32), True)
        by_map[path.stem.split("_")[1]].append(record)
    return by_map


def error_by_map(by_map: dict[str, list[Record]], draws: int = 200) -> dict[str, np.ndarray]:
    """Standard error of each quantile when whole maps are drawn again with replacement."""
    generator = np.random.default_rng(0)
    tables: dict[str, list[np.ndarray]] = defaultdict(list)
    for _ in range(draws):
        chosen = generator.choice(sorted(by_map), len(by_map))
        values = pool([record for name in chosen for record in by_map[name]])
        for key in COMPARED | ALSO:
            tables[key].append(np.percentile(values[key], QUANTILES))
    return {key: np.std(rows, axis=0) for key, rows in tables.items()}


def failures(ours: np.ndarray, theirs: np.ndarray, key: str) -> list[int]:
    """The places among QUANTILES where a condition fails."""
    half = (theirs[3] - theirs[1]) / 2.0
    if key == "sph":  # smoother shapes than the original's are intended
        least = {0: theirs[0] - half, 2: theirs[1]}
        return [place for place, bound in least.items() if ours[place] < bound]
    outside = [2] if not theirs[1] <= ours[2] <= theirs[3] else []
    return sorted(outside + [place for place in (0, 4) if abs(ours[place] - theirs[place]) > half])


def chance(values: np.ndarray, quantile: int, theirs: float, count: int, draws: int = 2000) -> float:
    """Share of sets of ``count`` fresh samples whose quantile lies as far out, on either side, as ``theirs``."""
    drawn = np.random.default_rng(0).choice(values, (draws, count))
    quantiles = np.percentile(drawn, quantile, axis=1)
    return 2.0 * min(float((quantiles <= theirs).mean()), float((quantiles >= theirs).mean()), 0.5)


def row(
    key: str, name: str, values: np.ndarray, theirs: np.ndarray, error: np.ndarray | None, count: int
) -> dict[str, str]:
    """A line of the table; the reference has ``count`` samples."""
    ours = np.percentile(values, QUANTILES)
    line = {"statistic": name}
    for i, column in {0: "5 %: fresh (reference)", 2: "median", 4: "95 %"}.items():
        doubt = "" if error is None else f" ± {error[i]:.2g}"
        line[column] = f"{ours[i]:.3g} ({theirs[i]:.3g}{doubt})"
    differing = [
        f"{QUANTILES[i]} % (chance {chance(values, QUANTILES[i], theirs[i], count):.2g})"
        for i in failures(ours, theirs, key)
    ]
    return line | {
        "reference 25 to 75 %": f"{theirs[1]:.3g} to {theirs[3]:.3g}",
        "agrees": f"not at {', '.join(differing)}" if differing else "yes",
    }


def stored(statistics: dict[str, float]) -> np.ndarray:
    """The quantiles as ``stats.json`` holds them."""
    return np.asarray([statistics[f"q{q:02d}"] for q in QUANTILES])


def table(
    by_mode: dict[str, list[Record]], reference: dict[str, Any], kept: dict[str, list[Record]]
) -> list[dict[str, str]]:
    """The rows: all samples together, then those of each kind of background."""
    ours = pool([record for records in by_mode.values() for record in records])
    theirs = {key: stored(value) for key, value in {**reference["labels"], **reference["image"]}.items()}
    values = pool([record for records in kept.values() for record in records])
    theirs["eqd100"] = np.percentile(values["eqd100"], QUANTILES)  # not among the stored statistics
    errors = error_by_map(kept)
    total = sum(MODES.values())
    rows = [
        row(key, name, ours[key], theirs[key], errors[key], total)
        for key, name in (COMPARED | ALSO).items()
        if len(ours[key])
    ]
    for mode, records in by_mode.items():
        values, known = pool(records), reference["image_by_bg"][mode]
        rows += [
            row(key, f"{mode}: {COMPARED[key]}", values[key], stored(known[key]), None, MODES[mode])
            for key in BY_MODE
        ]
    return rows


def compare(arguments: argparse.Namespace, report: Report) -> None:
    """Make samples, measure them, and report their statistics beside the reference's."""
    folder = arguments.shared / "data" / "reference"
    if not folder.is_dir():
        sys.exit(f"the reference is not at {folder}; give its folder with --shared")
    definitions = reference_definitions(folder)
    reference = json.loads((folder / "stats.json").read_text())["step3_64"]
    total = sum(MODES.values())
    by_mode = {}
    for mode, share in MODES.items():
        fresh = samples(mode, round(arguments.samples * share / total), arguments.seed, arguments.overrides)
        shaped = round(arguments.shapes * share / total)
        by_mode[mode] = [measure(definitions, *pair, number < shaped) for number, pair in enumerate(fresh)]
    count = sum(len(records) for records in by_mode.values())
    report.table(
        f"{count} fresh samples, {total} of the reference",
        table(by_mode, reference, reference_records(definitions, folder)),
    )


def main() -> None:
    options_of = parser(__doc__)
    options_of.set_defaults(threads=1)
    options_of.add_argument("--samples", type=int, default=500)
    options_of.add_argument("--seed", type=int, default=0)
    options_of.add_argument(
        "--shared", type=Path, default=ROOT.parent / "shared", help="folder of the reference"
    )
    options_of.add_argument(
        "--shapes", type=int, default=100, help="samples to measure sphericity on, which is slow"
    )
    options_of.add_argument("overrides", nargs="*", help="key=value changes of the generator")
    options = options_of.parse_args()
    compare(options, begin(options))


if __name__ == "__main__":
    main()
