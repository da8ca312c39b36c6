"""Generators in TorchIO and predictions in MONAI: the same arrays at the right axes, and examples that run."""

import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.inference.predictor import AnyStar
from tests.conftest import ROOT
from tests.inference.scenes import Sees, balls, config
from tests.io.test_orientation import oblique

pytestmark = pytest.mark.filterwarnings("ignore")  # of TorchIO's and MONAI's own making


@pytest.fixture(scope="module")
def synthesizer():
    return load_synthesizer("plain", shape=(8, 10, 12), seed=3)


@pytest.mark.long
def test_a_subject_is_the_sample_of_its_id(synthesizer):
    torchio = pytest.importorskip("torchio")
    from anystar_torch.exporting.torchio_dataset import SyntheticSubjects

    ids = [5, 2**61 + 1, 7]
    subjects = SyntheticSubjects(synthesizer, ids, spacing=(2, 1, 0.5))
    assert isinstance(subjects, torchio.SubjectsDataset)
    assert len(subjects) == 3
    for subject, number in zip(subjects, ids, strict=True):
        sample = synthesizer(torch.tensor([number]), device="cpu")
        assert subject["id"] == number
        assert subject.spacing == (0.5, 1.0, 2.0)
        assert subject.shape == (1, 12, 10, 8)
        assert torch.equal(subject["image"].data[0].permute(2, 1, 0), sample.image[0, 0])
        assert torch.equal(subject["labels"].data[0].permute(2, 1, 0), sample.labels[0, 0])
        assert subject["labels"].data.dtype == torch.int32


@pytest.mark.long
def test_torchio_transforms_and_loads_subjects(synthesizer):
    torchio = pytest.importorskip("torchio")
    from anystar_torch.exporting.torchio_dataset import SyntheticSubjects

    flipped = SyntheticSubjects(synthesizer, [1, 2, 3], transform=torchio.Flip(axes=0))
    plain = SyntheticSubjects(synthesizer, [1, 2, 3])
    assert torch.equal(flipped[1]["image"].data, plain[1]["image"].data.flip(1))
    batches = list(torchio.SubjectsLoader(plain, batch_size=2))
    assert [batch["id"].tolist() for batch in batches] == [[1, 2], [3]]
    assert torch.equal(batches[0]["labels"][torchio.DATA][1], plain[1]["labels"].data)
    with pytest.raises(ValueError, match="at least one sample"):
        SyntheticSubjects(synthesizer, [])


def test_the_transform_finds_what_anystar_finds():
    from monai.data.meta_tensor import MetaTensor

    from anystar_torch.exporting.monai_transform import AnyStard

    image, _ = balls((24, 40, 24), np.array([[12, 10, 11], [12, 28, 12]]))
    model = AnyStar(Sees().eval(), config())
    affine = oblique(spacing=(0.5, 0.5, 0.5))
    stored = MetaTensor(torch.from_numpy(image).permute(2, 1, 0)[None], affine=torch.from_numpy(affine))
    found = AnyStard("image", model, diameter=13, device="cpu")({"image": stored, "name": "a"})
    expected = model.predict(image, spacing=(1, 1, 1), diameter=13, device="cpu", progress=False)
    labels = found["image_labels"]
    assert sorted(found) == ["image", "image_labels", "name"]
    assert np.array_equal(labels[0].permute(2, 1, 0).numpy(), expected.labels)
    np.testing.assert_allclose(labels.affine, affine)
    plain = AnyStard("image", model, diameter=13, device="cpu", postfix="")({"image": stored.as_tensor()})
    assert np.array_equal(plain["image"].numpy(), labels.numpy())
    with pytest.raises(ValueError, match="add the channel axis"):
        AnyStard("image", model)({"image": stored[0]})


def _run(example, *arguments):
    command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / example), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_the_example_of_torchio_runs(tmp_path):
    said = _run("torchio_subjects.py", tmp_path / "subject", 16)
    assert said.count("images (2, 1, 16, 16, 16)") == 2
    image = nibabel.load(tmp_path / "subject" / "image.nii.gz")
    np.testing.assert_allclose(image.header.get_zooms(), (0.001, 0.001, 0.002), rtol=1e-5)
    assert nibabel.load(tmp_path / "subject" / "labels.nii.gz").shape == (16, 16, 16)


@pytest.mark.long
def test_the_example_of_monai_runs(tmp_path):
    image, _ = balls((32, 40, 32), np.array([[14, 12, 14], [16, 28, 16]]))
    volume = nibabel.Nifti1Image((image * 1000).T.astype(np.float32), oblique(spacing=(0.5, 0.5, 0.5)))
    nibabel.save(volume, tmp_path / "a.nii.gz")
    said = _run("monai_pipeline.py", tmp_path / "out", 13, tmp_path / "a.nii.gz")
    assert "objects" in said
    labels = nibabel.load(tmp_path / "out" / "a_labels.nii.gz")
    assert labels.shape == volume.shape
    np.testing.assert_allclose(labels.affine, volume.affine, atol=1e-4)
