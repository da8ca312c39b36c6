"""The tutorial runs from top to bottom, and prints what its page says."""

import re

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.training.report import example_volume
from docs.make_tutorial import PAGE, plain, printed, shown

needs_stardist = pytest.mark.skipif(example_volume() is None, reason="the stardist package is missing")
NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?!\w)")


def compare(said, found):
    """Compare a block of the page with what was printed.

    Processors round differently: numbers may differ by 5 % or 0.06.
    """
    assert NUMBER.sub("#", said).split() == NUMBER.sub("#", found).split()
    numbers = [float(number) for number in NUMBER.findall(said)]
    assert [float(number) for number in NUMBER.findall(found)] == pytest.approx(numbers, rel=0.05, abs=0.06)


def rows(block):
    """The numbers in the rows of a table."""
    return [[float(n) for n in line.split()] for line in block.splitlines() if re.fullmatch(r"[\d. ]+", line)]


@needs_stardist
def test_the_page_describes_the_volume():
    volume, truth = (io.read(path).array for path in example_volume())
    size = " x ".join(map(str, volume.shape))
    assert f"{size} voxels (z, y, x) with {len(np.unique(truth)) - 1} nuclei" in " ".join(
        PAGE.read_text().split()
    )


@pytest.mark.slow
@needs_stardist
def test_the_tutorial_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    text = PAGE.read_text()
    for said, found in zip(shown(text), printed(text), strict=True):
        compare(said, found)
    names = ("nuclei.labels.tif", "nuclei.png", "nuclei.csv", "lower.tif")
    assert all((tmp_path / name).is_file() for name in names)


def test_sentences_repeat_the_figures_of_the_blocks():
    text = " ".join(PAGE.read_text().split())
    blocks = [rows(block) for block in shown(PAGE.read_text())]
    _, true, predicted, found, precision, recall = blocks[1][0][:6]
    assert f"{found:g} of {predicted:g} predicted objects are nuclei (precision {precision:g})" in text
    assert f"and {true - found:g} of {true:g} nuclei are missing (recall {recall:g})" in text
    assert f"F1 at IoU 0.5 rises from {blocks[1][1][6]:.3f} to {blocks[2][1][6]:.3f}" in text
    _, _, predicted, found = blocks[3][0][:4]
    assert (
        f"Now {found:g} of {true:g} nuclei are found at an IoU of 0.3, and {predicted - found:g} objects"
        in text
    )


def test_another_figure_on_the_page_is_noticed():
    table = (
        "┃ volume ┃ IoU ┃ true ┃ F1 ┃\n│ a.tif │ 0.5 │ 51 │ 0.771 │\na.tif: 32 objects (clipped) in 3.1 s\n"
    )
    assert plain(table) == " IoU  true  F1\n 0.5  51  0.771\na.tif: 32 objects (clipped)\n"
    compare(" IoU true F1\n 0.5 51 0.771\na.tif: 32 objects (clipped)\n", plain(table))
    for wrong in (" IoU true F1\n 0.5 51 0.871\na.tif: 32 objects (clipped)", "a.tif: 32 objects (clipped)"):
        with pytest.raises(AssertionError):
            compare(wrong, plain(table))
