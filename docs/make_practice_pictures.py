"""The pictures of docs/best_practices.md, from real volumes.

    python -m docs.make_practice_pictures --model FOLDER [--data FOLDER]

writes docs/pictures/practice/NAME.png. Every picture is one plane of a volume, predicted twice or three times: with the
wrong setting and with the right one. Without --model the shipped weights are used.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anystar_torch import AnyStar
from anystar_torch.evaluation.matching import SMALLEST_TRUTH, ContingencyTable
from anystar_torch.evaluation.outlines import colour, contours
from anystar_torch.inference.candidates import Candidates
from anystar_torch.system.wording import number_of
from benchmarks.real_volumes import volumes as real_volumes
from benchmarks.real_volumes.volumes import Volume

FOLDER = Path(__file__).resolve().parent / "pictures" / "practice"
EMBRYO, CELLS, FLAT = "bbbc050_train_Emb01_t401", "bio_cells3d_nuclei", "stardist_img3d"


@dataclass(frozen=True)
class Practice:
    """Predicts and draws: a network and three real volumes."""

    model: AnyStar
    embryo: Volume
    cells: Volume
    flat: Volume

    def found(self, case: Volume, image: NDArray[Any] | None = None, **changes: Any) -> Candidates:
        """Candidates of a case, down to half the usual probability."""
        options = {"spacing": case.spacing, "diameter": case.diameter, **changes}
        low = self.model.config.prob_thresh / 2
        volume = case.image if image is None else image
        return self.model.candidates(volume, prob_thresh=low, progress=False, **options)

    def labels(self, candidates: Candidates, prob: float = 1.0, nms: float | None = None) -> NDArray[Any]:
        """Objects above ``prob`` times the usual probability, overlapping by at most ``nms``."""
        usual = self.model.config
        chosen = candidates.above(min(prob * usual.prob_thresh, 0.99))
        return self.model.instances(chosen, usual.nms_thresh if nms is None else nms).labels

    def size(self) -> None:
        """The same volume with a diameter far too small, right, and far too large."""
        case = self.embryo
        self.draw(
            "size",
            case,
            [
                (
                    f"--diameter {case.diameter * f:g}",
                    self.labels(self.found(case, diameter=case.diameter * f)),
                )
                for f in (0.4, 1, 3)
            ],
        )

    def anisotropy(self) -> None:
        """Side view: voxels taken for cubes, and as they are."""
        case = self.flat
        cubes = self.labels(self.found(case, spacing=(1, 1, 1)))
        right = self.labels(self.found(case))
        z, y, x = case.spacing
        self.draw(
            "anisotropy", case, [("--spacing 1 1 1", cubes), (f"--spacing {z:g} {y:g} {x:g}", right)], axis=1
        )

    def normalisation(self) -> None:
        """A few voxels far brighter than the rest, as dust or hot pixels make them."""
        case = self.embryo
        dusty = case.image.astype(np.float32)
        dusty[case.image.shape[0] // 2, 4:6, 4:6] = 100 * float(case.image.max())
        panels = []
        for name in ("minmax", "percentile", "anystar", "clipped"):
            model = AnyStar(self.model.network, self.model.config, normalisation=name)
            candidates = replace(self, model=model).found(case, dusty)
            panels.append((f"--normalisation {name}", self.labels(candidates)))
        self.draw("normalisation", case, panels)

    def thresholds(self) -> None:
        """Candidates of one run, relabelled."""
        candidates = self.found(self.embryo)
        usual = self.model.config
        self.draw(
            "prob_thresh",
            self.embryo,
            [
                (f"--prob-thresh {f * usual.prob_thresh:.2g}", self.labels(candidates, f))
                for f in (0.55, 1, 1.44)
            ],
        )
        self.draw(
            "nms_thresh",
            self.embryo,
            [(f"--nms-thresh {nms:g}", self.labels(candidates, 1, nms)) for nms in (0.0, 0.3, 0.8)],
        )

    def faults(self) -> None:
        """What goes wrong, and what puts it right."""
        case = self.embryo
        right = self.found(case)
        best = self.labels(right)
        once = replace(self, model=AnyStar(self.model.network, self.model.config, coarse_pass=False))
        small = once.labels(once.found(case, diameter=case.diameter * 0.4))
        large = once.labels(once.found(case, diameter=case.diameter * 3))
        self.draw(
            "split",
            case,
            [("too small a --diameter, the fine pass", small), ("the right one, both passes", best)],
        )
        self.draw(
            "merged",
            case,
            [("too large a --diameter, the fine pass", large), ("the right one, both passes", best)],
        )
        high = self.labels(right, 1.44)
        self.draw("missed", case, [("too high a --prob-thresh", high), ("the model's", best)])
        cells = self.found(self.cells)
        low, usual = self.labels(cells, 0.55), self.labels(cells)
        self.draw("hallucinated", self.cells, [("too low a --prob-thresh", low), ("the model's", usual)])

    def draw(self, name: str, case: Volume, panels: list[tuple[str, NDArray[Any]]], axis: int = 0) -> None:
        """One plane with the outlines of the truth and of every prediction, which say how good they are.

        The plane is one that cuts many objects and on which the predictions differ in how many they see.
        """
        every = [("ground truth", case.truth), *panels]
        planes = range(case.truth.shape[axis])
        counts = [[len(np.unique(labels.take(i, axis))) for i in planes] for _, labels in every]
        plane = int(np.argmax(np.array(counts[0]) + 3 * np.ptp(counts[1:], axis=0)))
        image = case.image.take(plane, axis)
        low, high = np.percentile(case.image, (1, 99.8))
        aspect = case.spacing[0] / case.spacing[2] if axis else 1.0
        height = 2.6 * min(1.3, aspect * image.shape[0] / image.shape[1])
        figure = Figure(figsize=(2.6 * len(every), height + 0.5), dpi=90, layout="constrained")
        FigureCanvasAgg(figure)
        for panel, (title, labels) in zip(
            figure.subplots(1, len(every), squeeze=False)[0], every, strict=True
        ):
            panel.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
            for label, lines in contours(labels.take(plane, axis)):
                panel.add_collection(LineCollection(lines, colors=[colour(label)], linewidths=1.0))
            score = ContingencyTable.of(case.truth, labels).without_small(SMALLEST_TRUTH).matching(0.5)
            said = f", F1 {score.f1:.2f}" if labels is not case.truth else ""
            panel.set_title(f"{title}\n{number_of(score.n_pred, 'object')}{said}", fontsize=7)
            panel.set_axis_off()
        FOLDER.mkdir(parents=True, exist_ok=True)
        figure.savefig(FOLDER / f"{name}.png")
        print(FOLDER / f"{name}.png", flush=True)


def main() -> None:
    """Make every picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path, default=real_volumes.DATA)
    options = parser.parse_args()
    volumes = {volume.name: volume for volume in real_volumes.read(options.data)}
    model = AnyStar.from_pretrained(options.model)
    practice = Practice(model, *(volumes[name] for name in (EMBRYO, CELLS, FLAT)))
    for draw in (
        practice.size,
        practice.anisotropy,
        practice.normalisation,
        practice.thresholds,
        practice.faults,
    ):
        draw()


if __name__ == "__main__":
    main()
