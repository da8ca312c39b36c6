"""Thresholds with more digits than their fields show."""

import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")
pytest.importorskip("pytestqt", reason="controls are tested with pytest-qt")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt can be loaded here", exc_type=ImportError)

from anystar_torch.napari.views.thresholds_box import Threshold, ThresholdsBox


@pytest.mark.parametrize("lowest", [0.15034999, 0.1505, 0.15, 0.07, 0.2425])
def test_the_lowest_choice_is_not_below_the_candidates(qtbot, lowest):
    threshold = Threshold()
    threshold.set(2 * lowest, lowest)
    threshold.spin.setValue(0)
    assert lowest <= threshold.value < lowest + 0.001
    threshold.slider.setValue(0)
    assert threshold.value >= lowest


def test_a_threshold_that_is_not_moved_stays_exact(qtbot):
    box, sent = ThresholdsBox(), []
    box.changed.connect(lambda *values: sent.append(values))
    box.prob.set(0.43746, 0.21873)
    box.nms.set(1.0, 0.0)  # more than the field takes
    assert box.values == (0.43746, 1.0)
    box.nms.spin.setValue(0.4)
    box.prob.spin.setValue(0.5)
    assert sent == [(0.43746, 0.4), (0.5, 0.4)]
