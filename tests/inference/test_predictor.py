"""Prediction end to end, with a network whose answers are known."""

import concurrent.futures

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.plan import (
    MemoryState,
    TileOptions,
    check_suppression_memory,
    plan_tiles,
    voxels_that_fit,
)
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.stages import find_instances
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.io import RunRecord
from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

SHAPE = (40, 44, 52)


def model(**options):
    grid = options.pop("grid", (1, 1, 1))
    blur = options.pop("blur", 0)
    # its voxels do not agree on one sphere: an average would be none
    return AnyStar(
        Sees(grid, blur=blur).eval(), config(), **{"shape_averaging": False, "coarse_pass": False, **options}
    )


def predict(volume, diameter=13, the=None, **options):
    return (the or model()).predict(volume, diameter=diameter, device="cpu", progress=False, **options)


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
def test_balls_are_found(grid):
    image, labels = balls(SHAPE, lattice(SHAPE, 16))
    found = predict(image, the=model(grid=grid))
    score = matching(
        labels, found.labels, 0.7 if grid == (1, 1, 1) else 0.5
    )  # centres fall between grid points
    assert score.f1 == 1
    assert score.n_true == 12 == len(found)
    assert found.labels.dtype == np.int32
    assert found.points.shape == (12, 3)
    assert found.distances.shape == (12, 32)
    assert (np.diff(found.scores) <= 0).all()
    assert np.array_equal(np.unique(found.labels), np.arange(13))
    for i, point in enumerate(np.rint(found.points).astype(int)):
        assert found.labels[tuple(point)] == i + 1


@pytest.mark.long
@pytest.mark.parametrize("diameter", [8, 20, 31.5])
def test_diameter_brings_objects_to_the_size_the_network_knows(diameter):
    shape = [int(4.2 * diameter)] * 3
    centres = [np.array(c) * diameter for c in [(1, 1, 1), (3, 1, 1.2), (1.3, 3, 3), (3, 3, 2.9)]]
    image, labels = balls(shape, centres, diameter / 2)
    found = predict(image, diameter)
    assert matching(labels, found.labels, 0.75).f1 == 1
    assert found.diameter == diameter
    assert found.distances == pytest.approx(RADIUS * diameter / 13, rel=0.03)
    assert found.points[np.argsort(found.points @ [1, 2, 4])] == pytest.approx(
        np.array(sorted(centres, key=lambda c: c @ [1, 2, 4])), abs=1.2
    )


def test_anisotropic_voxels_are_made_isotropic_and_back():
    spacing = (2.18, 1.0, 1.0)
    shape = (24, 56, 56)
    centres = [np.array(c, float) for c in [(6, 14, 14), (16, 38, 15), (12, 20, 41)]]
    image, labels = balls(shape, centres, 8, spacing)
    found = predict(image, 16, spacing=spacing)
    assert matching(labels, found.labels, 0.75).f1 == 1
    along_z = np.abs(found.rays.vertices[:, 0].numpy()) > 0.99
    along_xy = np.abs(found.rays.vertices[:, 0].numpy()) < 0.06
    assert found.distances[:, along_z] == pytest.approx(8 / 2.18, rel=0.06)
    assert found.distances[:, along_xy] == pytest.approx(8, rel=0.06)
    assert found.rays.vertices.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    by_unit = predict(image, "4um", spacing=(0.545, 0.25, 0.25))
    assert np.array_equal(by_unit.labels, found.labels)


def test_without_spacing_voxels_have_the_networks_shape():
    network = Sees(anisotropy=(2.0, 1.0, 1.0)).eval()
    image, _ = balls((16, 32, 32), [np.array([8.0, 16, 16])], 13, (2, 1, 1))
    found = AnyStar(network, config()).candidates(image, diameter=13, device="cpu", progress=False)
    assert found.scaling.shape == image.shape
    scaled = AnyStar(network, config()).candidates(
        image, spacing=(1, 1, 1), diameter=13, device="cpu", progress=False
    )
    assert scaled.scaling.shape == (8, 32, 32)


@pytest.mark.long
@pytest.mark.parametrize(
    ("tile", "batch"), [((24, 24, 24), None), ((32, 28, 40), 1), ((60, 24, 60), 3), ((24, 24, 24), 5)]
)
def test_labels_do_not_depend_on_the_tiles(tile, batch):
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    image += np.random.default_rng(0).random(SHAPE, np.float32) / 8
    whole = predict(image, 12, the=model(blur=3))
    cut = model(blur=3, tile_options=TileOptions(size=tile, halo=(3, 3, 3), batch=batch))
    parts = predict(image, 12, the=cut)
    assert sum(cut.network.batches) >= 2
    assert len(set(cut.network.seen)) == 1
    assert max(cut.network.batches) == (batch or 1)
    assert len(parts) == len(whole) > 20
    assert np.array_equal(parts.labels, whole.labels)
    assert np.array_equal(parts.points, whole.points)


@pytest.mark.long
def test_memory_bounds_the_tiles():
    image, labels = balls((32, 32, 64), lattice((32, 32, 64), 16))
    network = TileNetwork(Sees().eval(), torch.device("cpu"))
    state = MemoryState(resident=0, available=10**9)
    budget = state.budget(network.device, 1.0e6, image.shape, reserve=0)
    plan = plan_tiles(image.shape, network, voxels_that_fit(network, budget), TileOptions(halo=(4, 4, 4)))
    assert len(plan.tiles) > 1
    small = model(tile_options=TileOptions(size=plan.size, halo=(4, 4, 4)))
    assert matching(labels, predict(image, the=small).labels, 0.7).f1 == 1
    assert len(small.network.seen) == len(plan.tiles)
    budget = state.budget(network.device, 0.8e6, image.shape, reserve=0)
    with pytest.raises(ValueError, match="the smallest tile has"):
        plan_tiles(image.shape, network, voxels_that_fit(network, budget), TileOptions(halo=(24, 24, 24)))


def test_too_little_memory_is_refused():
    image, _ = balls((48, 48, 96), lattice((48, 48, 96), 16))
    with pytest.raises(ValueError, match="raise max_memory, crop"):
        predict(image, the=model(max_memory=1e6))
    check_suppression_memory(1000, image.shape, max_memory=1e8, used=1e6)
    with pytest.raises(ValueError, match="raise prob_thresh or max_memory"):
        check_suppression_memory(1000, image.shape, max_memory=2.6e6, used=1e6)


def test_stored_candidates_give_the_same_objects(tmp_path):
    image, _ = balls(SHAPE, lattice(SHAPE, 11))
    the = model()
    direct = predict(image, the=the, prob_thresh=0.7, nms_thresh=0.5)
    found = the.candidates(image, diameter=13, prob_thresh=0.5, device="cpu", progress=False)
    found.save(tmp_path / "c.npz", RunRecord(source="x.tif"))
    loaded, record = Candidates.load(tmp_path / "c.npz")
    again = find_instances(loaded.above(0.7), 0.5, shape_averaging=False)
    assert record == RunRecord(source="x.tif")
    assert np.array_equal(again.labels, direct.labels)
    assert np.array_equal(again.distances, direct.distances)
    assert (again.prob_thresh, again.nms_thresh, again.diameter) == (0.7, 0.5, 13)
    with pytest.raises(ValueError, match="collected above"):
        loaded.above(0.4)


@pytest.mark.parametrize(
    "convert",
    [
        lambda v: (v * 255).astype(np.uint8),
        lambda v: (v * 60000).astype(">u2"),
        lambda v: (v * 1000 - 500).astype(np.int16),
        lambda v: v.astype(np.float16),
        lambda v: np.asfortranarray(v.astype(np.float64)),
        lambda v: (v * 1e9).astype(np.int64),
        lambda v: torch.from_numpy(v),
        lambda v: v[::-1][::-1],
        lambda v: np.where(v == 0, np.nan, v),
    ],
    ids=["uint8", "big-endian", "signed", "float16", "fortran", "int64", "torch", "strided", "partly NaN"],
)
def test_every_number_type_gives_the_same_objects(convert):
    image, labels = balls(SHAPE, lattice(SHAPE, 16))
    assert matching(labels, predict(convert(image)).labels, 0.65).f1 == 1


def test_a_memory_mapped_volume_gives_the_same_objects(tmp_path):
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    np.save(tmp_path / "v.npy", image)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(predict(mapped).labels, predict(image).labels)


def test_a_boolean_volume_and_infinities_work():
    image, labels = balls(SHAPE, lattice(SHAPE, 16))
    bright = image > 0.9
    assert np.array_equal(predict(bright).labels, predict(bright.astype(np.uint8)).labels)
    assert len(predict(bright)) == 12
    image[0, 0, :2] = np.inf, -np.inf
    assert matching(labels, predict(image).labels, 0.65).recall == 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 40), (5, 1, 9), (97, 3, 2)])
def test_thin_volumes_work(shape):
    volume = np.random.default_rng(0).random(shape)
    found = predict(volume, 10)
    assert found.labels.shape == shape


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(
    shape=st.permutations([97, 14, 9]) | st.tuples(*[st.integers(1, 24)] * 3) | st.permutations([1, 2, 60]),
    kind=st.sampled_from(["u1", "<u2", ">i2", "f2", "f4", "f8", "?"]),
    spacing=st.tuples(*[st.sampled_from([0.5, 1, 2])] * 3),
    diameter=st.sampled_from([11, 13, 37.5]),
)
def test_any_shape_type_and_spacing_gives_labels_of_that_shape(shape, kind, spacing, diameter):
    volume = (np.random.default_rng(0).random(shape) ** 8 * 100).astype(kind)  # few bright voxels
    found = predict(volume, diameter, spacing=spacing)
    assert found.labels.shape == tuple(shape)
    assert np.array_equal(np.unique(found.labels[found.labels > 0]), np.arange(1, len(found) + 1))
    assert (found.distances > 0).all()


def test_a_large_offset_changes_nothing():
    image, _ = balls((24, 28, 32), lattice((24, 28, 32), 14))
    model = AnyStar(Sees().eval(), config())
    options = {"diameter": 13, "device": "cpu", "progress": False}
    plain = model.predict((image * 4).astype(np.float64), **options)
    far = model.predict((image * 4).astype(np.float64) + 1e9, **options)
    assert len(plain) > 0
    assert np.array_equal(far.labels, plain.labels)
    whole = (image * 4000).astype(np.int64)
    assert np.array_equal(
        model.predict(whole + 10**12, **options).labels, model.predict(whole, **options).labels
    )


def test_bfloat16_of_torch_works():
    image, _ = balls((24, 28, 32), lattice((24, 28, 32), 14))
    model = AnyStar(Sees().eval(), config())
    found = model.predict(torch.from_numpy(image).bfloat16(), diameter=13, device="cpu", progress=False)
    assert len(found) == len(model.predict(image, diameter=13, device="cpu", progress=False))


def test_a_constant_volume_holds_nothing():
    found = predict(np.full(SHAPE, 7, np.uint8))
    assert len(found) == 0
    assert not found.labels.any()


def test_what_is_no_volume_is_refused():
    for volume, error, words in [
        (np.full(SHAPE, np.nan), ValueError, "no finite value"),
        (np.zeros((4, 5)), ValueError, "2D"),
        (np.zeros((4, 5, 6, 3)), ValueError, "4D"),
        (np.zeros((0, 5, 6)), ValueError, "no voxels"),
        (np.zeros((4, 5, 6), complex), TypeError, "real numbers"),
    ]:
        with pytest.raises(error, match=words):
            predict(volume)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"diameter": 0}, "positive number"),
        ({"diameter": "8 parsec"}, "length such as 8um"),
        ({"diameter": "8um"}, "give spacing"),
        ({"spacing": (1, 0, 1)}, "three positive numbers"),
        ({"spacing": (1, 1)}, "three positive numbers"),
        ({"prob_thresh": 1.5}, "prob_thresh"),
        ({"nms_thresh": -0.1}, "nms_thresh"),
    ],
)
def test_senseless_arguments_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        predict(balls((12, 12, 12), [np.array([6.0, 6, 6])])[0], **options)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="cannot be used here"):
        model().predict(np.zeros((4, 4, 4)), device="toaster", progress=False)


@pytest.mark.long
def test_threads_agree_with_each_other():
    small = TileOptions(size=(24, 24, 32), halo=(0, 0, 0))
    volumes = [balls(SHAPE, lattice(SHAPE, d))[0] for d in (12, 14, 16, 18)]
    the = model(tile_options=small)
    alone = [predict(volume, the=model(tile_options=small)).labels for volume in volumes]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda volume: predict(volume, the=the).labels, volumes))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_network_in_training_is_left_alone():
    network = Sees()
    network.train()
    the = AnyStar(network, config())
    predict(balls(SHAPE, lattice(SHAPE, 16))[0], the=the)
    assert network.training
    assert not the.network.training
