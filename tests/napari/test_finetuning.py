"""Fine-tuning in a process of its own: what it reads, what it reports, how it ends; without Qt."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from anystar_torch.napari.background import CancelledError, Progress
from anystar_torch.napari.finetuning import Corrected, command, fine_tune, steps_done
from anystar_torch.napari.models import SHIPPED


def test_the_corrected_part_is_what_fine_tuning_reads(tmp_path, scene):
    image, labels = scene
    part = (slice(0, 24), slice(0, 40), slice(0, 24))
    entry = Corrected(image, labels, part, (2.0, 1.0, 1.0)).write(tmp_path / "with space")
    words = command(entry, tmp_path / "run", SHIPPED, 3)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(words[4:])}
    (annotated,) = parsed["data.annotated"]
    found = pytest.importorskip("anystar_torch.training.annotation").Annotation.read(**annotated)
    assert np.array_equal(found.image, image)
    assert found.spacing == (2, 1, 1)
    assert (found.labels[:, :, 24:] == -1).all()
    assert parsed["minutes"] == 3


def test_an_unknown_voxel_size_is_left_to_the_network(tmp_path, scene):
    """As in a prediction: a network for flat voxels takes the voxels of the volume to be as flat."""
    assert "spacing" not in Corrected(*scene).write(tmp_path)


NAMES = [
    "müller",
    "日本",
    "with space",
    "a,b",
    "a[b]{c}",
    "a=b",
    "a'b",
    'a"b',
    "a:b#c",
    "a\\new",
    'a\\"b',
    "a\\",
]


@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_the_same_paths(tmp_path, scene, name):
    from hydra import compose, initialize_config_dir

    from anystar_torch.configuration.folder import config_folder

    folder, model = tmp_path / name, str(tmp_path / "models" / name)
    entry = Corrected(*scene).write(folder)
    words = command(entry, folder, model, 3)
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("train", words[4:], return_hydra_config=True)
    assert composed.data.annotated[0].image == str(folder / "image.npy")
    assert composed.data.annotated[0].labels == str(folder / "labels.npy")
    assert composed.hydra.run.dir == str(folder)
    assert composed.warm_start == model


def test_a_training_reports_steps_and_returns_its_model(tmp_path):
    script = (
        "import pathlib, sys; f = pathlib.Path(sys.argv[1]); (f / 'csv').mkdir();"
        "(f / 'csv' / 'metrics.csv').write_text('step,loss\\n1,2\\n7,1\\n')"
    )
    model = fine_tune([sys.executable, "-c", script, str(tmp_path)], tmp_path, Progress())
    assert model == tmp_path / "model"
    assert steps_done(tmp_path) == 7


def test_a_failed_training_says_its_last_line(tmp_path):
    words = [sys.executable, "-c", "raise SystemExit('anystar: no objects')"]
    with pytest.raises(ValueError, match="failed: no objects"):
        fine_tune(words, tmp_path, Progress())


@pytest.mark.long
def test_the_command_refuses_what_is_wrong_without_its_own_name(tmp_path, scene):
    entry = Corrected(*scene).write(tmp_path)
    words = command(entry, tmp_path / "run", SHIPPED, 3, ("no_such_setting=1",))
    with pytest.raises(ValueError, match=r"^the fine-tuning failed: (?!-c|anystar).*no_such_setting"):
        fine_tune(words, tmp_path / "run", Progress())


def test_a_cancelled_training_ends_its_process(tmp_path, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        fine_tune([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, progress)
    assert started[0].poll() is not None
