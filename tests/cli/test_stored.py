"""Files that version 0.1.0 wrote before records had a version can still be used."""

from pathlib import Path

import numpy as np

from anystar_torch import io
from tests.cli.conftest import run

STORED = Path(__file__).parent / "stored"


def test_stored_candidates_give_the_labels_they_gave(capsys, tmp_path):
    target = tmp_path / "new.tif"
    said = run(capsys, "relabel", STORED / "old.candidates.npz", "-o", target)
    used = "prob_thresh 0.6, nms_thresh 0.3, diameter 13.0 given, normalisation minmax, tta, no coarse pass"
    assert f"1 objects ({used})" in said
    with np.load(STORED / "old.labels.npz") as stored:
        assert np.array_equal(io.read_labels(target).array, stored["labels"])
    assert io.read(target).spacing == (0.5, 0.5, 0.5)
