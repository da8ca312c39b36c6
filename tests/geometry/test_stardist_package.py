"""Suppression and rendering against the installed ``stardist`` package, on the nuclei that it brings.

These need no stored answers, so they run in a clone. The stored cases of test_parity.py and test_render.py are larger.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from anystar_torch.geometry import ops, targets
from anystar_torch.geometry.rays import Rays
from tests.geometry.cases import Crowd

STARDIST = pytest.importorskip("stardist")
THRESHOLDS = (0.2, 0.4, 0.6)
RAYS = 32


class Nuclei(NamedTuple):
    """Candidates in the nuclei of the package, the best first.

    Attributes:
        crowd: points, distances with 5 % of noise, scores without ties, rays.
        rays: the same rays, of the package.
        shape: of the volume.
    """

    crowd: Crowd
    rays: object
    shape: tuple[int, ...]


@pytest.fixture(scope="module")
def nuclei() -> Nuclei:
    from stardist.data import test_image_nuclei_3d
    from stardist.rays3d import Rays_GoldenSpiral

    _, mask = test_image_nuclei_3d(return_mask=True)
    labels = torch.from_numpy(np.ascontiguousarray(mask, np.int32))[None, None]
    rays = Rays.golden_spiral(RAYS)
    generator = torch.Generator().manual_seed(5)
    voxels = (targets.object_probability(labels)[0, 0] > 0.4).nonzero()
    points = voxels[torch.randperm(len(voxels), generator=generator)[:500]]
    distances = targets.star_distances(labels, rays)[0][:, *points.T].T
    noisy = (distances * (1 + 0.05 * torch.randn(distances.shape, generator=generator))).clamp_min(0.1)
    scores = torch.linspace(1, 0.5, len(points))
    return Nuclei(Crowd(points.float(), noisy, scores, rays), Rays_GoldenSpiral(RAYS), mask.shape)


def arrays(crowd: Crowd) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    return crowd.points.numpy(), crowd.distances.numpy(), crowd.scores.numpy()


@pytest.mark.long
@pytest.mark.parametrize("thresh", THRESHOLDS)
def test_the_same_candidates_survive(nuclei: Nuclei, thresh: float) -> None:
    from stardist.nms import non_maximum_suppression_3d_sparse

    points, distances, scores = arrays(nuclei.crowd)
    *_, theirs = non_maximum_suppression_3d_sparse(
        distances, scores, points, nuclei.rays, nms_thresh=thresh, verbose=False
    )
    ours = set(ops.nms(*nuclei.crowd, thresh).nonzero()[:, 0].tolist())
    different = ours ^ set(theirs.tolist())  # StarDist's bounds decide where an overlap is at the threshold
    assert 20 < len(ours) < 200
    assert len(different) <= 0.02 * len(ours)


def test_the_same_voxels_are_rendered(nuclei: Nuclei) -> None:
    from stardist.geometry import polyhedron_to_label

    points, distances, scores = arrays(nuclei.crowd)
    kept = ops.nms(*nuclei.crowd, 0.4).numpy()
    expected = polyhedron_to_label(
        distances[kept], points[kept], nuclei.rays, nuclei.shape, prob=scores[kept], verbose=False
    )
    ours = ops.render_labels(
        torch.from_numpy(points[kept]), torch.from_numpy(distances[kept]), nuclei.crowd.rays, nuclei.shape
    )
    assert expected.max() == kept.sum()
    np.testing.assert_array_equal(ours.numpy(), expected)
