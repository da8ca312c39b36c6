import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry.rays import Rays
from tests.residency import Residency

ANISOTROPIES = {
    "None": (1, 1, 1),
    "2-1-1": (2, 1, 1),
    "4-1-1": (4, 1, 1),
    "1-2-3": (1, 2, 3),
    "3.2-1.0-1.1": (3.2, 1.0, 1.1),
}


@pytest.mark.parametrize("name", ANISOTROPIES)
@pytest.mark.parametrize("n", [8, 16, 32, 64, 70, 96, 128, 192])
def test_vertices_and_faces_are_stardists(shared_data, n, name):
    cases = np.load(shared_data / "parity" / "rays.npz")
    rays = Rays.golden_spiral(n, ANISOTROPIES[name])
    np.testing.assert_allclose(
        rays.vertices.numpy(), cases[f"golden_n{n}_a{name}__vertices"], atol=1e-6, rtol=0
    )
    # the triangulation is Qhull's and may differ where four points lie on a circle; the orientation may not
    if n in (32, 96):
        ours, theirs = (
            {_rotated(face) for face in faces.tolist()}
            for faces in (rays.faces, cases[f"golden_n{n}_a{name}__faces"])
        )
        assert ours == theirs


def _rotated(face):
    start = face.index(min(face))
    return tuple(face[start:] + face[:start])


@pytest.mark.long
@pytest.mark.parametrize("anisotropy", [(1, 1, 1), (4, 1, 1), (1, 2, 3)])
def test_every_ray_count_gives_a_closed_outward_surface(anisotropy):
    for n in range(5, 257):
        rays = Rays.golden_spiral(n, anisotropy)
        faces = rays.faces.numpy()
        assert len(rays) == n
        assert faces.shape == (2 * n - 4, 3)  # Euler: a closed triangulated sphere over all n points
        assert set(faces.ravel()) == set(range(n))
        edges = [(f[i], f[(i + 1) % 3]) for f in faces for i in range(3)]
        assert len(set(edges)) == len(edges)  # each directed edge once: consistently oriented
        assert set(edges) == {(b, a) for a, b in edges}  # and its reverse once: closed
        corners = rays.vertices.double().numpy()[faces][..., ::-1]  # (x, y, z)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (np.einsum("fi,fi->f", normal, corners.mean(1)) > 0).all()
        assert torch.allclose(rays.vertices.norm(dim=1), torch.ones(n), atol=1e-6)


@pytest.mark.parametrize("n", [96, 256])
def test_volume_of_spheres(n):
    rays = Rays.golden_spiral(n)
    radius = torch.tensor([0.5, 1.0, 7.0, 40.0])
    distances = radius[:, None].expand(4, n)
    volume = rays.volume(distances)
    inscribed = 1 - 10 / n  # the inscribed polyhedron misses a share of the ball that shrinks as 1 / n
    ball = 4 / 3 * math.pi * radius**3
    assert ((volume < ball) & (volume > inscribed * ball)).all()
    torch.testing.assert_close(volume / radius**3, volume[1].expand(4), rtol=1e-5, atol=0)


def test_error_on_the_ball_vanishes_with_more_rays():
    misses = [
        1 - float(Rays.golden_spiral(n).volume(torch.ones(n))) / (4 / 3 * math.pi) for n in (64, 256, 1024)
    ]
    assert misses[2] < 0.01
    assert misses[0] / misses[1] == pytest.approx(4, rel=0.15)
    assert misses[1] / misses[2] == pytest.approx(4, rel=0.15)


def test_volume_is_stardists(shared_data):
    cases = np.load(shared_data / "parity" / "rays.npz")
    rays = Rays.golden_spiral(96)
    distances = torch.from_numpy(cases["vol_dist"])
    np.testing.assert_allclose(rays.volume(distances).numpy(), cases["vol_volume"], rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(5, 130), seed=st.integers(0, 999), a=st.tuples(*[st.floats(0.3, 4.0)] * 3))
def test_random_polyhedra_against_stardist(n, seed, a):
    oracle = pytest.importorskip("stardist.rays3d").Rays_GoldenSpiral(n, anisotropy=a)
    rays = Rays.golden_spiral(n, a)
    np.testing.assert_allclose(rays.vertices.numpy(), oracle.vertices, atol=1e-6, rtol=0)
    distances = torch.rand(2, 3, n, generator=torch.Generator().manual_seed(seed)) * 20 + 0.1
    np.testing.assert_allclose(
        rays.volume(distances).numpy(), oracle.volume(distances.numpy()), rtol=2e-4, atol=1e-3
    )


def test_scaled_rays_span_the_resampled_polyhedron(shared_data):
    rays = Rays.golden_spiral(96)
    scaled = rays.scaled((2.0, 1.0, 1.0))
    np.testing.assert_allclose(
        scaled.vertices.numpy(),
        np.load(shared_data / "parity" / "rays.npz")["copy_scale_211_vertices"],
        atol=1e-6,
    )
    distances = torch.rand(4, 96) + 1
    torch.testing.assert_close(scaled.volume(distances), 2 * rays.volume(distances))


def test_config_round_trip():
    rays = Rays.golden_spiral(48, (2, 1, 1))
    again = Rays.golden_spiral(**rays.config)
    assert torch.equal(again.vertices, rays.vertices)
    assert torch.equal(again.faces, rays.faces)
    assert rays.config == {"n": 48, "anisotropy": [2.0, 1.0, 1.0]}


def test_on_the_device():
    rays = Rays.golden_spiral(32).to("meta")
    distances = torch.empty(4, 5, 32, device="meta")
    with Residency("meta"):
        assert rays.volume(distances).shape == (4, 5)
        assert rays.scaled((2.0, 1.0, 1.0)).vertices.device.type == "meta"


@pytest.mark.parametrize("n", [-1, 0, 4])
def test_too_few_rays_are_refused(n):
    with pytest.raises(ValueError, match=f"at least 5 rays, got {n}"):
        Rays.golden_spiral(n)


@pytest.mark.parametrize("bad", [(1, 1), (1, 1, 0), (1, -1, 1), (1, float("nan"), 1), (1, float("inf"), 1)])
def test_bad_anisotropy_is_refused(bad):
    with pytest.raises(ValueError, match="three positive numbers"):
        Rays.golden_spiral(32, bad)


def test_wrong_number_of_distances_is_refused():
    with pytest.raises(ValueError, match=r"\[\.\.\., 32\]"):
        Rays.golden_spiral(32).volume(torch.ones(2, 31))
    with pytest.raises(ValueError, match="positive"):
        Rays.golden_spiral(32).scaled((1.0, -1.0, 1.0))
