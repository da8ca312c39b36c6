"""The report of an untrained network, and the diameters it measures on shapes whose size is known."""

import functools
import json
import sys
from io import StringIO
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import tifffile
import torch

from anystar_torch import AnyStar, load_synthesizer, matching
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.checkpoints import last_checkpoint
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training, linear_decay
from anystar_torch.training.object_sizes import BAND_SAMPLES, diameter_band, median_diameter
from anystar_torch.training.report import FAILED, STOPPED, Report, example_volume
from tests.exporting.networks import unet
from tests.training.runs import measured_receptive_field


def ball(radius, spacing=(1.0, 1.0, 1.0)):
    z, y, x = (np.arange(-30, 31) * step for step in spacing)
    return (z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius**2).astype(np.int32)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.6, 0.2, 0.2)])
def test_the_diameter_of_a_ball(spacing):
    radius = 10 * min(spacing)
    assert median_diameter(ball(radius, spacing), spacing) == pytest.approx(20, rel=0.02)


def test_the_diameter_is_that_of_the_median_object():
    labels = np.concatenate([ball(r) * label for label, r in enumerate([4, 4, 9, 15, 15], start=1)])
    assert median_diameter(labels, (1, 1, 1)) == pytest.approx(18, rel=0.02)


@pytest.mark.long
def test_the_band_is_weighted_by_volume():
    """Against numpy's percentiles of one diameter per labelled voxel."""
    synthesizer = load_synthesizer("plain", shape=(16, 16, 16), seed=2)
    each = []
    for sample in synthesizer(torch.arange(BAND_SAMPLES)).labels.numpy():
        _, place, counts = np.unique(sample[sample > 0], return_inverse=True, return_counts=True)
        each.append(np.cbrt(6 / np.pi * counts)[place])
    expected = np.percentile(np.concatenate(each), [5, 50, 95], method="inverted_cdf")
    assert diameter_band(synthesizer) == pytest.approx(expected, abs=0.06)


def test_a_folder_without_checkpoint_cannot_be_resumed(tmp_path):
    assert last_checkpoint(None) is None
    with pytest.raises(ValueError, match="cannot resume"):
        last_checkpoint(str(tmp_path))


def test_the_example_is_the_one_in_the_stardist_package():
    pytest.importorskip("stardist")
    found = example_volume()
    assert found is not None
    assert all(path.is_file() for path in found)


def report(folder, **changes):
    settings = {
        "folder": str(folder),
        "export": {"weights": "last", "recipe": "plain", "smallest_tile": 20},
        "samples": 2,
        "min_f1": 0.0,
        "image": None,
        "truth": None,
        "diameter": None,
        "spacing": None,
    }
    made = Report(**{**settings, **changes})
    made.console.file, made.console.width = StringIO(), 200
    return made


def run(made, steps, start):
    """Report on a run of ``steps`` steps that was at step 0; the exit status and the printed text."""
    torch.manual_seed(0)
    network = StarDist(rays=8, backbone=UNetBackbone(filters=2, depth=1, batch_norm=False), features=4)
    training = Training(
        network=network,
        loss=StarDistLoss(probability_weight=1, distance_weight=0.2, background=1e-4),
        optimizer=torch.optim.Adam,
        schedule=functools.partial(linear_decay, total_steps=1, decay_steps=1),
        start=start,
        channels_last=False,
    )
    synthesizer = load_synthesizer("plain", shape=(16, 16, 16), seed=2)
    data = SynthesisData(
        synthesizer=synthesizer,
        rays=8,
        anisotropy=(1, 1, 1),
        grid=(1, 1, 1),
        batch_size=2,
        validation_samples=2,
        normalisation="minmax",
    )
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False)
    status = made(trainer, training, data)
    return status, made.console.file.getvalue(), data


@pytest.mark.filterwarnings("ignore")  # of Lightning
class TestReport:
    @pytest.mark.long
    def test_scores_are_those_of_predictions_with_the_exported_model(self, tmp_path):
        labels = ball(10)
        for name, array in (("image", labels.astype(np.float32)), ("truth", labels.astype(np.uint16))):
            tifffile.imwrite(tmp_path / f"{name}.tif", array)
        files = {"image": str(tmp_path / "image.tif"), "truth": str(tmp_path / "truth.tif")}
        made = report(tmp_path / "run", **files)
        status, text, data = run(made, 0, {"probability": 0.5, "distance": 4.0})
        assert status == 0
        model = AnyStar.from_pretrained(tmp_path / "run")
        sample = data.synthesizer.on("report")(torch.arange(2))
        found = []
        for image, truth in zip(sample.image.numpy(), sample.labels.numpy(), strict=True):
            middle = model.config.diameter_band[1]
            predicted = model.predict(image[0], diameter=middle, device="cpu", progress=False).labels
            volumes = np.bincount(truth.reshape(-1))[1:]
            small = np.flatnonzero((volumes > 0) & (volumes < 0.1 * np.median(volumes[volumes > 0]))) + 1
            assert not small.size, "the sample has no object that the report leaves out"
            found.append(matching(truth[0], predicted, 0.3).f1)
        stored = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["provenance"]
        assert stored["synthetic_f1"]["0.3"] == pytest.approx(np.mean(found), abs=1e-4)
        assert (stored["recipe"], stored["seed"], stored["steps"], stored["weights"]) == (
            "plain",
            2,
            0,
            "last",
        )
        assert model.config.smallest_tile == 20
        assert model.config.receptive_field == measured_receptive_field(model)
        assert (tmp_path / "run" / "real.png").is_file()
        assert "diameter 20" in text
        assert f"anystar predict VOLUME --model {tmp_path / 'run' / 'model'}" in text

    def test_a_network_that_learned_nothing_fails(self, tmp_path):
        folder = tmp_path / "run [dapi]"
        made = report(folder, min_f1=0.2)
        made._export = lambda trainer, training, data: (None, 0.19)
        made._segment_real = lambda model: None
        status, text, _ = run(made, 0, None)
        assert status == FAILED
        assert "learned nothing" in text
        assert f"--model {folder / 'model'}" in text

    def test_a_stopped_run_says_how_it_is_resumed(self, tmp_path):
        status, text, _ = run(report(tmp_path), 5, None)
        assert status == STOPPED
        assert "stopped after step 0 of 5" in text
        assert f"resume={tmp_path}" in text
        assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (["/opt/venv/bin/anystar", "train", "seed=2", "name=a b"], "anystar train seed=2 'name=a b'"),
        (["train.py", "+experiment=mix"], "python train.py +experiment=mix"),
    ],
)
def test_the_stored_command_is_the_one_that_was_given(tmp_path, monkeypatch, given, command):
    monkeypatch.setattr(sys, "argv", given)
    data = Mock(spec=SynthesisData, synthesizer=SimpleNamespace(seed=2), batch_size=2)
    told = report(tmp_path)._provenance(Mock(spec=L.Trainer, global_step=5, world_size=1), data, {})
    assert told.command == command


def filled(network, value):
    """The state of the network with one value in all of its weights."""
    return {
        name: torch.full_like(old, value) if old.is_floating_point() else old
        for name, old in network.state_dict().items()
    }


@pytest.mark.parametrize(("which", "mean"), [("last", 3.0), ("best", 5.0)])
def test_the_exported_mean_is_of_the_same_weights_of_all_parts(tmp_path, which, mean):
    """The last weights of three run folders are 1, 2 and 6, the best ones 4, 8 and 3."""
    network = unet()
    folders = [tmp_path / name for name in "abc"]
    for folder, last, best in zip(folders, (1.0, 2.0, 6.0), (4.0, 8.0, 3.0), strict=True):
        (folder / "checkpoints").mkdir(parents=True)
        for name, value in (("last", last), ("best", best)):
            state = {f"network.{key}": tensor for key, tensor in filled(network, value).items()}
            torch.save({"state_dict": state}, folder / "checkpoints" / f"{name}.ckpt")
    network.load_state_dict(filled(network, 1.0))
    export = {"weights": which, "recipe": "plain", "averaged_with": [str(folder) for folder in folders[1:]]}
    made = report(folders[0], export=export)
    made._load_weights(network, made._exported(Mock(spec=SynthesisData)))
    for value in network.state_dict().values():
        assert not value.is_floating_point() or torch.all(value == mean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({"export": {"weights": "first"}}, "must be last or best"),
    ],
)
def test_settings_that_are_not_valid_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        report(tmp_path, **changes)
