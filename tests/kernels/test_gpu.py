"""The GPU path on a GPU: the same samples and targets as the CPU's, without waiting, and from a CUDA graph."""

import pytest
import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.geometry.components import connected_components
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from anystar_torch.kernels.implementations import forced
from anystar_torch.system.device import refusing_synchronisation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
NAMES = ("mix", "zero_shot")
GRIDS = ((1, 1, 1), (2, 2, 2), (1, 2, 2))


@pytest.fixture(scope="module")
def labels():
    """Label fields of both generators, from the CPU."""
    return torch.cat([load_synthesizer(name)(torch.arange(3)).labels for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_those_of_the_cpu(name):
    """To rounding: a voxel between two objects may fall to the other one."""
    synth, ids = load_synthesizer(name, shape=(64, 48, 56)), torch.arange(4)
    here, there = synth(ids), synth(ids.cuda())
    assert there.image.device.type == there.labels.device.type == "cuda"
    foreground = (here.labels > 0) != (there.labels.cpu() > 0)
    assert foreground.float().mean() < 1e-3
    difference = (here.image - there.image.cpu()).abs()
    assert difference.median() < 1e-5
    assert (difference > 1e-2).float().mean() < 1e-2


@pytest.mark.parametrize("grid", GRIDS)
def test_star_distances_are_those_of_the_cpu_bit_for_bit(labels, grid):
    for anisotropy in ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0)):
        rays = Rays.golden_spiral(96, anisotropy)
        expected = star_distances(labels, rays, grid)
        assert torch.equal(star_distances(labels.cuda(), rays.to("cuda"), grid).cpu(), expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_probability_is_that_of_the_cpu(labels, grid):
    for anisotropy in ((1.0, 1.0, 1.0), (2.0, 1.0, 0.5)):
        expected = object_probability(labels, grid, anisotropy)
        found = object_probability(labels.cuda(), grid, anisotropy).cpu()
        assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_components_are_those_of_the_cpu(labels):
    assert torch.equal(connected_components(labels.cuda()).cpu(), connected_components(labels))


def test_the_outermost_voxel_centres_belong_to_the_inside():
    """They lie on the mirrors, where a quotient that is only close to 1/2 names another piece."""
    for width in range(2, 300):
        size = torch.tensor([[1.0, 1.0, width]], device="cuda")
        half = torch.tensor([[8.0, 8.0, (width - 1) / 2]], device="cuda")
        assert (Coordinates.of_grid((1, 1, width), size).reflected(half).piece == 13).all()


@pytest.mark.parametrize("name", NAMES)
def test_kernels_and_plain_operators_agree(name):
    synth, ids = load_synthesizer(name, shape=(32, 40, 48)), torch.arange(2, device="cuda")
    kernels = synth(ids)
    with forced("torch"):
        plain = load_synthesizer(name, shape=(32, 40, 48))(ids)
    assert ((kernels.labels > 0) != (plain.labels > 0)).float().mean() < 1e-3
    assert (kernels.image - plain.image).abs().median() < 1e-5


def made(synth, rays, ids):
    sample = synth(ids)
    return (
        sample.image,
        sample.labels,
        object_probability(sample.labels, (2, 2, 2)),
        star_distances(sample.labels, rays, (2, 2, 2)),
    )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_the_device(name):
    synth, rays, ids = load_synthesizer(name), Rays.golden_spiral(96).to("cuda"), torch.arange(2).cuda()
    made(synth, rays, ids)
    with refusing_synchronisation():
        made(synth, rays, ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_replayed_graph_makes_the_same_batches(name):
    from benchmarks.gpu.bench import Replayed

    synth, rays = load_synthesizer(name), Rays.golden_spiral(96).to("cuda")
    replayed = Replayed(lambda ids: made(synth, rays, ids), 2)
    for first in (0, 2, 4):
        found = [tensor.clone() for tensor in replayed()]
        expected = made(synth, rays, torch.arange(2, device="cuda") + first)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one.float(), other.float(), atol=1e-5)
