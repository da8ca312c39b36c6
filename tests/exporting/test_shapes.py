"""Networks of other shapes: every grid, pooling and voxel shape is exported, and computes what the network computes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.exporting import bioimageio, export, onnx
from anystar_torch.exporting.dense import Dense, trace
from anystar_torch.exporting.specimen import specimen
from anystar_torch.network import loading
from anystar_torch.network.unet import SLAB, UNetBackbone
from tests.exporting.networks import config, residual_unet, resnet, seeing, unet

GRIDS = [(1, 1, 1), (1, 2, 2), (2, 1, 1), (1, 4, 2)]
POOLS = [(1, 1, 1), (1, 2, 2), (2, 1, 1)]
SPREADS = [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 1.0, 3.0), (6.0, 1.0, 1.0)]


def _unet(grid, pool, anisotropy=(1.0, 1.0, 1.0), filters=2, depth=1, kernel=(3, 3, 3)):
    backbone = UNetBackbone(filters=filters, depth=depth, batch_norm=True, pool=pool, kernel=kernel)
    return unet(rays=6, features=2, grid=grid, anisotropy=anisotropy, backbone=backbone)


def _agree(program, network):
    """At sizes below and above the slab that prediction works in, in batches of one and of several."""
    deep = -(-(SLAB + 1) // network.divisor[0]) + 1
    for batch, blocks in ((1, (1, 2, 1)), (3, (2, 3, 1)), (1, (deep, 1, 2))):
        image = torch.rand(batch, 1, *(n * d for n, d in zip(blocks, network.divisor, strict=True)))
        with torch.no_grad():
            for ours, theirs in zip(network(image), program(image), strict=True):
                torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(("grid", "pool"), list(itertools.product(GRIDS, POOLS)))
def test_a_graph_takes_any_size_whatever_the_grid_and_pooling(grid, pool):
    network = _unet(grid, pool)
    _agree(trace(Dense(network), network).module(), network)


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 1, 2)])
@pytest.mark.parametrize("make", [resnet, residual_unet])
def test_other_backbones_take_any_size_whatever_the_grid(make, grid):
    network = make(grid=grid)
    _agree(trace(Dense(network), network).module(), network)


@pytest.mark.long
def test_a_flat_kernel_is_exported():
    network = _unet((1, 2, 2), (1, 2, 2), kernel=(1, 3, 3))
    _agree(trace(Dense(network), network).module(), network)


@pytest.mark.long
@pytest.mark.parametrize(
    ("grid", "pool", "anisotropy"), [((1, 2, 2), (1, 1, 1), SPREADS[3]), ((2, 1, 1), (1, 2, 2), SPREADS[2])]
)
def test_files_of_networks_that_never_pool_an_axis(tmp_path, grid, pool, anisotropy):
    network = _unet(grid, pool, anisotropy)
    known = config(network)
    export("onnx", network, known, tmp_path / "a.onnx")
    _agree_roughly(lambda image: onnx.run(tmp_path / "a.onnx", image), network)
    export("torch", network, known, tmp_path / "a.pt2", compiled=False)
    _agree(torch.export.load(tmp_path / "a.pt2").module(), network)


def _agree_roughly(run, network):
    image = torch.rand(1, 1, *(d * n for d, n in zip(network.divisor, (60, 2, 2), strict=True)))
    with torch.no_grad():
        for ours, theirs in zip(network(image), run(image), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(st.sampled_from(GRIDS), st.sampled_from(POOLS), st.sampled_from(SPREADS), st.integers(1, 2))
def test_keras_and_monai_carry_every_shape(tmp_path_factory, grid, pool, anisotropy, depth):
    folder = tmp_path_factory.mktemp("shape")
    network = _unet(grid, pool, anisotropy, depth=depth)
    export("keras", network, config(network), folder / "keras")
    again, _ = loading.load_model(folder / "keras")
    assert again.architecture == network.architecture
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    export("monai", network, config(network), folder / "bundle")
    stored = torch.load(folder / "bundle" / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(GRIDS),
    st.sampled_from(POOLS),
    st.tuples(*[st.floats(0.2, 12)] * 3),
    st.integers(1, 3),
    st.floats(2, 40),
)
def test_the_test_volume_of_a_package_is_one_its_declaration_takes(grid, pool, anisotropy, depth, diameter):
    longest, shortest = max(anisotropy), min(anisotropy)
    if longest / shortest > 12 or diameter * min(longest / np.array(anisotropy)) > 60:
        return  # a volume of hundreds of voxels per axis: the same arithmetic, and slow
    network = _unet(grid, pool, anisotropy, depth=depth)
    known = config(network, diameter_band=(diameter, diameter, diameter))
    shape = specimen(network, known).shape
    declared = [axis["size"] for axis in bioimageio._input(Path(), network, known)["axes"][2:]]
    for size, axis in zip(shape, declared, strict=True):
        assert size >= axis["min"] > 0
        assert (size - axis["min"]) % axis["step"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of bioimageio's and xarray's own making
@pytest.mark.parametrize(
    ("anisotropy", "grid"),
    [((2.0, 1.0, 1.0), (1, 2, 2)), ((3.0, 1.0, 1.0), (1, 1, 1)), ((1.0, 1.0, 2.5), (2, 2, 1))],
)
def test_bioimageio_core_accepts_packages_of_networks_for_flat_voxels(tmp_path, anisotropy, grid):
    network = seeing(grid=grid, anisotropy=anisotropy)
    known = config(network, diameter_band=(14.0, 16.0, 18.0), prob_thresh=0.2)
    export("bioimageio", network, known, tmp_path / "a.zip")  # it checks what it wrote
    assert (tmp_path / "a.zip").stat().st_size > 0
