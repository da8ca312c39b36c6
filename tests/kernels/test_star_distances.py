"""Star distances of the Triton kernel are those of the C++ kernel and of the torch operators, bit for bit."""

import pytest
import torch

from anystar_torch.geometry import targets
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.implementations import forced
from tests.kernels.cases import SHAPES, adversarial, blobs

kernels = pytest.importorskip("anystar_torch.kernels.triton.star_distances")
pytestmark = pytest.mark.interpreter

RAYS = Rays.golden_spiral(5)  # 4 k + 1 rays: one has components of exactly 1/2, so that rounding ties
LABELS = adversarial()


def everywhere(labels, rays, grid):
    found = {}
    for name in ("triton", "native", "torch"):
        with forced(name):
            found[name] = targets.star_distances(labels, rays, grid)
    assert found["native"].any() == (labels > 0).any()
    return found


def check(labels, rays=RAYS, grid=(1, 1, 1)):
    found = everywhere(labels, rays, grid)
    assert torch.equal(found["triton"], found["native"])
    assert torch.equal(found["torch"], found["native"])


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    check(blobs(shape))


@pytest.mark.parametrize("grid", [(2, 2, 2), (1, 2, 2), (3, 1, 5)])
def test_grids(grid):
    check(blobs((6, 17, 23)), grid=grid)


@pytest.mark.parametrize("name", LABELS)
def test_adversarial_labels(name):
    check(LABELS[name])


def test_anisotropic_rays_and_half_voxels():
    half = torch.tensor([[0.5, 0.5, 0.5**0.5], [-0.5, 0.5**0.5, 0.5], [0, 0.6, -0.8]])
    vertices = torch.cat([half, Rays.golden_spiral(5, (3.0, 1.0, 0.5)).vertices])
    check(blobs((5, 21, 22), samples=1, ids=2), Rays(vertices, torch.zeros(1, 3, dtype=torch.int64)))


def test_a_single_ray():
    check(blobs((1, 4, 9), samples=1), Rays(RAYS.vertices[:1], RAYS.faces))


def test_views_and_empty_batches():
    labels = blobs((7, 5, 9)).transpose(2, 4)
    check(labels)
    with forced("triton"):
        assert targets.star_distances(labels[:0], RAYS, (2, 2, 2)).shape == (0, 5, 5, 3, 4)


def test_tiles_as_a_gpu_has_them(monkeypatch):
    for name, size in (("TILE_Z", 1), ("TILE_Y", 4), ("TILE_X", 16), ("RAYS", 2)):
        monkeypatch.setattr(kernels, name, size)
    check(blobs((2, 9, 20), samples=1), grid=(1, 2, 1))


def test_rays_that_lead_nowhere_end():
    with forced("triton"):
        nowhere = Rays(torch.zeros(1, 3), RAYS.faces)
        assert (targets.star_distances(blobs((3, 4, 5)), nowhere) == 0).all()


def test_axes_too_long_to_round_are_refused():
    labels = torch.empty(1, 1, 1, 1, kernels.LONGEST_AXIS + 1, dtype=torch.int32)
    with forced("triton"), pytest.raises(ValueError, match="at most"):
        targets.star_distances(labels, RAYS)
