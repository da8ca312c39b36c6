"""Objects of the same candidates at one pair of thresholds after another.

What does not depend on the thresholds is computed once. Worse candidates do not change which of the better ones
survive, so a suppression also holds for every higher ``prob_thresh``. Suppressions with other overlap thresholds use
the overlaps of :mod:`~anystar_torch.inference.covering`. The corners that shape averaging needs do not depend on the
thresholds. Results equal those of :func:`anystar_torch.inference.stages.find_instances`.
"""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from anystar_torch.inference.candidates import Candidates, Survivors, checked_overlap, suppress
from anystar_torch.inference.covering import Covering
from anystar_torch.inference.instances import Instances, render_instances
from anystar_torch.inference.object_size import check_found_size
from anystar_torch.inference.shape_averaging import average_shapes, corners, neighbours, weighted_means
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.progress import bar

_SUPPRESSIONS = 32  # overlap thresholds whose survivors are kept
_MOST = 4000  # objects whose corners are kept: 18 kB each with 96 rays
_CHUNK = 32  # objects whose corners are computed together

Corners = tuple[Int64[np.ndarray, " m"], np.ndarray, Float32[np.ndarray, "m r"]]


class LiveObjects:
    """The objects of one volume for changing thresholds.

    Args:
        candidates: all candidates of the volume.
        shape_averaging: whether an object's shape is the mean over the candidates around its centre.
        config: configuration of the network, to check the size of the objects; None to check nothing.
    """

    def __init__(
        self, candidates: Candidates, shape_averaging: bool = True, config: ModelConfig | None = None
    ) -> None:
        self.candidates = candidates
        self.shape_averaging = shape_averaging
        self.config = config
        self._survivors: OrderedDict[float, Bool[np.ndarray, " n"]] = OrderedDict()
        self._corners: dict[int, Corners] = {}
        self._first: Bool[np.ndarray, " n"] | None = None
        self._covering: Covering | None = None

    def prepare(self, nms_thresh: float) -> None:
        """Compute what other overlap thresholds need, which otherwise happens when the first one is chosen.

        Args:
            nms_thresh: overlap threshold that is likely to be used.
        """
        self._kept(self.candidates, checked_overlap(nms_thresh))
        self._covered()

    def at(self, prob_thresh: float, nms_thresh: float) -> Instances:
        """The objects at two thresholds.

        Args:
            prob_thresh: not below the threshold of the candidates.
            nms_thresh: overlap above which the worse of two candidates is removed.

        Raises:
            ValueError: a threshold is out of range, or the probability below that of the candidates.
        """
        nms_thresh = checked_overlap(nms_thresh)
        above = self.candidates.above(prob_thresh)
        kept = self._kept(above, nms_thresh)
        averages = self._averages(above, kept) if self.shape_averaging else None
        found = render_instances(above, kept, nms_thresh, self.shape_averaging, averages)
        if self.config is None or any(isinstance(warning, SizeWarning) for warning in found.warnings):
            return found
        doubt = check_found_size(
            found.distances, found.rays, above.scaling, self.candidates.diameter, self.config
        )
        return found if doubt is None else replace(found, warnings=(*found.warnings, doubt))

    def _kept(self, above: Candidates, nms_thresh: float) -> Bool[np.ndarray, " n"]:
        """The survivors, from an earlier suppression where there was one with this overlap threshold."""
        count = len(above.scores)
        known = self._survivors.get(nms_thresh)
        if known is None or len(known) < count:
            with bar("suppressing", False) as tick:
                if self._survivors:
                    known = self._covered().survivors(above, nms_thresh, tick)
                else:
                    known = self._first = suppress(self.candidates, nms_thresh, tick)
            self._survivors[nms_thresh] = known
            while len(self._survivors) > _SUPPRESSIONS:
                self._survivors.popitem(last=False)
        return Survivors(nms_thresh, known).first(count).kept

    def _covered(self) -> Covering:
        """What better candidates cover, from the first suppression."""
        if self._covering is None:
            assert self._first is not None
            self._covering = Covering.of(self.candidates, self._first)
        return self._covering

    def _averages(self, above: Candidates, kept: Bool[np.ndarray, " n"]) -> Float32[np.ndarray, "k r"]:
        """The mean shapes of the survivors."""
        survivors = np.flatnonzero(kept)
        if not len(survivors) or len(survivors) > _MOST:
            return average_shapes(above, kept)
        self._add_corners(survivors)
        count = len(above.scores)
        known = [self._corners[index] for index in survivors.tolist()]
        used = [
            int(np.searchsorted(member, count)) for member, _, _ in known
        ]  # members are sorted, best first
        member, ray, length = (
            np.concatenate([columns[i][:n] for columns, n in zip(known, used, strict=True)]) for i in range(3)
        )
        owner = np.repeat(np.arange(len(survivors)), used)
        return weighted_means(owner, ray, length, self.candidates.scores[member])

    def _add_corners(self, survivors: Int64[np.ndarray, " k"]) -> None:
        """Compute the corners around the survivors that are new."""
        new = np.array([index for index in survivors.tolist() if index not in self._corners], np.int64)
        if len(self._corners) + len(new) > 2 * _MOST:
            self._corners.clear()
            new = survivors
        if not len(new):
            return
        points, directions = self.candidates.points, self.candidates.rays.vertices.cpu().numpy()
        distances = self.candidates.distances.astype(np.float32)
        for part, owner, member in neighbours(points, distances, new, _CHUNK):
            centre = points[new[part]][owner]
            ray, length = corners(points[member] - centre, distances[member], directions)
            ends = np.searchsorted(owner, np.arange(part.stop - part.start), side="right")
            pieces = (np.split(column, ends[:-1]) for column in (member, ray.astype(np.uint16), length))
            self._corners |= dict(zip(new[part].tolist(), zip(*pieces, strict=True), strict=True))
