"""The folder of a run: whether a new run may use it, and how a resumed run differs from its stored settings."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from anystar_torch.configuration.stored import current_config
from anystar_torch.training.budget import say
from anystar_torch.training.checkpoints import LAST
from anystar_torch.training.resuming import differences, first_phrases, flat

STAGES = "stages"
"""Name of the folder of the stages before the last, and key of the configuration."""

PLACES = ("resume", "run_folder", "minutes", STAGES, "branches")
"""Settings that a resumed run may have otherwise: they say where and for how long it trains, or describe the recipe."""

OF_A_STAGE = ("seed", "shape", "warm_start", "trainer.max_steps", "model", "synth")
"""Settings that determine the weights of a stage. A group stands for all of its settings."""

WITHOUT_EFFECT = ("warm_start", "training.start", "training.optimizer")
"""Settings whose value is in the checkpoint. A group stands for all of its settings."""

APPLIED = ("training.optimizer.lr", "training.optimizer._target_", "training.optimizer._partial_")
"""Those of the optimiser that are not taken from the checkpoint."""

LINES = 20
"""Largest number of changed settings that are printed."""


def check_unused(folder: str) -> None:
    """Refuse a new run in the folder of an earlier one, whose checkpoints and model would be mixed with its own.

    Args:
        folder: the run folder.

    Raises:
        ValueError: the folder, or that of a stage, has a checkpoint, or the folder has a model.
    """
    path = Path(folder)
    checkpoints = [place / "checkpoints" / LAST for place in (path, *path.glob(f"{STAGES}/*"))]
    if any(one.is_file() for one in checkpoints) or (path / "model").exists():
        raise ValueError(
            f"{folder} holds an earlier training; resume it with resume={folder}, or choose another run_folder"
        )


def claimed(folder: str) -> str:
    """The path of a folder that no other run has begun in: ``folder``, or with "-2", "-3" and so on.

    Args:
        folder: a folder that is named by the time, so two runs that start in the same second have the same name.
    """
    name, number = folder, 1
    while True:
        try:
            Path(name, ".hydra").mkdir(parents=True)  # of two processes only one can make it
        except FileExistsError:
            number += 1
            name = f"{folder}-{number}"
        else:
            return name


def named_by_time(config: DictConfig) -> bool:
    """Whether the run folder is the default one, or another whose name holds the time.

    Args:
        config: the composed configuration.
    """
    container: Any = OmegaConf.to_container(config, resolve=False)
    return "${now:" in str(container["run_folder"])


def stored_config(folder: str | Path) -> DictConfig | None:
    """The stored configuration of a run or stage, in the names of this version; None if there is none.

    Args:
        folder: the folder of the run or stage.
    """
    path = Path(folder, ".hydra", "config.yaml")
    if not path.is_file():
        return None
    stored = OmegaConf.load(path)
    assert isinstance(stored, DictConfig)
    return current_config(stored)


def started_from(folder: str | Path, config: DictConfig) -> str | None:
    """What a resumed run started from: its stored ``warm_start``, or the given one where that no longer exists.

    Args:
        folder: of the run.
        config: its configuration.
    """
    stored = stored_config(folder)
    given: str | None = config.get("warm_start")
    if stored is None:
        return given
    start: str | None = stored.get("warm_start")
    gone = start is not None and start != "pretrained" and not Path(start).exists()
    return given if gone else start


def check_same_stage(folder: Path, config: DictConfig, has_budget: bool) -> None:
    """Refuse to resume or to leave out a stage that was trained with other settings.

    Args:
        folder: of the stage.
        config: the configuration of the stage.
        has_budget: whether the number of steps follows from a budget; the stored number is then kept.

    Raises:
        ValueError: settings that determine the weights differ. The line names them.
    """
    stored = stored_config(folder)
    if stored is None:
        return
    keys = [key for key in OF_A_STAGE if not (has_budget and key == "trainer.max_steps")]
    there, here = (
        {name: value for name, value in _settings(one).items() if _in(name, keys)} for one in (stored, config)
    )
    if different := differences(there, here):
        raise ValueError(
            f"cannot resume {folder}: it was trained with other settings: {first_phrases(different)}; repeat the "
            "stages and branches of the first command, or start a new run"
        )


def changed_settings(folder: str | Path, config: DictConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that differ from the stored ones: dotted name -> stored and given value, as they were written.

    Args:
        folder: of the run or stage.
        config: its configuration.
    """
    stored = stored_config(folder)
    if stored is None:
        return {}
    there, here = _settings(stored), _settings(config)
    return {
        name: (there.get(name), here.get(name))
        for name in {**there, **here}
        if there.get(name) != here.get(name) and not _in(name, PLACES)
    }


def say_unused(folder: Path, config: DictConfig, title: str) -> None:
    """Print settings of the training that a complete stage does not get any more, one per line.

    Args:
        folder: of the stage.
        config: its configuration.
        title: its number, for the line.
    """
    changed = changed_settings(folder, config)
    _say(
        f"{title} is complete and keeps {name}={there}; {here} is not applied"
        for name, (there, here) in changed.items()
        if _in(name, ("batch_size", "data", "training"))
    )


def resumed_config(folder: str, config: DictConfig) -> DictConfig:
    """The configuration to store for a resumed run. Every changed setting is printed in a line.

    Settings that are in the checkpoint keep their stored value.

    Args:
        folder: of the run or stage.
        config: its configuration.
    """
    changed, kept = changed_settings(folder, config), deepcopy(config)
    lines = []
    for name, (there, here) in changed.items():
        if _in(name, WITHOUT_EFFECT) and name not in APPLIED:
            lines.append(f"resumed: {name} stays {there}; {here} is not applied")
            with open_dict(kept):
                OmegaConf.update(kept, name, there)
        else:
            lines.append(f"resumed: {name} is {here} from here on; it was {there}")
    _say(lines)
    return kept


def _say(lines: Iterable[str]) -> None:
    """Print the first lines, and how many there are more."""
    listed = list(lines)
    more = [f"resumed: {len(listed) - LINES} more settings changed"] if len(listed) > LINES else []
    for line in [*listed[:LINES], *more]:
        say(line)


def _in(name: str, keys: Sequence[str]) -> bool:
    """Whether a dotted name is one of ``keys`` or in a group of that name."""
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _settings(config: DictConfig) -> dict[str, Any]:
    """All settings by their dotted names, with interpolations as they were written.

    A stage as ``warm_start`` is written without the folder of its run, which may have been moved.
    """
    container: Any = OmegaConf.to_container(config, resolve=False)
    settings = flat(container)
    start = settings.get("warm_start")
    if isinstance(start, str) and Path(start).parent.name == STAGES:
        settings["warm_start"] = f"{STAGES}/{Path(start).name}"
    return settings
