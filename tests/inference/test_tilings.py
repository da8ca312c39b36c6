"""A real network, untrained: its labels do not depend on the tiles, its memory stays within what it may take."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anystar_torch.configuration.folder import config_folder
from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network import weights
from anystar_torch.system.device import preferred_precision
from tests.inference.scenes import config

REACH = 96  # voxels to each side that the layers of the small network see, rounded up


@pytest.fixture(scope="module")
def small():
    """The small network with random weights, and heads that say something: objects of 3 to 6 voxels everywhere."""
    torch.manual_seed(0)
    network = instantiate(OmegaConf.load(config_folder() / "model" / "small.yaml")).eval()
    torch.nn.init.normal_(network.distances.weight, std=2.0)
    torch.nn.init.constant_(network.distances.bias, 4.0)
    torch.nn.init.normal_(network.probability.weight, std=3.0)
    return network


@pytest.mark.slow
@pytest.mark.parametrize(("tta", "kind"), [(False, torch.float32), (False, None), (True, None)])
def test_labels_are_identical_for_three_tilings_at_full_halo(small, tta, kind):
    """In float32, and in what this CPU computes in (bfloat16 where it has AMX)."""
    shape = (16, 16, 336) if tta else (32, 32, 336)
    volume = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        network = TileNetwork(small, torch.device("cpu"), chosen_precision=kind)
        probability = network(torch.from_numpy(volume)[None, None]).probability
    settings = config(
        architecture=small.architecture,
        prob_thresh=float(probability.flatten().quantile(0.5 if tta else 0.98)),
    )
    options = {"diameter": 13, "device": "cpu", "progress": False}
    in_one = AnyStar(small, settings, tta=tta, tile_options=TileOptions(precision=kind))
    whole = in_one.predict(volume, **options)
    assert len(whole) > 20
    for length in (208, 256, 304):
        tile_options = TileOptions(size=(shape[0], shape[1], length), halo=(REACH,) * 3, precision=kind)
        model = AnyStar(small, settings, tta=tta, tile_options=tile_options)
        found = model.predict(volume, **options)
        assert np.array_equal(found.labels, whole.labels)
        assert np.array_equal(found.points, whole.points)
        assert found.distances == pytest.approx(
            whole.distances, rel=1e-3
        )  # one step of float16, in which they wait
        assert found.scores == pytest.approx(whole.scores, abs=1e-5)


PROGRAM = """
import json, sys
import torch
torch.set_num_threads(2)
from anystar_torch.cli import main
from anystar_torch.network.stardist import StarDist
sizes = []
within = StarDist.within
def watched(network, image, *more):
    if image.device.type != "meta":
        sizes.append(list(image.shape[2:]))
    return within(network, image, *more)
StarDist.within = watched
try:
    main(sys.argv[1:])
finally:
    status = open("/proc/self/status").read()  # the peak of resource.getrusage may be that of the parent process
    print(json.dumps([int(status.partition("VmHWM:")[2].split()[0]) * 1024, sizes]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted otherwise elsewhere")
def test_the_process_stays_below_max_memory(small, tmp_path):
    volume = np.random.default_rng(0).integers(0, 60000, (96, 256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "volume.tif", volume)
    with torch.inference_mode():
        part = torch.from_numpy(volume[:48, :48, :48] / np.float32(60000))[None, None]
        rare = float(TileNetwork(small, torch.device("cpu"))(part).probability.flatten().quantile(0.9))
    settings = config(architecture=small.architecture, prob_thresh=rare, receptive_field=(16, 16, 16))
    weights.save(tmp_path / "model", small, settings)
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "ANYSTAR_UNCHECKED": "1"}
    command = [sys.executable, "-c", PROGRAM, "predict", "volume.tif", "--model", "model", "--diameter", "13"]
    done = subprocess.run(
        [*command, "--max-memory", "0.8GB", "--device", "cpu"],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert ": 0 objects" not in done.stdout
    peak, sizes = json.loads(done.stdout.splitlines()[-1])
    assert len(sizes) > 2, sizes  # a tile in the coarse pass, and more than one in the fine pass
    assert peak < 0.8e9, sizes
    assert (
        0.3e9 + TileNetwork(small, torch.device("cpu")).bytes_per_voxel * volume.size > 0.8e9
    )  # in one piece it would not fit


@pytest.mark.slow
def test_the_measured_halo_is_as_far_as_a_cut_is_felt(small):
    """Of another volume than it was measured on."""
    tile_network = TileNetwork(small, torch.device("cpu"))
    reach = tile_network.halo[0]
    assert 16 <= reach <= REACH
    image = torch.rand(1, 1, 192, 48, 48, generator=torch.Generator().manual_seed(1))
    whole = tile_network.forward(image, torch.float32).distances[:, :, 48:]
    change = (
        (tile_network.forward(image[:, :, 96:], torch.float32).distances - whole).abs().mean((0, 1, 3, 4))
    )
    felt = change / change.max()
    assert felt[reach // 2 :].max() < 3e-3
    assert felt[reach // 4 :].max() > 1e-3  # and half of it would not do


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_gpu_agrees_with_the_cpu_in_batches_and_in_half_precision(small):
    """In float32 here, in float16 there; the volume would fit into the memory of a GPU as one tile."""
    volume = np.random.default_rng(0).random((96, 96, 160), np.float32)
    settings = config(architecture=small.architecture, prob_thresh=0.6)
    assert preferred_precision(torch.device("cuda")) == torch.float16
    whole = AnyStar(small, settings, tile_options=TileOptions(precision=torch.float32))
    here = whole.predict(volume, diameter=13, device="cpu", progress=False)
    in_tiles = TileOptions(size=(96, 96, 96), halo=(32, 32, 32), batch=2)  # three tiles in two batches
    there = AnyStar(small, settings, tile_options=in_tiles).predict(volume, diameter=13, progress=False)
    assert len(here) > 200
    assert matching(here.labels, there.labels, 0.7).f1 > 0.95
