"""Candidates: what is kept of the network's predictions, instead of maps of the whole volume.

Candidates stay in network voxels, in which every object has about the size the network was trained on. The
suppression then costs the same for a volume and for its magnification, and the thresholds were chosen at this scale.
Survivors of the suppression are scaled to input voxels before they are rendered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64

from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.suppression import nms
from anystar_torch.inference.object_size import SizeEstimate
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import TileCandidates
from anystar_torch.inference.warnings import PredictionWarning
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.location import open_file
from anystar_torch.io.run_record import RunRecord
from anystar_torch.system.progress import Tick, silent

_FORMAT = 2


@dataclass(frozen=True)
class Survivors:
    """The result of a suppression.

    Attributes:
        nms_thresh: its overlap threshold.
        kept: which candidates survive.
    """

    nms_thresh: float
    kept: Bool[np.ndarray, " n"]

    def first(self, count: int) -> "Survivors":
        """The result for the best candidates alone. Worse ones do not change it.

        Args:
            count: their number, at most.
        """
        return replace(self, kept=self.kept[:count])


@dataclass(frozen=True)
class Candidates:
    """Possible objects of one volume, before suppression, best first.

    Attributes:
        points: centres (z, y, x) in network voxels.
        distances: distances along the rays in network voxels, positive.
        scores: scores in [0, 1], descending; equal scores are in z, y, x order.
        rays: directions of the distances, in network voxels.
        scaling: grids of the input and of the network.
        diameter: object size for which the volume was scaled, in voxels of the input's finest axis.
        prob_thresh: all scores are above it.
        estimate: how the diameter was estimated; None if it was not. It is not saved.
        warnings: warnings of the prediction so far. They are not saved.
        survivors: what a suppression during the prediction has found; None if there was none. They are not saved.
    """

    points: Float32[np.ndarray, "n 3"]
    distances: Float16[np.ndarray, "n r"]
    scores: Float32[np.ndarray, " n"]
    rays: Rays
    scaling: Scaling
    diameter: float
    prob_thresh: float
    estimate: SizeEstimate | None = None
    warnings: tuple[PredictionWarning, ...] = ()
    survivors: Survivors | None = None

    def above(self, prob_thresh: float | int) -> "Candidates":
        """The candidates above a higher threshold.

        Args:
            prob_thresh: not below the threshold with which they were collected.

        Raises:
            ValueError: the threshold is lower, or not in [0, 1).
        """
        prob_thresh = checked_probability(prob_thresh)
        if prob_thresh < self.prob_thresh:
            raise ValueError(
                f"candidates were collected above {self.prob_thresh:g}, got prob_thresh {prob_thresh:g}; "
                "choose a higher one, or predict again with a lower one"
            )
        return replace(self.first(int(np.count_nonzero(self.scores > prob_thresh))), prob_thresh=prob_thresh)

    def first(self, count: int) -> "Candidates":
        """The best candidates.

        Args:
            count: their number, at most.
        """
        return replace(
            self,
            points=self.points[:count],
            distances=self.distances[:count],
            scores=self.scores[:count],
            survivors=None if self.survivors is None else self.survivors.first(count),
        )

    def at(self, rows: Int64[np.ndarray, " k"]) -> "Candidates":
        """Some of the candidates.

        Args:
            rows: their indices, ascending.
        """
        kept = self.survivors
        return replace(
            self,
            points=self.points[rows],
            distances=self.distances[rows],
            scores=self.scores[rows],
            survivors=None if kept is None else replace(kept, kept=kept.kept[rows]),
        )

    def save(self, path: Path | str, record: RunRecord | None = None, overwrite: bool = True) -> None:
        """Write the candidates and the record of the run that made them to one file.

        Args:
            path: the file, ``.npz``.
            record: the record; None for an empty one.
            overwrite: whether an existing file is replaced.

        Raises:
            ValueError: the file exists and is not to be replaced, or it cannot be written.
        """
        content: dict[str, Any] = {
            "format": _FORMAT,
            "points": self.points,
            "distances": self.distances,
            "scores": self.scores,
            "vertices": self.rays.vertices.cpu().numpy(),
            "faces": self.rays.faces.cpu().numpy(),
            "anisotropy": self.rays.anisotropy,
            "source": self.scaling.source,
            "shape": self.scaling.shape,
            "diameter": self.diameter,
            "prob_thresh": self.prob_thresh,
            "record": (record or RunRecord()).to_json(),
        }
        with atomic_write(path, overwrite) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **content)

    @classmethod
    def load(cls, path: Path | str) -> tuple["Candidates", RunRecord]:
        """The candidates of a file, and the record that was stored with them.

        Args:
            path: a file that :meth:`save` wrote, in this version or an earlier one, or its URL.

        Raises:
            ImportError: the package for the service of a URL is not installed.
            ValueError: the file is missing, or is no candidates file.
        """
        try:
            with open_file(path) as stream, np.load(stream, allow_pickle=False) as file:
                return _from_stored({name: file[name] for name in file.files})
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}") from error
        except ImportError:
            raise
        except Exception as error:  # zipfile, numpy and json each raise their own on a broken file
            raise ValueError(f"{path} is no candidates file: {error}") from error


def _from_stored(stored: dict[str, Any]) -> tuple[Candidates, RunRecord]:
    """The candidates and the record of a file's arrays."""
    version = int(stored["format"])
    if version not in (1, _FORMAT):
        raise ValueError(f"format {version}, this version reads {_FORMAT} and earlier")
    rays = Rays(
        torch.from_numpy(stored["vertices"]),
        torch.from_numpy(stored["faces"]),
        tuple(stored["anisotropy"].tolist()),
    )
    found = Candidates(
        points=stored["points"],
        distances=stored["distances"],
        scores=stored["scores"],
        rays=rays,
        scaling=Scaling(tuple(stored["source"].tolist()), tuple(stored["shape"].tolist())),
        diameter=float(stored["diameter"]),
        prob_thresh=float(stored["prob_thresh"]),
    )
    record = stored["about" if version == 1 else "record"]
    return found, RunRecord.from_json(str(record))


def checked_probability(prob_thresh: float | int) -> float:
    """The probability threshold as a float.

    Args:
        prob_thresh: in [0, 1).

    Raises:
        ValueError: it is not in [0, 1).
    """
    if not 0 <= prob_thresh < 1:
        raise ValueError(f"prob_thresh must be between 0 and 1, got {prob_thresh}")
    return float(prob_thresh)


def checked_overlap(nms_thresh: float | int) -> float:
    """The overlap threshold as a float.

    Args:
        nms_thresh: in [0, 1].

    Raises:
        ValueError: it is not in [0, 1].
    """
    if not 0 <= nms_thresh <= 1:
        raise ValueError(f"nms_thresh must be between 0 and 1, got {nms_thresh}")
    return float(nms_thresh)


def merge(
    parts: Iterable[TileCandidates],
    rays: Rays,
    scaling: Scaling,
    diameter: float | int,
    prob_thresh: float | int,
    survivors: Survivors | None = None,
) -> Candidates:
    """The candidates of all tiles as one set, in an order that does not depend on the tiles.

    Args:
        parts: candidates of the tiles, in any order.
        rays: rays of the network, on the CPU.
        scaling: grids of the input and of the network.
        diameter: object size for which the volume was scaled, in voxels of the input's finest axis.
        prob_thresh: threshold with which the candidates were collected.
        survivors: which of them survive, in the order of the parts; None if they were not suppressed.
    """
    nothing = (np.empty((0, 3), np.float32), np.empty((0, len(rays)), np.float16), np.empty(0, np.float32))
    points, distances, scores = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0], -scores))
    return Candidates(
        points[order],
        distances[order],
        scores[order],
        rays,
        scaling,
        float(diameter),
        float(prob_thresh),
        survivors=None if survivors is None else replace(survivors, kept=survivors.kept[order]),
    )


def suppress(candidates: Candidates, nms_thresh: float | int, tick: Tick = silent) -> Bool[np.ndarray, " n"]:
    """Which candidates survive.

    Args:
        candidates: all candidates of a volume.
        nms_thresh: overlap (intersection over the smaller volume) above which the worse candidate is removed.
        tick: receives the amount of work that is done, and that of all work.
    """
    if not len(candidates.scores):
        return np.zeros(0, bool)
    if candidates.survivors is not None and candidates.survivors.nms_thresh == float(nms_thresh):
        return candidates.survivors.kept
    keep = nms(
        torch.from_numpy(candidates.points),
        torch.from_numpy(candidates.distances.astype(np.float32)),
        torch.from_numpy(candidates.scores),
        candidates.rays,
        float(nms_thresh),
        progress=tick,
    )
    kept: Bool[np.ndarray, " n"] = keep.cpu().numpy()
    return kept
