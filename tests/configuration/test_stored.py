"""Configurations of run folders that were made before the package had rooms."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from anystar_torch.configuration import stored
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.configuration.stored import current_config
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.training.checkpoints import last_checkpoint
from anystar_torch.training.main import build

STORED = Path(__file__).parent / "stored_config.yaml"
TINY = [
    "shape=[16,16,16]",
    "model.rays=8",
    "model.features=4",
    "model.backbone.widths=[2,4]",
    "data.validation_samples=1",
    "callbacks.scores.samples=1",
    "report.samples=1",
    "trainer.precision=32-true",
    "trainer.val_check_interval=1",
]


def read(*overrides):
    register_resolvers()
    return OmegaConf.merge(OmegaConf.load(STORED), OmegaConf.from_dotlist(list(overrides)))


def targets(node):
    if isinstance(node, dict):
        return [
            *([node["_target_"]] if "_target_" in node else []),
            *(t for v in node.values() for t in targets(v)),
        ]
    return [t for v in node for t in targets(v)] if isinstance(node, list) else []


def test_every_class_is_found():
    found = targets(OmegaConf.to_container(current_config(read())))
    assert len(found) > 50
    for target in found:
        get_object(target)


def test_every_class_of_the_table_is_found():
    """Also those that the stored configuration does not use."""
    for module in stored.MODULES.values():
        __import__(f"anystar_torch.{module}")
    grouped = [target for groups in stored.GROUPED.values() for target, _ in groups.values()]
    for path in [*stored.CLASSES.values(), *stored.GROUPED, *grouped]:
        get_object(f"anystar_torch.{path}")


@pytest.mark.long
def test_the_generator_makes_what_it_made():
    """Against the samples of ids 0, 1, 2 of the version that stored the configuration."""
    synthesizer = instantiate(current_config(read("shape=[32,32,32]")).synth)
    sample = synthesizer(torch.arange(3))
    assert [int(labels.unique().numel()) - 1 for labels in sample.labels] == [17, 9, 28]
    mean = sample.image.mean((1, 2, 3, 4))
    torch.testing.assert_close(mean, torch.tensor([0.575777, 0.394311, 0.604020]), rtol=0, atol=1e-4)
    covered = (sample.labels > 0).float().mean((1, 2, 3, 4))
    torch.testing.assert_close(covered, torch.tensor([0.375763, 0.137939, 0.085602]), rtol=0, atol=1e-6)


def test_arguments_that_became_one_keep_their_values():
    scene = current_config(read()).synth.scene
    assert (list(scene.outline.widths), scene.outline.defocus) == ([0.5, 0.9], 0.8)
    assert (list(scene.mixture.limits.darkest), list(scene.mixture.limits.brightest)) == (
        [-38, -11],
        [160, 217],
    )
    assert not {"outline_defocus"} & set(scene)
    assert not {"darkest", "brightest"} & set(scene.mixture)


@pytest.mark.long
def test_a_configuration_of_this_version_stays_as_it_is():
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", ["+experiment=zero_shot"])
    contents = [OmegaConf.to_container(c, resolve=False) for c in (current_config(config), config)]
    assert contents[0] == contents[1]


@pytest.mark.long
def test_an_effect_that_is_gone_can_only_be_left_out(monkeypatch):
    monkeypatch.setattr(stored, "REMOVED", frozenset({"augment.resolution.RandomResolution"}))
    config = read()
    assert config.synth.effects.effects.resolution.p == 0
    assert "resolution" not in current_config(config).synth.effects.effects
    with pytest.raises(ValueError, match="RandomResolution, which no longer exists"):
        current_config(read("synth.effects.effects.resolution.p=0.5"))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of Lightning
def test_its_run_is_resumed_and_its_network_predicts(tmp_path):
    """The checkpoint is made here; it holds the same entries as it did then: no names of modules."""
    for steps in (1, 2):
        resume = f"resume={tmp_path if steps == 2 else 'null'}"
        config = read(*TINY, f"trainer.max_steps={steps}", f"run_folder={tmp_path}", resume)
        config.logger = {}
        config.callbacks.pop("progress")
        run = build(current_config(config))
        assert run.checkpoint == (last_checkpoint(str(tmp_path)) if steps == 2 else None)
        run.trainer.fit(run.training, datamodule=run.data, ckpt_path=run.checkpoint)
        assert run.trainer.global_step == steps
    seen = torch.load(run.checkpoint, weights_only=True)
    assert {"Average", "Checkpoints"} == set(seen["callbacks"])
    assert seen["global_step"] == 2
    run.report._segment_real = lambda model: None
    assert run.report(run.trainer, run.training, run.data) == 0
    model = AnyStar.from_pretrained(tmp_path)
    assert model.config.architecture == run.training.network.architecture


def test_the_time_in_a_run_folder_is_resolved_once():
    """Hydra makes the folder before the configuration is translated; both must name the same one."""
    calls = iter(range(9))
    OmegaConf.register_new_resolver("count_once", lambda: next(calls), use_cache=True, replace=True)
    config = OmegaConf.create({"run_folder": "${count_once:}", "report": {"folder": "${run_folder}"}})
    assert config.run_folder == 0
    assert current_config(config).report.folder == 0
