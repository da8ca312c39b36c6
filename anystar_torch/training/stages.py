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
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from anystar_torch.configuration.stored import current_config
from anystar_torch.training.budget import MINUTES, STEPS, budget_of, say, stored_steps
from anystar_torch.training.checkpoints import LAST, last_checkpoint
from anystar_torch.training.overrides import sets
from anystar_torch.training.resuming import read_checkpoint
from anystar_torch.training.run_folder import STAGES, check_same_stage, say_unused

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

    The budgets of all stages are checked here, before the first one trains.

    Args:
        config: the composed configuration of the run.
        placed: the same with its run folder.

    Raises:
        ValueError: ``stages``, ``branches`` or the budget of a stage is not valid, or the run is a fine-tuning. Or the
            run is resumed from a folder where no stage has a checkpoint, with another run folder, or with a stage that
            was trained with other settings.
        HydraException: an override of a stage is not valid.
    """
    task: Sequence[str] = HydraConfig.get().overrides.task
    trunk, branches = (_listed(config, key) for key in (STAGES, BRANCHES))
    if not trunk:
        _check_no_stages(placed.resume)
        budget_of(config, task)
        return [Stage(config, placed, task, 1, 1, placed.run_folder)]
    if OmegaConf.select(config, "data.annotated") is not None:
        raise ValueError(f"a fine-tuning has no stages; leave out {STAGES}, and give {STEPS} or {MINUTES}")
    each = [*trunk, *branches]
    count, run_folder = len(each), Path(placed.run_folder)
    folders = [run_folder / STAGES / str(number) for number in range(1, count)] + [run_folder]
    if placed.resume is not None:
        _check_resumed(Path(placed.resume), run_folder, folders)
    if count > 1 and sets(task, "seed"):
        say("seed= on the command line counts for every stage: all of them begin with the same samples")
    stages = []
    for number, (words, folder) in enumerate(zip(each, folders, strict=True), 1):
        before = None if number == 1 else str(folders[min(number - 1, len(trunk)) - 1])
        stage = _stage(placed, words, task, number, count, folder, before)
        budget = budget_of(stage.config, stage.overrides)
        if stage.placed.resume is not None:
            check_same_stage(folder, stage.config, budget is not None)
            if not stage.last and _complete(folder):
                say_unused(folder, stage.config, stage.title)
                continue
        if stage.last:
            export, others = stage.placed.report.export, [str(one) for one in folders[:-1]]
            export.earlier_stages, export.averaged_with = others, others[len(trunk) - 1 :]
        stages.append(stage)
    return stages


def _listed(config: DictConfig, key: str) -> list[list[str]]:
    """The overrides of every stage under ``key``."""
    value: Any = config.get(key)
    stages = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    if stages is None:
        return []
    if not isinstance(stages, list) or not all(_are_overrides(words) for words in stages):
        raise ValueError(
            f"{key} must be a list with a list of overrides for each stage, such as "
            f"[['{STEPS}=900'],['{STEPS}=100','seed=2']], got {stages!r}"
        )
    return stages


def _are_overrides(words: Any) -> bool:
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _check_no_stages(resume: str | None) -> None:
    """Refuse to resume a run in stages without its stages: its model would be that of the last one alone."""
    if resume is not None and Path(resume, STAGES).is_dir():
        raise ValueError(
            f"cannot resume {resume}: it was trained in stages, and this configuration has none; repeat the first "
            f"command with resume={resume} ({Path(resume, STAGES, '1', '.hydra', 'overrides.yaml')} has its arguments)"
        )


def _check_resumed(resume: Path, run_folder: Path, folders: Sequence[Path]) -> None:
    """Refuse to resume from another folder than the run folder, or where no stage has a checkpoint."""
    if resume.resolve() != run_folder.resolve():  # its stages would start again without a message
        raise ValueError(
            f"cannot resume {resume}: a run in stages is resumed in its own folder, but the run folder is "
            f"{run_folder}; leave out run_folder and hydra.run.dir, or set them to the folder to resume"
        )
    if not any(_checkpoint(folder).is_file() for folder in folders):
        last_checkpoint(str(resume))


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
    decided = sets(task, STEPS) or sets(task, MINUTES)
    overrides = task if decided else words
    return Stage(config, placed, overrides, number, count, run.run_folder)


def _checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / LAST


def _complete(folder: Path) -> bool:
    """Whether the stage in ``folder`` has all of its steps."""
    path = _checkpoint(folder)
    return path.is_file() and read_checkpoint(path)["global_step"] >= stored_steps(str(folder))
