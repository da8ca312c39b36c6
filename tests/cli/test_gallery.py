"""``anystar gallery``: what exists is replaced only if asked to, and what cannot be written is said before the work."""

import nibabel
import numpy as np
import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.generator.synthesizer import Synthesizer
from tests.cli.conftest import refused, run

SMALL = ("--shape", 16, 16, 16, "--device", "cpu")


@pytest.fixture
def unused(monkeypatch):
    """The generator must not be asked: what is refused is refused before the work."""

    def asked(*arguments, **options):
        raise AssertionError("a sample was made before the outputs were checked")

    monkeypatch.setattr(Synthesizer, "__call__", asked)


@pytest.mark.parametrize(("option", "name"), [("-o", "g.png"), ("--save", "samples/000001_labels.nii.gz")])
def test_existing_files_are_replaced_only_if_asked_to(tmp_path, capsys, unused, monkeypatch, option, name):
    (tmp_path / "samples").mkdir()
    (tmp_path / name).write_bytes(b"mine")
    place = tmp_path / name if option == "-o" else tmp_path / "samples"
    line = refused(capsys, "gallery", "--ids", "0:3", option, place, *SMALL)
    assert f"{tmp_path / name} exists" in line
    assert "--overwrite" in line
    assert (tmp_path / name).read_bytes() == b"mine"
    assert sum(one.is_file() for one in tmp_path.rglob("*")) == 1
    monkeypatch.undo()
    run(capsys, "gallery", "--ids", "0:3", option, place, "--overwrite", *SMALL)
    assert (tmp_path / name).read_bytes() != b"mine"


def test_saved_samples_are_those_of_the_generator(tmp_path, capsys):
    out = run(capsys, "gallery", "--ids", "5,2:4", "--save", tmp_path / "new" / "folder", "--seed", 3, *SMALL)
    assert out == f"{tmp_path / 'new' / 'folder'}: 3 pairs of image and labels\n"
    sample = load_synthesizer("mix", shape=(16, 16, 16), seed=3)(torch.tensor([2, 3, 5]))
    for number, image, labels in zip((2, 3, 5), sample.image, sample.labels, strict=True):
        stem = tmp_path / "new" / "folder" / f"{number:06d}"
        for name, expected in (("image", image), ("labels", labels)):
            stored = np.asarray(nibabel.load(f"{stem}_{name}.nii.gz").dataobj).transpose(2, 1, 0)
            assert np.array_equal(stored, expected[0].numpy())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "g.bmp"], "pictures end in"),
        (["-o", "folder.png", "--overwrite"], "it is a folder"),
        (["--ids", "0:1001"], "at most 1000 samples, got 1001"),
        (["--ids", "0:99999999999", "--save", "x"], "at most 1000000 samples"),
        (["--ids", str(2**62 + 1)], "at most 2^62"),
        (["--ids", "5:5"], "--ids must be a range"),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_work(
    tmp_path, capsys, monkeypatch, unused, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    assert words in refused(capsys, "gallery", *arguments, *SMALL)
    assert [one.name for one in tmp_path.iterdir()] == ["folder.png"]
