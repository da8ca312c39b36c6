"""Mirror images: brought back they say of a volume what the network says of it, for every ray and grid."""

import itertools

import numpy as np
import pytest
import torch

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.test_time_augmentation import Mirror, all_mirrors
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network.stardist import Prediction
from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

CPU = torch.device("cpu")
AXES = [axes for n in range(1, 4) for axes in itertools.combinations(range(3), n)]


class Knows(Sees):
    """Knows the distances to a ball around the brightest voxel, from every grid point inside it."""

    def forward(self, image):
        shape = image.shape[2:]
        centre = torch.tensor(np.unravel_index(int(image.argmax()), shape), dtype=torch.float32)
        place = torch.stack(torch.meshgrid(*[torch.arange(n).float() for n in shape], indexing="ij"), -1)
        gz, gy, gx = self.grid
        offset = (place - centre)[::gz, ::gy, ::gx]
        along = offset @ self.rays.vertices.T
        inside = RADIUS**2 - offset.square().sum(-1, keepdim=True)
        distances = torch.sqrt((along.square() + inside).clamp_min(0)) - along
        probability = (inside[..., 0] > 0).float() * self.gain
        return Prediction(probability[None, None], distances.clamp_min(0).permute(3, 0, 1, 2)[None])


@pytest.mark.parametrize("axes", AXES)
def test_mirrored_rays_are_made_of_the_rays_around_them(axes):
    rays = Rays.golden_spiral(96, (2.0, 1.0, 1.0))
    mirror = Mirror.of(rays, axes)
    turned = rays.vertices.clone()
    turned[:, list(axes)] *= -1
    made = (mirror.weights[..., None] * rays.vertices[mirror.corners]).sum(1)
    assert torch.allclose(made / made.norm(dim=1, keepdim=True), turned, atol=1e-5)
    assert torch.allclose(mirror.weights.sum(1), torch.tensor(1.0))
    faces = {tuple(sorted(face)) for face in rays.faces.tolist()}
    assert all(tuple(sorted(corners)) in faces for corners in mirror.corners.tolist())


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2), (1, 2, 4)])
@pytest.mark.parametrize("rays", [96, 192])
def test_every_mirror_image_gives_the_ball_back(grid, rays):
    network = Knows(grid, rays=rays).eval()
    volume = np.zeros((24, 24, 24), np.float32)
    volume[11, 13, 10] = 1
    scaling = Scaling(volume.shape, volume.shape)
    start = tuple(1 - g for g in grid)
    box = ResampledVolume(volume, scaling, IntensityRange(0.0, 1.0, True)).box(start, volume.shape)
    direct = network(torch.from_numpy(volume)[None, None])
    inside = direct.probability[0, 0] > 0
    assert inside.sum() > 20
    for mirror in all_mirrors(network.rays):
        total = Prediction(torch.zeros_like(direct.probability), torch.zeros_like(direct.distances))
        mirror.accumulate(network(mirror.apply(box, network.grid)), total, 1.0)
        assert torch.equal(total.probability, direct.probability)
        apart = (total.distances - direct.distances)[0][:, inside].abs()
        # Seen from beside its surface a ball is near in half of the directions: what lies between rays is a guess.
        assert apart.max() < (1.0 if rays == 192 else 1.5)
        assert apart.mean() < (0.05 if rays == 192 else 0.1)
        middle = (scores := direct.distances.min(1).values[0]) == scores.max()
        assert (total.distances - direct.distances)[0][:, middle].abs().max() < 0.1


def test_the_mean_is_taken_over_eight_images():
    class Counts(Sees):
        def forward(self, image):
            self.seen.append(image.clone())
            value = torch.full_like(image, len(self.seen) / 10)
            return Prediction(value, value.expand(-1, len(self.rays), -1, -1, -1) * 10)

    network = Counts().eval()
    image = torch.rand(2, 1, 4, 4, 8)
    found = TileNetwork(network, CPU, tta=True)(image)
    assert len(network.seen) == 8
    assert len({tuple(seen.flatten().tolist()) for seen in network.seen}) == 8
    for seen in network.seen:
        assert torch.equal(seen.flatten().sort().values, image.flatten().sort().values)
    assert torch.allclose(found.probability, torch.tensor(0.45))
    assert found.distances.shape == (2, 32, 4, 4, 8)


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2)])
def test_objects_are_the_same_with_and_without_mirror_images(grid):
    """The network has no preferred direction, so that mirror images must change nothing, in tiles or not."""
    image, _ = balls((40, 44, 52), lattice((40, 44, 52), 13))
    plain = AnyStar(Sees(grid).eval(), config(), coarse_pass=False).predict(
        image, diameter=13, device="cpu", progress=False
    )
    for size in (None, (24, 32, 32)):
        options = TileOptions(size=size, halo=(0, 0, 0))
        model = AnyStar(Sees(grid).eval(), config(), tta=True, coarse_pass=False, tile_options=options)
        found = model.predict(image, diameter=13, device="cpu", progress=False)
        assert len(model.network.seen) >= (8 if size is None else 16)
        assert np.array_equal(found.points, plain.points)
        assert len(found) > 20
        assert found.distances == pytest.approx(plain.distances, abs=4e-3)  # they are kept as float16
