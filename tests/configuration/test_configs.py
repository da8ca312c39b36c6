"""Every YAML under configs/ is reachable, composes, and instantiates."""

import importlib.util
import re

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training
from anystar_torch.training.report import Report
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"
GROUPS = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())
ADDED = ("experiment", "debug")  # not in the defaults list: chosen with a plus
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    for path in sorted((CONFIGS / group).glob("*.yaml"))
    if not path.stem.startswith("_") and path.stem not in ("start", "finetune")
]  # tests/training/test_finetuning.py composes the recipe that needs a model and annotated volumes
SMALL = [
    "model.backbone.filters=2",
    "model.backbone.depth=1",
    "shape=[16,16,16]",
]  # so that anystar's 66 M parameters need not be made
NARROW = ["model.backbone.widths=[2,4]", "shape=[16,16,16]"]  # the same for the residual U-Net
RESIDUAL = ("light", "zero_shot", "zero_shot_gpu", "laptop")  # choices with that backbone


def composed(overrides, folder):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [*overrides, f"run_folder={folder}"])


@pytest.mark.long
@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_composes_and_instantiates(group, choice, tmp_path):
    plus = "+" if group in ADDED else ""
    if group == "augment":
        group = "augment@synth"
    small = NARROW if group in ("model", "experiment", "hardware") and choice in RESIDUAL else SMALL
    config = composed([f"{plus}{group}={choice}", *small], tmp_path)
    assert isinstance(instantiate(config.training), Training)
    assert isinstance(instantiate(config.data), SynthesisData)
    assert isinstance(instantiate(config.report), Report)
    assert all(value is not None for value in instantiate(config.callbacks).values())
    if choice != "wandb" or importlib.util.find_spec("wandb") is not None:
        assert all(value is not None for value in instantiate(config.logger).values())
    assert config.trainer.max_steps > 0


def test_the_paper_is_the_default(tmp_path):
    config = composed(["+experiment=mix"], tmp_path)
    assert (config.trainer.max_steps, config.batch_size, config.model.rays) == (180000, 2, 96)
    assert (config.model.backbone.depth, config.model.backbone.filters, list(config.model.grid)) == (
        5,
        32,
        [1, 1, 1],
    )
    assert config.training.optimizer.lr == 2e-4


@pytest.mark.long
@pytest.mark.parametrize(
    ("choices", "steps", "expected"),
    [
        (["+experiment=zero_shot"], 6000, (2, 180, 600, 1 - 1 / 240, "cpu")),
        (["+experiment=zero_shot", "hardware=gpu", "batch_size=32"], 2000, (32, 60, 200, 1 - 1 / 80, "auto")),
        (["+experiment=zero_shot_gpu"], 20000, (16, 600, 4000, 1 - 1 / 800, "auto")),
    ],
)
def test_the_zero_shot_recipe_follows_from_the_number_of_steps(choices, steps, expected, tmp_path):
    config = composed([*choices, f"trainer.max_steps={steps}", *NARROW], tmp_path)
    schedule = config.training.schedule
    found = (
        config.batch_size,
        schedule.warmup_steps,
        config.trainer.val_check_interval,
        config.callbacks.average.decay,
        config.trainer.accelerator,
    )
    assert found == expected
    assert (schedule.decay_steps, schedule.total_steps) == (steps, steps)
    assert config.recipe == "zero_shot"


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_that_is_not_installed_says_so(tmp_path):
    config = composed(["+experiment=mix", "logger=wandb", *SMALL], tmp_path)
    assert {"csv", "tensorboard", "wandb"} == set(config.logger)
    with pytest.raises(InstantiationException, match="pip install wandb"):
        instantiate(config.logger)


def test_every_number_of_devices_is_a_recipe(tmp_path):
    config = composed(["+experiment=mix", "hardware=ddp", *SMALL], tmp_path)
    assert (config.trainer.strategy, config.trainer.devices, config.trainer.num_nodes) == ("ddp", "auto", 1)
    assert config.training.channels_last
    assert config.trainer.sync_batchnorm is torch.cuda.is_available()


GPUS = {
    "a GPU": (True, True, "bf16-mixed", True),
    "a GPU without bf16": (True, False, "16-mixed", True),
    "no GPU": (False, False, "32-true", False),
}


@pytest.mark.long
@pytest.mark.parametrize("machine", GPUS)
@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cpu"])
def test_precision_and_batch_normalisation_are_those_of_the_device(
    machine, accelerator, tmp_path, monkeypatch
):
    """A CPU run on a machine with a GPU is one of a CPU."""
    there, bf16, precision, shared = GPUS[machine]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    monkeypatch.setattr("anystar_torch.configuration.resolvers.multiplies_bf16", lambda: False)
    config = composed(
        ["+experiment=mix", "hardware=ddp", f"trainer.accelerator={accelerator}", *SMALL], tmp_path
    )
    on_cpu = accelerator == "cpu" or machine == "no GPU"
    assert config.trainer.precision == ("32-true" if on_cpu else precision)
    assert config.trainer.sync_batchnorm is (shared and not on_cpu)


@pytest.mark.long
@pytest.mark.parametrize("hardware", ["gpu", "ddp", "laptop"])
def test_callbacks_are_called_in_the_right_order(hardware, tmp_path):
    """Scores see the averaged weights, and checkpoints hold the average that the step led to."""
    config = composed(["+experiment=mix", f"hardware={hardware}", "model=small", *SMALL], tmp_path)
    callbacks = list(instantiate(config.callbacks).values())
    for given in (callbacks, callbacks[::-1]):
        order = [
            type(c).__name__ for c in L.Trainer(accelerator="cpu", logger=False, callbacks=given).callbacks
        ]
        assert order[-1] == "Checkpoints"
        assert "ModelCheckpoint" not in order
    assert list(config.callbacks)[:2] == ["scores", "average"]
    assert config.callbacks.checkpoint.every_n_steps == (100 if hardware == "laptop" else 1000)


FLAGS = [
    "n_stacks",
    "n_imgs",
    "n_offline_augmentations",
    "grid_size",
    "r_mean",
    "r_min",
    "r_max",
    "epochs",
    "steps",
    "batch_size",
    "name",
    "lr",
    "losswt_1",
    "losswt_2",
    "nrays",
    "val_samples",
    "rng_seed",
]


def test_every_flag_of_anystar_has_an_override_that_exists(tmp_path):
    """The table of docs/training.md against the configuration it speaks of."""
    page = (ROOT / "docs" / "training.md").read_text().partition("## AnyStar's flags")[2]
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("| `--")]
    flags = [flag for row in rows for flag in re.findall(r"`--(\w+)`", row[0])]
    assert sorted(flags) == sorted(FLAGS)
    config = composed(["+experiment=mix", *SMALL], tmp_path)
    overrides = [key for row in rows for cell in row[1:] for key in re.findall(r"`([\w.]+)`", cell)]
    assert len(overrides) >= len(rows)
    for key in overrides:
        assert OmegaConf.select(config, key) is not None, key


def test_the_command_line_wins(tmp_path):
    config = composed(
        [
            "+experiment=mix",
            "hardware=laptop",
            "model=small",
            "synth=plain",
            "trainer.max_steps=50",
            "seed=3",
        ],
        tmp_path,
    )
    assert (config.trainer.max_steps, config.seed, config.model.backbone.filters) == (50, 3, 16)
