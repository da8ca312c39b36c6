"""Suppression of candidates: of those that overlap too much, the best one survives."""

import numpy as np
import torch
from jaxtyping import Bool

from anystar_torch.geometry.suppression import nms
from anystar_torch.inference.candidates import Candidates
from anystar_torch.system.progress import Tick, silent


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
