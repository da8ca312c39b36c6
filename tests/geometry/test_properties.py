"""Suppression and rendering equal their definitions for all polyhedra."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import polyhedra as reference
from tests.geometry.cases import Crowd, random_crowd

THRESHOLDS = [0.0, 0.05, 0.3, 0.5, 0.9, 1.0]


class Recipe(NamedTuple):
    """What a crowd is made from: convex or spiky, lattice or fractional centres, tied scores, tiny or large."""

    seed: int
    n: int
    rays: int
    anisotropy: tuple[float, float, float]
    extent: float
    radius: float
    roughness: float
    lattice: bool  # centres and lengths are whole: many voxel centres lie on the surface, exactly
    ties: bool
    far: bool

    def make(self) -> Crowd:
        rays = Rays.golden_spiral(self.rays, self.anisotropy)
        sizes = {"extent": self.extent, "radius": self.radius, "roughness": self.roughness}
        crowd = random_crowd(self.seed, self.n, rays=rays, **sizes)
        if self.lattice:
            crowd = crowd._replace(points=crowd.points.round(), distances=crowd.distances.ceil())
        if self.ties:
            crowd = crowd._replace(scores=crowd.scores.round())
        return crowd._replace(points=crowd.points - 100.5) if self.far else crowd


def recipes(largest: int = 10) -> st.SearchStrategy[Recipe]:
    return st.builds(
        Recipe,
        seed=st.integers(0, 2**31),
        n=st.integers(0, largest),
        rays=st.sampled_from([5, 8, 13, 20]),
        anisotropy=st.sampled_from([(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.0, 2.0, 3.0)]),
        extent=st.sampled_from([1.0, 5.0, 9.0]),
        radius=st.sampled_from([0.4, 2.0, 3.0]),
        roughness=st.sampled_from([0.0, 0.1, 0.6]),
        lattice=st.booleans(),
        ties=st.booleans(),
        far=st.booleans(),
    )


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(recipe=recipes(), thresh=st.sampled_from(THRESHOLDS))
def test_suppression_equals_its_definition(recipe: Recipe, thresh: float) -> None:
    crowd = recipe.make()
    assert torch.equal(ops.nms(*crowd, thresh), reference.nms(*crowd, thresh))


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(recipe=recipes(largest=5), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_rendering_equals_its_definition(recipe: Recipe, shape: tuple[int, int, int]) -> None:
    crowd = recipe.make()
    points = crowd.points - crowd.points.amin(0).floor() if len(crowd.points) else crowd.points
    labels = ops.render_labels(points, crowd.distances, crowd.rays, shape)
    assert torch.equal(labels, reference.render_labels(points, crowd.distances, crowd.rays, shape))


def survivors(crowd: Crowd, thresh: float) -> list[list[float]]:
    """The polyhedra that survive, as sorted rows: which of two identical ones survives does not matter."""
    keep = ops.nms(*crowd, thresh)
    return sorted(torch.cat([crowd.scores[:, None], crowd.points, crowd.distances], dim=1)[keep].tolist())


@settings(max_examples=40, deadline=None)
@given(recipe=recipes(largest=60), thresh=st.sampled_from(THRESHOLDS), seed=st.integers(0, 2**31))
def test_suppression_does_not_depend_on_the_order_of_arrival(
    recipe: Recipe, thresh: float, seed: int
) -> None:
    crowd = recipe.make()
    shuffle = torch.randperm(len(crowd.points), generator=torch.Generator().manual_seed(seed))
    shuffled = crowd._replace(
        **{name: getattr(crowd, name)[shuffle] for name in ("points", "distances", "scores")}
    )
    assert survivors(shuffled, thresh) == survivors(crowd, thresh)


@settings(max_examples=40, deadline=None)
@given(recipe=recipes(), thresh=st.sampled_from(THRESHOLDS))
def test_survivors_survive_alone(recipe: Recipe, thresh: float) -> None:
    crowd = recipe.make()
    keep = ops.nms(*crowd, thresh)
    assert ops.nms(*(part[keep] for part in crowd[:3]), crowd.rays, thresh).all()
