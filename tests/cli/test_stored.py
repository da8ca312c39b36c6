"""Files that version 0.1.0 wrote before records had a version can still be used."""

import json
from pathlib import Path

import numpy as np

from anystar_torch import io
from tests.cli.conftest import refused, run

STORED = Path(__file__).parent / "stored"


def test_stored_candidates_give_the_labels_they_gave(capsys, tmp_path):
    target = tmp_path / "new.tif"
    said = run(capsys, "relabel", STORED / "old.candidates.npz", "-o", target)
    used = "prob_thresh 0.6, nms_thresh 0.3, diameter 13.0 given, normalisation minmax, tta, no coarse pass"
    assert f"1 object ({used})" in said
    with np.load(STORED / "old.labels.npz") as stored:
        assert np.array_equal(io.read_labels(target).array, stored["labels"])
    assert io.read(target).spacing == (0.5, 0.5, 0.5)


def test_info_shows_what_made_a_result(capsys, tmp_path):
    target = tmp_path / "new.tif"
    run(capsys, "relabel", STORED / "old.candidates.npz", "--prob-thresh", 0.7, "-o", target)
    assert json.loads(run(capsys, "info", target, "--json"))["prob_thresh"] == 0.7
    assert "nuclei.tif" in run(capsys, "info", target)
    io.write(target, io.read_labels(target).array, io.read(target))
    assert "holds no run record" in refused(capsys, "info", target)
