"""Prediction in programs with other defaults, in copies of the model, and with arguments of other kinds."""

import copy
import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from anystar_torch import AnyStar, matching
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.shape_averaging import MAX_CANDIDATES, neighbours
from anystar_torch.network.loading import load_model
from tests.inference.scenes import balls, lattice

SHAPE = (32, 32, 32)
IMAGE, TRUTH = balls(SHAPE, lattice(SHAPE, 14))


def predict(model, image=IMAGE, diameter=13, **options):
    return model.predict(image, diameter=diameter, device="cpu", progress=False, **options)


@contextmanager
def default_type(kind):
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def expected():
    return predict(AnyStar.from_pretrained()).labels


@pytest.mark.long
@pytest.mark.parametrize("surroundings", [lambda: default_type(torch.float64), lambda: torch.device("meta")])
@pytest.mark.parametrize("loaded_inside", [False, True])
def test_default_type_and_device_of_the_program_change_nothing(expected, surroundings, loaded_inside):
    model = None if loaded_inside else AnyStar.from_pretrained()
    with surroundings():
        model = model or AnyStar.from_pretrained()
        estimated = model.predict(IMAGE, device="cpu", progress=False)
        labels = predict(model).labels
    assert np.array_equal(labels, expected)
    assert len(estimated) > 0


@pytest.mark.long
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_finds_the_same(expected, copied):
    model = AnyStar.from_pretrained(max_memory=4e9)
    assert np.array_equal(predict(model).labels, expected)
    other = copied(model)
    assert other.max_memory == 4e9
    assert np.array_equal(predict(other).labels, expected)


@pytest.mark.long
def test_masked_voxels_have_no_value(expected):
    masked = np.ma.MaskedArray(IMAGE.copy(), mask=np.zeros(SHAPE, bool))
    masked.data[:2], masked.mask[:2] = 1e6, True
    found = predict(AnyStar.from_pretrained(), masked).labels
    assert matching(expected, found, 0.5).f1 == 1


def test_masked_labels_are_refused():
    masked = np.ma.MaskedArray(TRUTH, mask=TRUTH == 1)
    with pytest.raises(TypeError, match="fill it first"):
        matching(masked, TRUTH)


@pytest.mark.parametrize("device", [torch.device("cpu"), "cpu"])
def test_a_device_of_torch_is_a_device(device):
    assert AnyStar.from_pretrained().tile_network(device).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing": (0, 1, 1), "diameter": "8um"}, "spacing must be three positive numbers"),
        ({"spacing": (1, 1), "diameter": 8}, "spacing must be three positive numbers"),
        (
            {"spacing": (2, 500, 500), "diameter": "8um"},
            "32 x 32 x 32 voxels would be resampled .* check spacing",
        ),
    ],
)
def test_wrong_sizes_are_refused_in_a_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        AnyStar.from_pretrained().predict(IMAGE, device="cpu", progress=False, **options)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_memory_limit_is_a_positive_number(limit):
    with pytest.raises(ValueError, match="max_memory must be a positive number"):
        AnyStar.from_pretrained(max_memory=limit)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (0, 64, 64)}, "size must be three"),
        ({"halo": (-8, 0, 0)}, "halo must be three"),
        ({"precision": torch.float64}, "precision must be one of"),
    ],
)
def test_wrong_tile_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TileOptions(**options)


def test_a_survivor_is_among_its_own_candidates_however_many_are_better():
    """At an overlap threshold of 1 every candidate survives."""
    count = 3 * MAX_CANDIDATES
    points = np.random.default_rng(0).uniform(0, 2, (count, 3)).astype(np.float32)
    distances = np.full((count, 8), 9.0, np.float32)
    survivors = np.arange(count)
    for part, owner, candidate in neighbours(points, distances, survivors, 50):
        for place, survivor in enumerate(survivors[part]):
            own = candidate[owner == place]
            assert survivor in own
            assert len(own) <= MAX_CANDIDATES
            assert (np.diff(own) > 0).all()


@pytest.mark.parametrize(("text", "words"), [("", "is damaged"), ("[1]", "must hold a JSON object")])
def test_a_damaged_file_of_a_stardist_model_is_named(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "weights_best.h5").touch()
    with pytest.raises(ValueError, match=f"config.json {words}"):
        load_model(tmp_path)
