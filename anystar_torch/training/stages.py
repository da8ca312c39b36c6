"""Training stages: one run that trains with one configuration after another.

A recipe lists its stages under ``stages``, each as overrides in Hydra's syntax. A stage is the configuration of the run
with these overrides. It starts from the weights of the stage before. All stages but the last have folders of their own
below ``stages/`` of the run folder; the last one trains in the run folder itself, whose model is exported at the end.

Stages under ``branches`` follow those under ``stages``, and all of them start from the last of those. The exported
weights are then the mean of its weights and of those of all branches. Source: model soups, Wortsman et al. 2022.
Without ``stages`` there are no branches either.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anystar_torch.configuration.stored import current_config
from anystar_torch.training.budget import MINUTES, STEPS, stored_steps
from anystar_torch.training.checkpoints import LAST, last_checkpoint
from anystar_torch.training.resuming import read_checkpoint

STAGES = "stages"
"""Key of the configuration, and name of the folder of the stages before the last."""

BRANCHES = "branches"
"""Key of the configuration: stages that all start from the last one of ``stages``."""


class Stage(NamedTuple):
    """One stage of a run.

    Attributes:
        config: its configuration as composed, which is stored.
        placed: the same with its run folder, and its own ``resume`` and ``warm_start``.
        overrides: those that decide between a number of steps and a budget.
        number: from 1.
        total: number of stages of the run.
        folder: the run folder.
    """

    config: DictConfig
    placed: DictConfig
    overrides: Sequence[str]
    number: int
    total: int
    folder: str

    @property
    def title(self) -> str:
        """Its number, for messages."""
        return f"stage {self.number} of {self.total}"

    @property
    def last(self) -> bool:
        """Whether the run is complete after it."""
        return self.number == self.total


def stages_to_run(config: DictConfig, placed: DictConfig) -> list[Stage]:
    """The stages that are not complete yet, in their order. A run without ``stages`` is one stage.

    Args:
        config: the composed configuration of the run.
        placed: the same with its run folder.

    Raises:
        ValueError: a run folder is given to resume, and no stage has a checkpoint there.
        HydraException: an override of a stage is not valid.
    """
    task: Sequence[str] = HydraConfig.get().overrides.task
    trunk, branches = ([list(words) for words in config.get(key) or []] for key in (STAGES, BRANCHES))
    if not trunk:
        return [Stage(config, placed, task, 1, 1, placed.run_folder)]
    each = [*trunk, *branches]
    count, run_folder = len(each), Path(placed.run_folder)
    folders = [run_folder / STAGES / str(number) for number in range(1, count)] + [run_folder]
    if placed.resume is not None and not any(_checkpoint(folder).is_file() for folder in folders):
        last_checkpoint(placed.resume)
    stages = []
    for number, (words, folder) in enumerate(zip(each, folders, strict=True), 1):
        if placed.resume is not None and folder != run_folder and _complete(folder):
            continue
        before = None if number == 1 else str(folders[min(number - 1, len(trunk)) - 1])
        stage = _stage(placed, words, task, number, count, folder, before)
        if stage.last:
            export, others = stage.placed.report.export, [str(one) for one in folders[:-1]]
            export.earlier_stages, export.averaged_with = others, others[len(trunk) - 1 :]
        stages.append(stage)
    return stages


def _stage(
    run: DictConfig,
    words: list[str],
    task: Sequence[str],
    number: int,
    count: int,
    folder: Path,
    before: str | None,
) -> Stage:
    """A stage in ``folder`` that starts from the weights of the run folder ``before``."""
    # The command line follows the stage, so that it counts for all stages.
    composed = compose(HydraConfig.get().job.config_name, overrides=[*words, *task])
    config = current_config(composed)
    config[STAGES] = config[BRANCHES] = []  # what is stored describes this stage alone
    if before is not None:
        config.warm_start = before
    placed = current_config(config)
    placed.run_folder = str(folder)
    placed.resume = str(folder) if run.resume is not None and _checkpoint(folder).is_file() else None
    decided = any(word.startswith((f"{STEPS}=", f"{MINUTES}=")) for word in task)
    overrides = task if decided else words
    return Stage(config, placed, overrides, number, count, run.run_folder)


def _checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / LAST


def _complete(folder: Path) -> bool:
    """Whether the stage in ``folder`` has all of its steps."""
    path = _checkpoint(folder)
    return path.is_file() and read_checkpoint(path)["global_step"] >= stored_steps(str(folder))
