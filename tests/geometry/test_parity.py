"""Suppression against StarDist's stored answers.

Where analytic bounds decide, StarDist does not count voxels. Its effective overlap therefore differs from the count by
up to BAND. Survivors may differ only where an overlap is that close to the threshold.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import polyhedra as reference
from tests.geometry.cases import Crowd, load_parity, stored_rays

BAND = 0.035
CASES = [
    "nuclei_g122_a2_n5",
    "nuclei_g1_n5",
    "nuclei_g1_smooth",
    "random_crowd",
    "random_crowd_aniso",
    "synth64_g2_n0",
    "synth64_g2_n10",
    "synth64_g2_n5",
    "synth64_g2_smooth",
    "synth64_g2_ties",
    "synth64_r192_n5",
    "synth64_r32_n5",
]


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_survivors_equal_stardists(case: str, shared_data: Path) -> None:
    crowd, stored = load_parity(shared_data / "parity" / f"nms_{case}.npz")
    for thresh, theirs in stored.items():
        ours = set(ops.nms(*crowd, thresh).nonzero()[:, 0].tolist())
        if not case.startswith("random_crowd"):
            assert ours == theirs
        assert len(ours & theirs) >= 0.98 * max(len(ours), len(theirs))
        explain(crowd, thresh, ours, theirs)


def explain(crowd: Crowd, thresh: float, ours: set[int], theirs: set[int]) -> None:
    """Fails unless every difference comes from an overlap within BAND of the threshold, or from another difference."""
    direct = 0
    for j in ours ^ theirs:
        suppressing, other = (
            (ours, theirs) if j in theirs else (theirs, ours)
        )  # j is missing from `suppressing`
        overlaps = better_overlaps(crowd, j, suppressing)
        causes = [i for i, value in overlaps.items() if value > thresh - BAND]
        assert causes, f"nothing suppresses candidate {j}"
        shared = [
            i for i in causes if i in other
        ]  # these had to suppress j in both answers, were it not for the band
        assert all(abs(overlaps[i] - thresh) <= BAND for i in shared)
        direct += len(shared) > 0
    assert direct > 0 or ours == theirs


@pytest.mark.long
def test_an_almost_constant_field_differs_only_through_the_band() -> None:
    """Crowded twins, as untrained networks predict: each decision within the band changes the ones that follow."""
    nms = pytest.importorskip("stardist.nms").non_maximum_suppression_3d_sparse
    their_rays = pytest.importorskip("stardist.rays3d").Rays_GoldenSpiral(16)
    rng, rays, side = np.random.default_rng(0), Rays.golden_spiral(16), 8
    field = ndimage.gaussian_filter(rng.standard_normal((side, side, side, 16)), (1, 1, 1, 0))
    distances = (5.0 + 0.15 * field / field.std()).reshape(-1, 16).astype(np.float32)
    points = 2.0 * np.argwhere(np.ones((side, side, side))).astype(np.float32)
    scores = rng.permutation(len(points)).astype(np.float32)
    crowd = Crowd(torch.from_numpy(points), torch.from_numpy(distances), torch.from_numpy(scores), rays)
    ours = set(ops.nms(*crowd, 0.3).nonzero()[:, 0].tolist())
    kept = nms(distances, scores, points, their_rays, nms_thresh=0.3, verbose=False)[3]
    theirs = set(np.asarray(kept).tolist())
    assert len(ours & theirs) < 0.95 * len(ours), "too easy a case"
    explain(crowd, 0.3, ours, theirs)


def better_overlaps(crowd: Crowd, j: int, among: set[int]) -> dict[int, float]:
    """Overlap by definition of j with the better ones it may touch."""
    reach = crowd.distances.amax(1) + crowd.distances[j].max()
    near = (crowd.points - crowd.points[j]).norm(dim=1) <= reach
    better = sorted(among & set((near & (crowd.scores > crowd.scores[j])).nonzero()[:, 0].tolist()))
    voxels = reference.voxels_inside(crowd.points[j], crowd.distances[j], crowd.rays)
    volume = reference.volume(crowd.distances[j], crowd.rays)
    overlaps = {}
    for i in better:
        shared = reference.inside(voxels, crowd.points[i], crowd.distances[i], crowd.rays).sum().item()
        overlaps[i] = shared / min(reference.volume(crowd.distances[i], crowd.rays), volume)
    return overlaps


@pytest.mark.long
def test_pairs_change_at_stardists_overlap(shared_data: Path) -> None:
    with np.load(shared_data / "parity" / "nms_pairs.npz") as data:
        rays = stored_rays(data)
        pairs = {name: data[name] for name in ("points", "dist", "eff_lo", "eff_hi", "never", "always")}
    count = len(pairs["eff_lo"])
    points, distances = torch.from_numpy(pairs["points"]), torch.from_numpy(pairs["dist"])
    scores = torch.tensor([1.0, 0.5])

    def kept(k: int, thresh: float) -> bool:
        return bool(ops.nms(points[k], distances[k], scores, rays, min(max(thresh, 0.0), 1.0))[1])

    for k in range(count):
        if pairs["never"][k]:
            assert kept(k, 0.0)
        elif pairs["always"][k]:  # nested: analytically 1, counted on voxels up to 0.05 less
            assert not kept(k, 0.949)
        else:
            assert not kept(k, pairs["eff_lo"][k] - BAND)
            assert kept(k, pairs["eff_hi"][k] + BAND) or pairs["eff_hi"][k] + BAND > 1


def test_every_stored_case_is_tested(shared_data: Path) -> None:
    stored = {path.stem.removeprefix("nms_") for path in (shared_data / "parity").glob("nms_*.npz")}
    assert stored - {"pairs", "dense_nuclei"} == set(CASES)


@pytest.mark.parametrize("border", [0, 2])
def test_dense_prediction_gives_stardists_points(border: int, shared_data: Path) -> None:
    with np.load(shared_data / "parity" / "nms_dense_nuclei.npz") as data:
        rays, grid = stored_rays(data), torch.from_numpy(data["grid"])
        inner = np.pad(np.ones(np.array(data["prob"].shape) - 2 * border, bool), border)
        for prob_thresh, nms_thresh in itertools.product((0.3, 0.5), (0.3, 0.5)):
            candidates = (data["prob"] > prob_thresh) & inner
            points = torch.from_numpy(np.argwhere(candidates)) * grid
            distances = torch.from_numpy(data["dist"][candidates]).clamp_min(1e-3)
            expected = set(map(tuple, data[f"points_b{border}_p{prob_thresh}_t{nms_thresh}"].tolist()))
            # Among equal scores StarDist's order is numpy's: let its survivors come first there.
            order = np.unique(data["prob"][candidates], return_inverse=True)[1]
            theirs = torch.tensor([tuple(point) in expected for point in points.tolist()])
            scores = 2.0 * torch.from_numpy(order) + theirs
            ours = points[ops.nms(points.float(), distances, scores.float(), rays, nms_thresh)]
            assert set(map(tuple, ours.tolist())) == expected
