"""Sweeps that start in the same second have folders of their own."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training.sweep_folder import SweepFolder


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """Hydra's loader of configurations, for which time stands still."""
    monkeypatch.chdir(tmp_path)
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        OmegaConf.register_new_resolver("now", lambda form: form.replace("%", ""), replace=True)
        yield GlobalHydra.instance().hydra.config_loader
    setup_globals()


def started(loader, *words):
    """The configuration of a sweep that has started."""
    config = loader.load_configuration("train", list(words), RunMode.MULTIRUN)
    (callback,) = config.hydra.callbacks.values()
    assert callback._target_ == f"{SweepFolder.__module__}.{SweepFolder.__name__}"
    SweepFolder().on_multirun_start(config, config_name="train")
    return config


def test_two_sweeps_of_one_second_have_folders_of_their_own(loader):
    """Hydra composes the configuration of every job anew. A sweep over names has a folder for every name."""
    found = []
    for _ in range(3):
        config = started(loader, "seed=1,2")
        jobs = [loader.load_sweep_config(config, [word]) for word in ("seed=1", "name=other")]
        found.append([one.hydra.sweep.dir for one in (config, *jobs)])
    names = ["mix", "mix", "other"]
    assert found == [[f"outputs/Y-m-d/H-M-S-{name}{more}" for name in names] for more in ("", "-2", "-3")]


@pytest.mark.parametrize("word", ["hydra.sweep.dir=x", "run_folder=x", "resume=x"])
def test_a_given_folder_of_a_sweep_stays(loader, word):
    for _ in range(2):
        assert started(loader, "seed=1,2", word).hydra.sweep.dir == "x"
