"""Results of one time point of a series: their layers hold this time point only."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from anystar_torch import io
from anystar_torch.napari.background import Progress
from anystar_torch.napari.click_tools import ClickTools
from anystar_torch.napari.saving import save_result
from anystar_torch.napari.segmentation import segment

COUNT = 6  # balls of the scene
LENGTH = 200_000  # time points: their labels would take 37 GB


@pytest.fixture
def series(state, scene):
    """The choices over a long lazy series, of which time point 3 is shown."""
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    frame = dask.from_array(scene[0])[None]
    lazy = dask.broadcast_to(frame, (LENGTH, *scene[0].shape))
    state.viewer.layers.clear()
    state.image = state.viewer.add_image(
        lazy, name="series", axis_labels=("t", "z", "y", "x"), scale=(2, 1, 1, 1), contrast_limits=(0, 1)
    )
    state.viewer.dims.set_point(0, 6)  # world coordinates
    return state


@pytest.fixture
def shown(series):
    """The result of time point 3."""
    return series.add_result(segment(series.segmenter(), series.targets(), series.diameter, Progress()))


def test_its_labels_are_one_time_point_long_and_lie_where_it_is(series, shown, scene):
    assert shown.layer.data.shape == (1, *scene[0].shape)
    assert shown.layer.translate.tolist() == [6, 0, 0, 0]
    assert len(np.unique(shown.volume())) - 1 == COUNT
    for point in (0, 8, 6):  # the viewer moves to other time points and back
        series.viewer.dims.set_point(0, point)
        series.show_frame(shown)
        assert shown.frame == 3


def test_its_preview_is_one_time_point_long(series, scene):
    target = series.target()
    found = series.segmenter().preview(target, series.diameter, series.view(), (0.6, 0.3))
    layer = series.add_preview(found, target.volume, target.channel, target.frame)
    assert layer.data.shape == (1, *scene[0].shape)
    assert layer.translate.tolist() == [6, 0, 0, 0]
    assert layer.data.any()


def test_its_objects_are_corrected_and_have_centres(shown):
    voxel = tuple(int(p) for p in np.rint(shown.result.objects(3).points[0]))
    tools, position = ClickTools("delete"), (6.0, *map(float, voxel))
    shown.apply(tools.click(shown, position)())
    assert shown.volume()[voxel] == 0
    tools.choose("add")
    with pytest.raises(ValueError, match="inside of the segmented volume"):
        tools.click(shown, (4.0, *position[1:]))
    shown.apply(tools.click(shown, position)())
    assert shown.volume()[voxel] == COUNT + 1
    points = shown.centres()
    assert {points.data_to_world(point)[0] for point in points.data} == {6.0}
    shown.delete([COUNT + 1])
    assert shown.difference().deleted == 1


def test_its_files_are_those_of_one_time_point(shown, tmp_path):
    save_result(shown, tmp_path / "a.tif")
    assert np.array_equal(io.read_labels(tmp_path / "a.tif").array, shown.volume())
    assert io.read_record(tmp_path / "a.tif").frame == 3
