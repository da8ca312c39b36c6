"""The kernels of a scene: Triton, C++ and plain operators give the same, on shapes and values that are unusual too."""

import pytest
import torch

from anystar_torch.generator.scene.perlin import lattice_noise
from anystar_torch.generator.scene.shapes import ABSENT
from anystar_torch.kernels.balls import aim_at_balls, star_reach
from anystar_torch.kernels.implementations import forced
from anystar_torch.kernels.lattice import gradient_noise, sample, sample_periodic, strongest_field
from anystar_torch.kernels.shading import VoxelFields, emitting
from anystar_torch.kernels.shading import intensities as intensities_of
from anystar_torch.random.source import Source

NAMES = ["native", pytest.param("triton", marks=pytest.mark.interpreter)]
SHAPES = [(1, 1, 1), (3, 1, 70), (2, 9, 31)]
each = pytest.mark.parametrize("name", NAMES)
shapes = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def uniform(random, *shape, low=0.0, high=1.0):
    return torch.rand(shape, generator=random) * (high - low) + low


def compared(name, function, **tolerance):
    """The result of an implementation, checked against the other two, and that a sample alone is the same."""
    with forced("torch"):
        wanted = function(slice(None))
    with forced("native"):
        native = function(slice(None))
    with forced(name):
        found, alone = function(slice(None)), function(slice(1, 2))
    results = [x if isinstance(x, tuple) else (x,) for x in (found, wanted, native, alone)]
    for here, there, cpp, single in zip(*results, strict=True):
        assert torch.equal(here[1:2], single)
        if here.dtype == torch.float32:
            torch.testing.assert_close(here, cpp, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(here, there, **tolerance)
        else:
            assert torch.equal(here, cpp)
            assert (here == there).float().mean() > 0.995  # ties within rounding fall to either side
    return found


@each
@shapes
@pytest.mark.parametrize("nodes", [(1, 1, 1), (2, 5, 4), (7, 1, 3)])
def test_fields_at_positions(name, shape, nodes, random):
    fields = uniform(random, 2, 2, *nodes, low=-1.0)
    position = uniform(random, 2, 3, *shape, low=-12.0, high=12.0)
    position[0, :, 0, 0, 0] = torch.tensor([-8.0, 0.0, 1e6])
    half, middle = (8.0, 5.0, 3.0), (1.5, 0.0, -2.0)
    compared(name, lambda b: sample(fields[b], position[b], half, middle), rtol=1e-5, atol=1e-5)


@each
@shapes
@pytest.mark.parametrize("nodes", [(1, 2, 3), (4, 6, 8)])
def test_periodic_fields_at_positions(name, shape, nodes, random):
    fields = uniform(random, 2, 1, *nodes, low=-1.0)
    position = uniform(random, 2, 3, *shape, low=-40.0, high=40.0)
    position[:, :, 0, 0, 0] = torch.tensor([[-1e-9, 8.0, -24.0], [0.0, -0.5, 23.999]])
    compared(name, lambda b: sample_periodic(fields[b], position[b]), rtol=1e-4, atol=2e-4)


@each
@shapes
def test_the_strongest_field(name, shape, random):
    fields = uniform(random, 4, 7, 3, 4, 5, low=-1.0)
    warp = uniform(random, 4, 3, 5, 4, 3, low=-9.0, high=9.0)
    position = uniform(random, 4, 3, *shape, low=-30.0, high=30.0)
    count = torch.tensor([7, 3, 1, 0], dtype=torch.int32)
    half = (20.0, 21.0, 22.0)
    found = compared(name, lambda b: strongest_field(fields[b], position[b], half, count[b], warp[b]))
    assert found[1].max() < 3
    assert found[2:].max() == 0
    same = fields[:, :1].expand(-1, 7, -1, -1, -1)
    with forced(name):
        assert strongest_field(same, position, half).max() == 0  # the first of equal fields


@each
@pytest.mark.parametrize("nodes", [(8, 4, 2), (5, 1, 13), (1, 1, 1)])
def test_sums_of_resampled_lattices(name, nodes):
    source = Source.of(torch.arange(2), seed=0, split="test")
    with forced("torch"):
        wanted = lattice_noise(source, 2, (16, 8, 4), (2, 4, 8, 16), nodes)
    with forced(name):
        found = lattice_noise(source, 2, (16, 8, 4), (2, 4, 8, 16), nodes)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@each
@pytest.mark.parametrize(("corners", "samples"), [((2, 2, 2), 1), ((3, 4, 5), 4), ((2, 5, 3), 3)])
def test_gradient_noise(name, corners, samples, random):
    gradients = uniform(random, 2, 3, *corners, low=-1.0)
    compared(name, lambda b: gradient_noise(gradients[b], samples), rtol=1e-5, atol=1e-6)


@each
@shapes
def test_balls_and_places_on_them(name, shape, random):
    lattice = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in (2, 4, 5)], indexing="ij"))
    centre = lattice * 10.0 + uniform(random, 2, 3, 2, 4, 5, low=-3.0, high=3.0)
    radius = uniform(random, 2, 2, 4, 5, low=3.0, high=6.0)
    radius[0, :, 1:3] = ABSENT
    pitch = torch.tensor([10.0, 10.5])
    position = uniform(random, 2, 3, *shape, low=-20.0, high=40.0)
    position[0, :, 0, 0, 0] = 1e5

    def found(b):
        return aim_at_balls(centre[b], radius[b], pitch[b], position[b], (5.0, 4.0, 3.0))

    compared(name, found, rtol=1e-5, atol=1e-5)


@each
@shapes
def test_how_far_stars_reach(name, shape, random):
    stars = uniform(random, 2, 6, 8, low=0.3)
    noise = uniform(random, 2, 1, 4, 5, 6, low=-0.6, high=0.6)
    ball = torch.randint(0, 6, (2, 1, *shape), dtype=torch.int32, generator=random)
    radius = uniform(random, 2, 1, *shape, low=3.0, high=9.0)
    direction = torch.nn.functional.normalize(uniform(random, 2, 3, *shape, low=-1.0), dim=1)

    def reach(b):
        return star_reach(ball[b], radius[b], direction[b], stars[b], noise[b], (3.9, 1.5, 0.7))

    compared(name, reach, rtol=1e-5, atol=1e-5)


@each
@shapes
def test_emitting_voxels(name, shape, random):
    depth = uniform(random, 2, 1, *shape, low=-3.0, high=6.0)
    reach = uniform(random, 2, 1, *shape, low=3.0, high=9.0)
    offset = torch.tensor([[0.4, 0.0, 0.7], [2.0, 1.0, 0.5]])
    found = compared(name, lambda b: emitting(depth[b], reach[b], offset[b], 0.45))
    assert found.dtype == torch.bool


@each
@shapes
def test_intensities(name, shape, random):
    unit, std, texture, noise = (uniform(random, 2, 1, *shape) for _ in range(4))
    objects = torch.randint(-1, 3, (2, 1, *shape), dtype=torch.int32, generator=random)
    displaced = uniform(random, 2, 1, *shape) < 0.3
    patch = torch.randint(0, 5, (2, *shape), dtype=torch.int32, generator=random)
    means, stds = uniform(random, 2, 5, high=200.0), uniform(random, 2, 5, high=20.0)
    shading = uniform(random, 2, 5)

    def intensities(b):
        fields = VoxelFields(objects[b], unit[b], std[b], displaced[b], texture[b], noise[b])
        return intensities_of(fields, patch[b], means[b], stds[b], shading[b])

    compared(name, intensities, rtol=1e-5, atol=1e-5)
