import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import targets
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.distance_transform import torch_probability
from anystar_torch.kernels.star_distances import torch_star_distances
from tests.geometry.test_distance_transform import random_labels
from tests.residency import Residency

STARDIST = pytest.importorskip("stardist.geometry")
EDT_PROB = pytest.importorskip("stardist.utils").edt_prob


def distances_in_torch(labels, rays, grid=(1, 1, 1)):
    """The plain torch implementation, for every device."""
    return torch_star_distances(labels, rays.vertices, tuple(grid))


def probability_in_torch(labels, grid=(1, 1, 1), anisotropy=(1, 1, 1)):
    return torch_probability(labels, tuple(grid), tuple(map(float, anisotropy)))


DISTANCES = [targets.star_distances, distances_in_torch]
PROBABILITY = [targets.object_probability, probability_in_torch]


def squares(distances):
    """Integers, exactly."""
    square = distances.double().square()
    whole = square.round()
    assert (square - whole).abs().max() < 0.1
    assert np.array_equal(np.sqrt(whole.float().numpy()), distances.numpy())  # correctly rounded
    return whole.long()


def stardists(labels, rays, grid):
    """star_dist3D of one sample, as [R, d, h, w] squared; its ids are made to fit 16 bits."""
    _, small = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    small = small[1:].reshape(labels.shape).astype(np.uint16)
    oracle = STARDIST.star_dist3D(small, _AsStarDist(rays), grid=grid)
    return squares(torch.from_numpy(np.moveaxis(oracle, -1, 0).copy()))


class _AsStarDist:
    def __init__(self, rays):
        self.vertices = rays.vertices.numpy()

    def __len__(self):
        return len(self.vertices)


PARITY = """nuclei_n96_g222_aNone nuclei_n32_g122_aNone nuclei_n64_g244_a2-1-1 crop_n96_g222_aNone
    crop_n32_g122_aNone crop_n64_g244_a2-1-1 small_n96_g222_aNone small_n32_g111_aNone small_n32_g122_aNone
    small_n64_g244_a2-1-1 small_n96_g111_aNone small_n192_g111_aNone small_n96_g111_a3-1-1
    nuclei_n32_g111_aNone crop_n32_g111_aNone"""


@pytest.mark.long
@pytest.mark.parametrize("distances", DISTANCES)
@pytest.mark.parametrize("case", PARITY.split())
def test_stored_star_distances(shared_data, case, distances):
    cases = np.load(shared_data / "parity" / "star_dist3d.npz")
    name, n, grid, anisotropy = case.split("_")
    anisotropy = (1.0, 1.0, 1.0) if anisotropy == "aNone" else tuple(map(float, anisotropy[1:].split("-")))
    labels = torch.from_numpy(cases[f"lbl_{name}"].astype(np.int32))[None, None]
    ours = distances(labels, Rays.golden_spiral(int(n[1:]), anisotropy), tuple(map(int, grid[1:])))
    oracle = torch.from_numpy(cases[f"dist2_{case}"].astype(np.int64)).movedim(-1, 0)
    assert torch.equal(squares(ours[0]), oracle)


@pytest.mark.parametrize("distances", DISTANCES)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 24)] * 3),
    grid=st.tuples(*[st.sampled_from([1, 2, 4])] * 3),  # the oracle takes powers of two only
    n=st.sampled_from(
        [5, 9, 13, 17, 33, 40]
    ),  # 4 k + 1 rays: components of exactly 1/2, so that rounding ties
    anisotropy=st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 3.3, 0.5)]),
)
def test_generated_star_distances(distances, seed, shape, grid, n, anisotropy):
    labels = random_labels(seed, shape, ids=3, scale=1.5)
    rays = Rays.golden_spiral(n, anisotropy)
    ours = distances(torch.from_numpy(labels)[None, None], rays, grid)
    assert torch.equal(squares(ours[0]), stardists(labels, rays, grid))


@pytest.mark.parametrize("distances", DISTANCES)
def test_rays_along_half_voxels_round_as_stardists(distances):
    half = torch.tensor(
        [[1, 0, 0], [0.5, 0.5, 0.5**0.5], [0.5, -0.5, 0.5**0.5], [-0.5, 0.5**0.5, 0.5], [0, 0.6, -0.8]]
    )
    rays = Rays(half, torch.zeros(1, 3, dtype=torch.int64))
    labels = random_labels(3, (21, 22, 23), ids=2, scale=3)
    ours = distances(torch.from_numpy(labels)[None, None], rays, (1, 1, 1))
    assert torch.equal(squares(ours[0]), stardists(labels, rays, (1, 1, 1)))


@pytest.mark.parametrize("distances", DISTANCES)
def test_long_rays_through_large_volumes(distances):
    labels = np.ones((4, 300, 500), np.int32)
    labels[:, :, 490:] = 2
    rays = Rays.golden_spiral(33, (8, 1, 1))
    ours = distances(torch.from_numpy(labels)[None, None], rays, (2, 32, 64))
    assert torch.equal(squares(ours[0]), stardists(labels, rays, (2, 32, 64)))


@pytest.mark.parametrize("distances", DISTANCES)
@pytest.mark.parametrize("grid", [(3, 1, 5), (7, 30, 2)])
def test_any_grid_is_a_subsampling(distances, grid):
    labels = torch.from_numpy(random_labels(2, (14, 15, 16)))[None, None]
    rays = Rays.golden_spiral(40)
    z, y, x = grid
    assert torch.equal(distances(labels, rays, grid), distances(labels, rays, (1, 1, 1))[..., ::z, ::y, ::x])


@pytest.mark.parametrize("distances", DISTANCES)
def test_ids_to_the_limit_do_not_wrap(distances):
    small = random_labels(5, (16, 17, 18), ids=4)
    names = np.array([0, 1, 65_537, 2**31 - 1], dtype=np.int32)  # 1 and 65,537 are one object to StarDist
    rays = Rays.golden_spiral(16)
    ours = distances(torch.from_numpy(names[small])[None, None], rays, (1, 1, 1))
    assert torch.equal(squares(ours[0]), stardists(small, rays, (1, 1, 1)))


@pytest.mark.long
@pytest.mark.parametrize("distances", DISTANCES)
def test_distances_of_a_ball(distances):
    z, y, x = np.indices((41, 41, 41)) - 20
    labels = torch.from_numpy((z**2 + y**2 + x**2 <= 12**2).astype(np.int32))[None, None]
    ours = distances(labels, Rays.golden_spiral(64), (1, 1, 1))[0, :, 20, 20, 20]
    assert ((ours > 11.5) & (ours < 14)).all()


@pytest.mark.parametrize("distances", DISTANCES)
def test_each_sample_of_a_batch_is_itself(distances):
    labels = torch.stack([torch.from_numpy(random_labels(s, (9, 17, 13)))[None] for s in range(5)])
    rays = Rays.golden_spiral(40)
    together = distances(labels, rays, (1, 2, 2))
    assert together.shape == (5, 40, 9, 9, 7)
    for alone, sample in zip(labels, together, strict=True):
        assert torch.equal(distances(alone[None], rays, (1, 2, 2))[0], sample)


@pytest.mark.parametrize("distances", DISTANCES)
def test_background_has_no_distances(distances):
    labels = torch.zeros(2, 1, 4, 5, 6, dtype=torch.int32)
    labels[1, 0, 2, 2, 2] = -1
    assert (distances(labels, Rays.golden_spiral(8), (1, 1, 1)) == 0).all()
    assert distances(labels[:0], Rays.golden_spiral(8), (1, 2, 3)).shape == (0, 8, 4, 3, 2)


PROBABILITY_CASES = [
    f"{name}_a{a}" for name in ("nuclei", "crop", "small") for a in ("None", "2-1-1", "1-2-3")
]


@pytest.mark.parametrize("probability", PROBABILITY)
@pytest.mark.parametrize("case", [*PROBABILITY_CASES, "const_aNone"])
def test_stored_probabilities(shared_data, case, probability):
    cases = np.load(shared_data / "parity" / "edt_prob.npz")
    name, anisotropy = case.split("_")
    anisotropy = (1, 1, 1) if anisotropy == "aNone" else tuple(map(float, anisotropy[1:].split("-")))
    labels = torch.from_numpy(cases[f"lbl_{name}"].astype(np.int32))[None, None]
    for grid in ((1, 1, 1), (2, 1, 3)):
        z, y, x = grid
        ours = probability(labels, grid, anisotropy)[0, 0].numpy()
        np.testing.assert_allclose(ours, cases[f"edt_{case}"][::z, ::y, ::x], atol=1e-5, rtol=0)


@pytest.mark.long
@pytest.mark.parametrize("probability", PROBABILITY)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(2, 30)] * 3),
    grid=st.tuples(*[st.integers(1, 3)] * 3),
    anisotropy=st.tuples(*[st.sampled_from([1, 2.0, 0.7, 3.3])] * 3),
)
def test_generated_probabilities(probability, seed, shape, grid, anisotropy):
    labels = random_labels(seed, shape)
    labels[0, 0, 0], labels[-1, -1, -1] = 0, 1  # not constant
    names = np.random.default_rng(seed).permutation(2**20)[: labels.max() + 1] * 2000 + 1
    names[0] = 0
    ours = probability(torch.from_numpy(names.astype(np.int32)[labels])[None, None], grid, anisotropy)
    oracle = EDT_PROB(labels, anisotropy=anisotropy)[:: grid[0], :: grid[1], :: grid[2]]
    np.testing.assert_allclose(ours[0, 0].numpy(), oracle, atol=1e-5, rtol=0)


@pytest.mark.parametrize("probability", PROBABILITY)
def test_probability_of_a_batch_and_its_range(probability):
    labels = torch.stack([torch.from_numpy(random_labels(s, (9, 17, 13)))[None] for s in range(5)])
    labels[1] = 3
    labels[2] = 0
    together = probability(labels, (2, 1, 1), (1.0, 1.5, 1.0))
    for alone, sample in zip(labels, together, strict=True):
        assert torch.equal(probability(alone[None], (2, 1, 1), (1.0, 1.5, 1.0))[0], sample)
    assert torch.equal(together > 0, labels[:, :, ::2] > 0)
    full = probability(labels, (1, 1, 1), (1, 1, 1))
    for sample, prob in zip(labels, full, strict=True):
        for name in sample.unique()[1:]:
            assert prob[sample == name].max() == 1


def test_on_the_device_with_a_fixed_number_of_operators():
    rays = Rays.golden_spiral(96).to("meta")
    counts = set()
    for batch in (2, 16):
        labels = torch.empty(batch, 1, 24, 32, 40, dtype=torch.int32, device="meta")
        with Residency("meta") as mode:
            distances = targets.star_distances(labels, rays, (1, 2, 2))
            probability = targets.object_probability(labels, (1, 2, 2), (2, 1, 1))
        assert distances.shape == (batch, 96, 24, 16, 20)
        assert probability.shape == (batch, 1, 24, 16, 20)
        counts.add(mode.count)
    assert len(counts) == 1


def test_torch_path_reads_no_values():
    """The same operators on real values, so no branch depends on what the labels are."""
    rays = Rays.golden_spiral(40)
    counts = set()
    for labels in (torch.zeros(1, 1, 12, 13, 14, dtype=torch.int32), random_labels(1, (12, 13, 14))):
        labels = torch.as_tensor(labels).view(1, 1, 12, 13, 14)
        with Residency("cpu") as mode:
            distances_in_torch(labels, rays)
            probability_in_torch(labels)
        counts.add(mode.count)
    assert len(counts) == 1


@pytest.mark.parametrize("grid", [(1, 1), (0, 1, 1), (1, -2, 1), (1, 1, 1, 1)])
def test_bad_grid_is_refused(grid):
    labels = torch.zeros(1, 1, 2, 2, 2, dtype=torch.int32)
    for call in (
        lambda: targets.star_distances(labels, Rays.golden_spiral(8), grid),
        lambda: targets.object_probability(labels, grid),
    ):
        with pytest.raises(ValueError, match="grid must be three positive integers"):
            call()


def test_bad_labels_are_refused():
    rays = Rays.golden_spiral(8)
    some = torch.zeros(1, 1, 2, 2, 2, dtype=torch.int32)
    with pytest.raises(ValueError, match="on the device of the labels"):
        targets.star_distances(some, rays.to("meta"))
    for vertices in (rays.vertices * 1.1, rays.vertices * 0, rays.vertices * torch.nan):
        with pytest.raises(ValueError, match="unit length"):
            targets.star_distances(some, Rays(vertices, rays.faces))
    with pytest.raises(ValueError, match="at least one voxel"):
        targets.star_distances(torch.zeros(1, 1, 0, 2, 2, dtype=torch.int32), rays)
    for labels in (torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)):
        with pytest.raises(TypeError):
            targets.star_distances(labels, rays)
        with pytest.raises(TypeError):
            targets.object_probability(labels)
    with pytest.raises(ValueError, match="anisotropy"):
        targets.object_probability(torch.zeros(1, 1, 2, 2, 2, dtype=torch.int32), (1, 1, 1), (1, 0, 1))
