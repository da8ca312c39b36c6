"""What crosses tile borders: candidates above the threshold, not dense maps.

Candidates stay in the network's voxels, where every object has about the size the network was trained on,
whatever the input's resolution: suppression there counts voxels of one kind, costs the same for a volume and
for its magnification, and is what the thresholds were chosen for. Survivors go to the input's voxels before
they are rendered.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Transfer, transfer_to
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.run_record import RunRecord

_FORMAT = 2
_SMALLEST = 1e-3  # distances below it are raised to it, as StarDist does: a polyhedron has a volume


@dataclass(frozen=True)
class Candidates:
    """Objects that may be there, before suppression, best first.

    Attributes:
        points: float32 ``[N, 3]``, centres (z, y, x) in network voxels.
        distances: float16 ``[N, R]`` in network voxels, positive.
        scores: float32 ``[N]`` in [0, 1], descending; equal scores stand in z, y, x order.
        rays: directions of the distances, in network voxels.
        scaling: where network voxels lie in the input.
        diameter: object size the scaling was made for, in voxels of the input's finest axis.
        prob_thresh: every score is above it.
    """

    points: NDArray[np.float32]
    distances: NDArray[np.float16]
    scores: NDArray[np.float32]
    rays: Rays
    scaling: Scaling
    diameter: float
    prob_thresh: float

    def above(self, prob_thresh: float | int) -> "Candidates":
        """Those above a threshold not below the one they were collected with.

        Raises:
            ValueError: a lower threshold; the candidates it asks for were never kept. One that is none.
        """
        if not 0 <= prob_thresh < 1:
            raise ValueError(f"prob_thresh must be between 0 and 1, got {prob_thresh}")
        if prob_thresh < self.prob_thresh:
            raise ValueError(
                f"candidates were collected above {self.prob_thresh:g}, got prob_thresh {prob_thresh:g}; "
                "choose a higher one, or predict again with a lower one"
            )
        return replace(
            self.first(int(np.count_nonzero(self.scores > prob_thresh))), prob_thresh=float(prob_thresh)
        )

    def first(self, count: int) -> "Candidates":
        """The ``count`` best."""
        return replace(
            self, points=self.points[:count], distances=self.distances[:count], scores=self.scores[:count]
        )

    def save(self, path: Path | str, record: RunRecord | None = None, overwrite: bool = True) -> None:
        """Write the candidates and the record of the run that made them to one .npz file."""
        with atomic_write(path, overwrite) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file, format=_FORMAT, points=self.points, distances=self.distances, scores=self.scores,
                vertices=self.rays.vertices.cpu().numpy(), faces=self.rays.faces.cpu().numpy(),
                anisotropy=self.rays.anisotropy, source=self.scaling.source, shape=self.scaling.shape,
                diameter=self.diameter, prob_thresh=self.prob_thresh, record=(record or RunRecord()).to_json(),
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> tuple["Candidates", RunRecord]:
        """Candidates and the record that was stored with them.

        Raises:
            ValueError: the file is missing, or no candidates file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
            version = int(stored["format"])
            if version not in (1, _FORMAT):
                raise ValueError(f"format {version}, this version reads {_FORMAT} and earlier")
            rays = Rays(
                torch.from_numpy(stored["vertices"]),
                torch.from_numpy(stored["faces"]),
                tuple(stored["anisotropy"].tolist()),
            )
            scaling = Scaling(tuple(stored["source"].tolist()), tuple(stored["shape"].tolist()))
            found = cls(
                stored["points"], stored["distances"], stored["scores"], rays, scaling,
                float(stored["diameter"]), float(stored["prob_thresh"]),
            )  # fmt: skip
            record = stored["about" if version == 1 else "record"]
            return found, RunRecord.from_json(str(record))
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}") from error
        except Exception as error:  # zipfile, numpy and json each raise their own on a broken file
            raise ValueError(
                f"{path} is no candidates file (anystar predict --candidates writes them): {error}"
            ) from error


Found = tuple[NDArray[np.float32], NDArray[np.float16], NDArray[np.float32]]


def owned(tile: Tile, shape: Triple, grid: Triple) -> tuple[tuple[slice, slice, slice], Triple]:
    """The grid points that a tile owns and that lie inside of the volume.

    Returns:
        where they stand in the prediction of the tile; the voxel of the first one.
    """
    low = [-(-(a - s) // g) for a, s, g in zip(tile.low, tile.start, grid, strict=True)]
    last = [min(b, n) for b, n in zip(tile.high, shape, strict=True)]
    high = [-(-(b - s) // g) for b, s, g in zip(last, tile.start, grid, strict=True)]
    bz, by, bx = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    z, y, x = (a * g + s for a, g, s in zip(low, grid, tile.start, strict=True))
    return (bz, by, bx), (z, y, x)


@dataclass(frozen=True)
class Selection:
    """The candidates of a tile, on the device that predicted them.

    Attributes:
        points: float32 ``[M, 3]`` in network voxels; the first ``count`` rows are candidates.
        distances: float16 ``[M, R]``.
        scores: float32 ``[M]``.
        count: int64 ``[]``.
        finite: bool ``[]``, whether every probability that the tile owns, and every distance of a candidate, is finite.
    """

    points: Tensor
    distances: Tensor
    scores: Tensor
    count: Tensor
    finite: Tensor


def select(
    probability: Tensor, distances: Tensor, tile: Tile, shape: Triple, grid: Triple, prob_thresh: float | int
) -> Selection:
    """The candidates of a tile: above the threshold, owned by it, and inside the volume.

    The host learns nothing here. On CUDA, where it would have to wait for the number of candidates, there is a row for
    every grid point, candidates first.

    Args:
        probability: ``[1, d, h, w]`` of the tile.
        distances: ``[R, d, h, w]`` of the tile.
        tile: where the tile lies.
        shape: of the resampled volume, without padding.
        grid: subsampling of the prediction.
        prob_thresh: scores must be above it.
    """
    inside, first = owned(tile, shape, grid)
    seen = probability[0][inside]
    chosen = seen > prob_thresh
    z, y, x = _places(chosen)
    found = distances[:, *inside][:, z, y, x].T
    finite = (seen.sum() + found.sum()).isfinite()  # a sum needs no memory, and NaN and infinity survive it
    largest = math.sqrt(sum(size * size for size in shape))  # no object reaches further than the volume
    found = found.nan_to_num_(nan=_SMALLEST).clamp_(_SMALLEST, largest).to(torch.float16).contiguous()
    points = torch.stack([a * g + o for a, g, o in zip((z, y, x), grid, first, strict=True)], 1)
    return Selection(points.float(), found, seen[z, y, x].float(), chosen.sum(), finite)


def _places(chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where ``[d, h, w]`` is true, in z, y, x order; on CUDA followed by zeros, up to the number of grid points."""
    if chosen.device.type in ("cuda", "meta"):
        return _padded_places(chosen)
    z, y, x = chosen.nonzero().unbind(1)
    return z, y, x


def _padded_places(chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As many rows as there are grid points: the host need not know how many are true."""
    _, height, width = chosen.shape
    flat, count = chosen.reshape(-1), chosen.numel()
    # The n-th true element writes its number to place n; all others write to a place at the end, which is dropped.
    place = (flat.cumsum(0) - 1).masked_fill_(~flat, count)
    numbers = torch.arange(count, device=chosen.device)
    index = torch.zeros(count + 1, dtype=torch.int64, device=chosen.device).scatter_(0, place, numbers)[:-1]
    row = index // width
    return row // height, row % height, index % width


def collected(selections: Sequence[Selection], transfer: Transfer) -> Callable[[], tuple[list[Found], bool]]:
    """Start to copy the number of candidates of tiles to the host.

    Returns:
        What waits for the numbers, copies that many candidates, and returns those of each tile and whether all
        predictions were finite.
    """
    known = transfer.later(torch.stack([n for one in selections for n in (one.count, one.finite.long())]))

    def finish() -> tuple[list[Found], bool]:
        counts, finite = known().view(-1, 2).unbind(1)
        found = []
        for one, count in zip(selections, counts.tolist(), strict=True):
            # views only: a kernel launched here would run behind the next tile
            rows = [column[:count] for column in (one.points, one.distances, one.scores)]
            points, distances, scores = transfer.fetch(rows)
            found.append((points, distances, scores))
        return found, bool(finite.all())

    return finish


def gather(
    probability: Tensor, distances: Tensor, tile: Tile, shape: Triple, grid: Triple, prob_thresh: float | int
) -> Found:
    """The candidates that :func:`select` finds, on the CPU: points, distances and scores."""
    selection = select(probability, distances, tile, shape, grid, prob_thresh)
    found, _ = collected([selection], transfer_to(probability.device))()
    return found[0]


def merge(
    parts: Iterable[Found], rays: Rays, scaling: Scaling, diameter: float | int, prob_thresh: float | int
) -> Candidates:
    """All tiles' candidates as one set, in an order that does not depend on the tiles."""
    nothing = (np.empty((0, 3), np.float32), np.empty((0, len(rays)), np.float16), np.empty(0, np.float32))
    points, distances, scores = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0], -scores))
    return Candidates(
        points[order], distances[order], scores[order], rays, scaling, float(diameter), float(prob_thresh)
    )
