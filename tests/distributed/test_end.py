"""The end of a prediction: its labels are written and get their name, then its work folder is removed."""

import numpy as np
import pytest

from anystar_torch.distributed import engine, large, predict
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.inference.object_size import ObjectSize
from anystar_torch.io import LabelStore
from tests.distributed.cases import OPTIONS, stored
from tests.distributed.test_options import job_of


class KilledError(Exception):
    """Ends a prediction where it could have been killed."""


@pytest.fixture
def killed(monkeypatch):
    """A function that predicts until a function is called, given as its owner and its name."""

    def run(owner, name, *arguments, **options):
        def stop(*_):
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, stop)
            with pytest.raises(KilledError):
                predict(*arguments, **OPTIONS | options)

    return run


def test_the_work_folder_of_finished_labels_is_removed_by_the_next_run(tmp_path, network, volume, killed):
    target, work = tmp_path / "labels.ome.zarr", tmp_path / "labels.ome.zarr.work"
    killed(large, "discard", volume, target, model=network)
    assert target.is_dir()
    assert work.is_dir()
    before = stored(target)
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(volume, target, model=network, **OPTIONS)
    assert list(tmp_path.iterdir()) == [target]
    assert np.array_equal(stored(target), before)


@pytest.mark.parametrize("last", [(LabelStore, "finish"), (large, "draw_labels")])
def test_the_work_folder_stays_while_the_labels_are_those_of_an_earlier_run(
    tmp_path, network, volume, killed, last
):
    target, work = tmp_path / "labels.ome.zarr", tmp_path / "labels.ome.zarr.work"
    LabelStore.create(target, volume.shape).finish()
    killed(*last, volume, target, model=network, overwrite=True)
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(volume, target, model=network, **OPTIONS)
    assert work.is_dir()
    result = predict(volume, target, model=network, overwrite=True, **OPTIONS)
    assert result.objects > 0
    assert list(tmp_path.iterdir()) == [target]


def test_a_time_point_asks_for_the_objects_of_its_own_shards(tmp_path, network, volume, monkeypatch):
    asked = []
    monkeypatch.setattr(engine.Index, "meeting", lambda index, box: asked.append(box) or [])
    store = LabelStore.create(tmp_path / "labels.ome.zarr", (5, *volume.shape), shard=OPTIONS["shard"])
    job = job_of(tmp_path, network, volume, diameter=13)
    with Bars(False) as bars:
        nothing = engine.Found(job, {}, {}, 0, ObjectSize(13.0), ())
        engine.draw_labels(nothing, Run(ThisProcess(), bars), store, frame=2)
    assert len(asked) == len(store.shards()) / 5 == 8


def test_labels_of_two_places_with_one_work_folder_are_complete(tmp_path, network, volume, killed):
    """The tasks of the second run note shards as written that the first target has not."""
    work, places = tmp_path / "work", [tmp_path / name / "labels.ome.zarr" for name in "ab"]
    for place in places:
        place.parent.mkdir()
    LabelStore.create(places[0], volume.shape, dtype=np.uint16, shard=OPTIONS["shard"])  # begun, no shard
    killed(LabelStore, "finish", volume, places[1], model=network, work=work)
    LabelStore.create(tmp_path / "labels.ome.zarr", (4, 4, 4)).finish()
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(volume, tmp_path / "labels.ome.zarr", model=network, work=work, **OPTIONS)
    assert list(work.iterdir())
    result = predict(volume, places[0], model=network, work=work, **OPTIONS)
    labels = stored(places[0])
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, result.objects + 1))
