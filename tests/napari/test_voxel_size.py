"""The fields of the voxel size: only what is edited changes the layer."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="controls are tested with pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from napari.components import ViewerModel
from qtpy.QtCore import Qt

from anystar_torch.napari.state import State
from anystar_torch.napari.views.image_box import ImageBox

SIZES = (0.00406, 0.325 / 3, 1 / 3)


@pytest.fixture
def box(qtbot):
    """The box over an image with voxel sizes that have many digits."""
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)), name="fine", scale=SIZES, units="um")
    made = ImageBox(State(viewer))
    qtbot.addWidget(made)
    return made


def enter(qtbot, field, text):
    """Type into a field and leave it, as a person would."""
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def test_voxel_sizes_are_shown_with_their_digits(box):
    texts = [field.text().replace(",", ".") for field in box.spacing]
    assert texts == ["0.00406", "0.108333", "0.333333"]


def test_a_field_that_is_left_without_an_edit_changes_nothing(qtbot, box):
    for field in box.spacing:
        field.editingFinished.emit()  # the focus is lost
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert box.state.image.scale.tolist() == list(SIZES)


def test_only_the_edited_axis_changes(qtbot, box):
    enter(qtbot, box.spacing[1], "0.25")
    assert box.state.image.scale.tolist() == [SIZES[0], 0.25, SIZES[2]]
    enter(qtbot, box.spacing[0], "0.00503")
    assert box.state.image.scale.tolist() == [0.00503, 0.25, SIZES[2]]


def test_an_edited_axis_keeps_the_unit_of_its_layer(qtbot, box):
    box.state.image.units = "nm"
    box.state.image.scale = (1200, 325 / 3, 325 / 3)
    box.refresh()
    enter(qtbot, box.spacing[0], "0.9")
    assert box.state.image.scale.tolist() == pytest.approx([900, 325 / 3, 325 / 3], rel=1e-12)
    assert box.state.volume().spacing[0] == pytest.approx((0.9, 0.325 / 3, 0.325 / 3), rel=1e-12)
