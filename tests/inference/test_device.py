"""What a GPU is given and what it may hold, checked without one; marked ``gpu``: what needs one."""

import gc

import numpy as np
import pytest
import torch

from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.coarse_pass import CoarsePass, interpolate_axis
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.network_memory import elements_per_voxel
from anystar_torch.inference.plan import RESERVE, MemoryState, TileOptions, plan_tiles, voxels_that_fit
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.resampling import ResampledVolume, interpolated
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import padded_places, select
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Direct, Pinned, as_float, staged, transfer_to, transfer_type
from anystar_torch.inference.warnings import MemoryWarning, PrecisionWarning
from anystar_torch.system.device import (
    exact_float32,
    largest_tensor,
    out_of_memory,
    refusing_synchronisation,
    resolve,
)
from anystar_torch.system.memory import Memory
from tests.inference.test_network_memory import small
from tests.residency import Residency

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")
META = torch.device("meta")
GIB = 1 << 30


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="MPS is there")
def test_a_device_that_is_not_there_is_refused_in_one_short_line():
    """torch names all of its backends then."""
    with pytest.raises(ValueError, match="device 'mps' ") as error:
        resolve("mps")
    assert len(str(error.value)) < 150
    assert "\n" not in str(error.value)


class Overlapped(Direct):
    overlapped = True


def elsewhere(device, network=None):
    """A network planned for a device that is not there."""
    return TileNetwork(network or small(8, (1, 1, 1)), device, chosen_transfer=Overlapped(CPU))


@pytest.mark.parametrize("kind", ["?", "u1", "i1", "<u2", ">u2", "<i2", ">i2", "f2", ">f4", "f4", "i4", "f8"])
def test_voxels_travel_in_their_own_type_and_become_the_same_floats(kind):
    rng = np.random.default_rng(0)
    dtype = np.dtype(kind)
    whole = (
        rng.integers(0, 1 << 8 * dtype.itemsize, (7, 9, 11), np.uint64, False) if dtype.kind in "ui" else None
    )
    volume = (rng.normal(0, 9, (7, 9, 11)) if whole is None else whole).astype(dtype)
    crop = volume[1:6, ::2, ::-1]
    sent = transfer_type(crop)
    assert sent.dtype.itemsize <= min(dtype.itemsize, 4)
    assert sent.dtype.isnative
    arrived = as_float(staged(sent, pin=False), crop.dtype)
    assert arrived.dtype == torch.float32
    assert arrived.is_contiguous()
    assert torch.equal(arrived, Direct(CPU).upload_voxels(crop))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (5, 7, 70), (16, 3, 9)])
def test_candidates_are_found_without_the_host_as_with_it(shape, share):
    """The rows that CUDA computes for every grid point, on CPU tensors."""
    chosen = torch.from_numpy(np.random.default_rng(0).random(shape) < share)
    expected = chosen.nonzero()
    rows = torch.stack(padded_places(chosen), 1)
    assert len(rows) == chosen.numel()
    assert torch.equal(rows[: len(expected)], expected)
    assert (rows[len(expected) :] == 0).all()


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2)])
def test_the_work_on_a_tile_stays_on_its_device(grid):
    """Normalised, interpolated, shown to the network, combined and selected: no copy, no synchronisation."""
    network = small(8, grid).to("meta")
    on_meta = TileNetwork(network, META)
    crop = torch.empty(24, 24, 40, dtype=torch.int16, device="meta")
    taps = torch.empty(3, 32, dtype=torch.int64, device="meta"), torch.empty(3, 32, device="meta")
    index = torch.empty(32 // grid[2], dtype=torch.int64, device="meta")
    share = torch.empty(32 // grid[2], device="meta")
    tile = Tile((0, 0, 0), (32, 32, 32), (0, 0, 0), (28, 32, 32))
    with torch.inference_mode(), Residency("meta") as mode:
        normalised = IntensityRange(3.0, 900.0, True).normalise(as_float(crop, np.dtype(np.uint16)))
        image = interpolated(normalised, [taps, taps, taps])[None, None]
        probability, distances = on_meta(image)
        coarse = probability[0, 0]
        for axis in range(3):
            coarse = interpolate_axis(coarse, axis, index, share)
        combined = (probability[0] * coarse).sqrt_()
        found = select(combined, distances[0], tile, (28, 30, 30), grid, 0.4)
        assert mode.count > 20
    assert found.distances.shape[1] == len(network.rays)
    assert found.distances.is_contiguous()
    assert found.distances.dtype == torch.float16


def test_memory_that_torch_caches_counts_as_free(monkeypatch):
    memory = Memory(free=10 * GIB, reserved=6 * GIB, allocated=2 * GIB)
    assert memory.available == 14 * GIB
    assert memory.budget(None) == pytest.approx(0.8 * 14 * GIB)
    assert memory.budget(8 * GIB) == 6 * GIB  # of which 2 are taken
    assert memory.budget(100 * GIB) == memory.budget(None)  # more than there is
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GIB)
    state = MemoryState.now(CUDA)
    assert state.gpu == memory
    for max_memory in (None, 1e15):
        assert state.budget(CUDA, max_memory, (64, 64, 64)) == pytest.approx(memory.budget(None) - RESERVE)
    assert state.budget(CUDA, 8e9, (64, 64, 64)) < memory.budget(None) - RESERVE


def test_max_memory_counts_as_no_more_than_there_is():
    state = MemoryState(resident=10**9, available=3 * 10**9)

    def budget(device, max_memory):
        return state.budget(device, max_memory, (64, 64, 64))

    assert budget(CPU, 1e12) == budget(CPU, 4e9) > budget(CPU, 3e9)
    assert budget(MPS, 1e12) == budget(MPS, 3e9)


@pytest.mark.long
@pytest.mark.parametrize("device", [CUDA, MPS])
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2)])
def test_no_tensor_is_larger_than_a_device_can_index(device, grid):
    """With memory for everything, of a volume of 4096^3 voxels."""
    network = small(8, grid)
    there = elsewhere(device, network)
    most = voxels_that_fit(there, 1e18)
    each = elements_per_voxel(network, network.divisor)
    least = 24 if grid == (1, 1, 1) else 8
    assert each >= max(least, 32 / grid[0] ** 3)  # the largest tensors of this network
    assert most * each <= largest_tensor(device) < 1 << (30 if device == MPS else 31)
    chosen = plan_tiles((4096,) * 3, there, most, TileOptions(halo=(32, 32, 32)))
    assert chosen.batch * np.prod(chosen.size, dtype=float) * each < 1 << (30 if device == MPS else 31)


def test_float32_is_float32_in_the_halo_and_restored():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        seen = []
        network = small(4, (2, 2, 2))
        network.register_forward_pre_hook(lambda *a: seen.append((cudnn.allow_tf32, matmul.allow_tf32)))
        one = TileNetwork(network, CPU)
        with torch.inference_mode():
            network(torch.rand(1, 1, 16, 16, 16))
        one.forward(torch.rand(1, 1, 16, 16, 16), torch.float32)
        with exact_float32(), exact_float32():
            assert not cudnn.allow_tf32
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
        with pytest.raises(ZeroDivisionError), exact_float32():
            _ = 1 / 0
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
        assert seen == [(True, True), (False, False)]
        if hasattr(cudnn, "conv"):
            cudnn.conv.fp32_precision = "ieee"  # torch refuses to tell the older setting from now on
            cudnn.conv.fp32_precision, matmul.fp32_precision = "tf32", "tf32"
            with exact_float32():
                pass
            assert (cudnn.conv.fp32_precision, matmul.fp32_precision) == ("tf32", "tf32")
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize(
    ("device", "kind", "last"),
    [(CPU, torch.float32, True), (META, torch.float16, True), (META, torch.float32, False)],
)
def test_channels_are_last_but_in_float32_on_a_gpu(device, kind, last):
    network = small(4, (2, 2, 2)).to(device)
    layouts = []
    network.register_forward_pre_hook(lambda layer, given: layouts.append(given[0].stride(1) == 1))
    TileNetwork(network, device).forward(torch.empty(2, 1, 16, 16, 16, device=device), kind)
    assert layouts == [last]


def test_errors_of_full_memory_are_told_from_others():
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert out_of_memory(RuntimeError("GET was unable to find an engine to execute this computation"))
    assert not out_of_memory(RuntimeError("expected scalar type Half"))


@pytest.fixture(scope="module")
def scene():
    """A synthetic volume of the size that the shipped network knows."""
    from anystar_torch import load_synthesizer

    image = load_synthesizer("zero_shot", shape=(128, 128, 128))(torch.tensor([3])).image
    return (image[0, 0] * 60000).round().numpy().astype(np.uint16)


def predicted(volume, device, precision=None, **options):
    tile_options = TileOptions(halo=(64, 64, 64), precision=precision)
    model = AnyStar.from_pretrained(tile_options=tile_options, **options)
    found = model.predict(volume, diameter=model.config.diameter_band[1], device=device, progress=False)
    assert not any(isinstance(warning, MemoryWarning | PrecisionWarning) for warning in found.warnings)
    return found.labels


def beside_others(limit):
    """A limit for the memory of tensors that leaves that of other tests out."""
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated() + limit


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("kind", [torch.float32, None])
def test_a_gpu_finds_the_objects_that_the_cpu_finds(scene, kind):
    """On a CPU, with all layers rounded to float16, all 113 objects are found again; rounded to bfloat16, 112."""
    here = predicted(scene, "cpu", torch.float32)
    score = matching(here, predicted(scene, "cuda", kind), 0.9)
    assert score.n_true > 100
    assert score.f1 > 0.97, score


@pytest.mark.gpu
@gpu
def test_a_gpu_finds_the_same_objects_in_tiles(scene):
    volume = np.concatenate([scene, scene[..., ::-1]], axis=2)
    whole = predicted(volume, "cuda")
    score = matching(whole, predicted(volume, "cuda", max_memory=beside_others(1.2e9)), 0.9)
    assert score.n_true > 60
    assert score.f1 > 0.95, score


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("limit", [2e9, 4e9])
def test_a_prediction_stays_below_its_share_of_a_gpu(scene, limit):
    most = beside_others(limit)
    torch.cuda.reset_peak_memory_stats()
    assert predicted(np.tile(scene, (2, 2, 2)), "cuda", max_memory=most).max() > 200
    assert torch.cuda.max_memory_allocated() < most


@pytest.mark.gpu
@gpu
def test_voxels_and_candidates_travel_through_pinned_memory(scene):
    transfer = transfer_to(torch.device("cuda", torch.cuda.current_device()))
    assert isinstance(transfer, Pinned)
    assert staged(scene, pin=True).is_pinned()
    assert torch.equal(
        transfer.upload_voxels(scene[::2, ::-1]).cpu(), Direct(CPU).upload_voxels(scene[::2, ::-1])
    )
    found = torch.arange(10, device="cuda")
    waiting = transfer.start_download(found)
    assert waiting().is_pinned()
    assert transfer.download([found[:4]])[0].tolist() == [0, 1, 2, 3]
    one = AnyStar.from_pretrained()._tile_network(transfer.device)
    fine = Scaling(scene.shape, (110, 120, 130))
    view = ResampledVolume(scene, fine, IntensityRange(0.0, 60000.0, True))
    tile = Tile((0, 0, 0), (96, 96, 96), (0, 0, 0), (96, 96, 96))
    coarse = CoarsePass(torch.ones(40, 40, 40), Scaling(scene.shape, (80, 80, 80)), fine, (2, 2, 2))
    one.start(view, [tile], 0.2, coarse=coarse)()  # weights are laid out, cuDNN is warm
    torch.cuda.synchronize()
    with refusing_synchronisation():
        finish = one.start(view, [tile], 0.2, coarse=coarse)
    [(points, distances, scores)], finite = finish()
    assert len(points) == len(distances) == len(scores) > 0
    assert finite
