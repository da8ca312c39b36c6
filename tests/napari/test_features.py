"""Features of objects against a direct computation, and colours by them."""

import numpy as np
import pytest

from anystar_torch.napari.drawn_size import drawn_diameter
from anystar_torch.napari.features import measure

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from anystar_torch.napari.colours import coloured, within


def labelled():
    labels = np.zeros((8, 9, 10), np.int32)
    labels[1:4, 2:6, 3:5], labels[7, 8, 9] = 2, 5
    return labels


@pytest.mark.parametrize(("spacing", "unit"), [(None, ""), ((2.0, 0.5, 0.5), "um"), ((2.0, 0.5, 0.5), "")])
def test_features_are_those_of_the_voxels(spacing, unit):
    labels = labelled()
    found = measure(labels, {2: 0.75}, spacing, unit)
    assert found["index"].tolist() == [2, 5]
    assert found["touches_border"].tolist() == [False, True]
    assert found["score"][0] == 0.75
    assert np.isnan(found["score"][1])
    step = np.array(spacing or (1, 1, 1))
    for row, label in enumerate((2, 5)):
        places = np.argwhere(labels == label)
        volume = len(places) * np.prod(step)
        assert [found[axis][row] for axis in "zyx"] == pytest.approx(places.mean(0), abs=1e-3)
        assert found["volume"][row] == pytest.approx(volume if unit else len(places))
        diameter = 2 * (3 * volume / (4 * np.pi)) ** (1 / 3)
        assert found["diameter"][row] == pytest.approx(diameter if unit else diameter / step.min(), abs=1e-3)


def test_labels_without_objects_have_no_rows():
    assert all(len(column) == 0 for column in measure(np.zeros((3, 3, 3), np.int32), {}).values())


def plain(label):
    return np.array([1, 0, 0, 1.0])


def test_colours_rise_with_the_feature_and_hidden_objects_are_transparent():
    columns = measure(labelled(), {2: 0.9, 5: 0.3})
    shown = within(columns, "score", 0.5, 1.0)
    assert shown.tolist() == [True, False]
    colours = coloured(columns, "volume", shown, plain).color_dict
    assert colours[5][3] == 0
    assert colours[2][3] == 1
    everything = coloured(columns, "volume", np.array([True, True]), plain).color_dict
    assert everything[2][:3] != pytest.approx(everything[5][:3])
    assert coloured(columns, None, shown, plain).color_dict[2] == pytest.approx((1, 0, 0, 1))


def test_objects_without_a_value_stay_shown():
    assert within(measure(labelled(), {2: 0.9}), "score", 0.95, 1.0).tolist() == [False, True]


LINE = np.array([[4.0, 0, 0], [4, 3, 4]])
ELLIPSE = np.array([[4.0, 0, 0], [4, 0, 10], [4, 8, 10], [4, 8, 0]])


@pytest.mark.parametrize(
    ("vertices", "kind", "scale", "diameter"),
    [
        (LINE, "line", (1, 1, 1), 5),
        (LINE, "line", (2, 0.5, 0.5), 5),
        (LINE, "line", (1, 2, 1), np.hypot(6, 4)),
        (np.array([[0.0, 0, 0], [3, 0, 0]]), "line", (2, 0.5, 0.5), 12),
        (ELLIPSE, "ellipse", (1, 1, 1), 9),
        (ELLIPSE, "rectangle", (1, 1, 2), 14),
    ],
)
def test_a_drawn_shape_has_a_diameter_in_voxels_of_the_finest_axis(vertices, kind, scale, diameter):
    assert drawn_diameter(vertices, kind, scale, (0, 1, 2)) == pytest.approx(diameter)


def test_shapes_without_a_diameter_are_refused():
    with pytest.raises(ValueError, match="polygon"):
        drawn_diameter(LINE, "polygon", (1, 1, 1), (0, 1, 2))
    with pytest.raises(ValueError, match="shorter"):
        drawn_diameter(LINE * 0.1, "line", (1, 1, 1), (0, 1, 2))
