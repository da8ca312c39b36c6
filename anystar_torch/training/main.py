"""The training entry: ``anystar train`` and ``python train.py``.

Hydra composes ``configs/train.yaml``, every object that it names is built, and Lightning trains the network. A report
then scores the network on synthetic samples and on a real volume.
"""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anystar_torch.configuration.compose import one_line
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.configuration.stored import current_config
from anystar_torch.system.allocator import keep_freed_memory
from anystar_torch.system.streams import show_all_names
from anystar_torch.system.wording import number_of
from anystar_torch.training.budget import fit_steps, release_memory, say, with_steps
from anystar_torch.training.callbacks import NonFiniteLossError
from anystar_torch.training.checkpoints import LAST, Checkpoints
from anystar_torch.training.loggers import finish
from anystar_torch.training.overrides import flags_first
from anystar_torch.training.report import STOPPED
from anystar_torch.training.run_folder import check_unused, resumed_config
from anystar_torch.training.runs import Run, build, in_its_folder, store_settings
from anystar_torch.training.settings import REFUSED, check_settings, in_sweep
from anystar_torch.training.signals import sigterm_as_ctrl_c
from anystar_torch.training.stages import Stage, stages_to_run

SETTINGS_REFUSED = 2
"""Exit status of a run whose settings are not valid."""

FAILED = 1
"""Exit status of a run that stopped because of its loss or an unexpected error."""

OF_HYDRA = ("hydra.output_subdir=null", "hydra.job.name=train")
"""Overrides for the stored configuration of a run, which has no part for Hydra. Hydra writes no files before the run
folder is checked, and its log has the usual name."""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable. With the value 1 errors have their traceback, and Hydra raises them."""

register_resolvers()  # Hydra resolves parts of the configuration before it calls the job


class JobFailedError(RuntimeError):
    """A job of a sweep failed. Its own message is already printed.

    Args:
        status: exit status that the job would have had alone.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the network that a command line describes, and exit.

    Exit status: 0 after a successful run; 1 if the network learned nothing or the loss was not finite; 2 if a setting
    is not valid; 130 if a signal stopped the run. A sweep runs all of its jobs; its status is 0, or that of the first
    job that failed.

    Args:
        arguments: Hydra's overrides and flags; None for those of the process.
    """
    show_all_names()
    command, given = list(sys.argv), os.environ.get(FULL_ERROR)
    full = given == "1"
    job = partial(train, command=command, full=full)
    words = flags_first([*OF_HYDRA, *(command[1:] if arguments is None else arguments)])
    sys.argv = [command[0], *words]  # Hydra reads them there
    os.environ[FULL_ERROR] = "1"
    try:
        with sigterm_as_ctrl_c():
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")(job)()
    except JobFailedError as failure:
        sys.exit(failure.status)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:  # before the first job
        if full or (isinstance(error, OSError) and _in_job(error)):
            raise
        sys.exit(complain(reason(error), command, SETTINGS_REFUSED))
    except KeyboardInterrupt:  # while the configuration was composed or checked, or between two jobs
        sys.exit(complain("stopped", command, STOPPED))
    finally:
        sys.argv = command
        os.environ.pop(FULL_ERROR, None)
        if given is not None:
            os.environ[FULL_ERROR] = given


def _in_job(error: BaseException) -> bool:
    """Whether an error was raised in a job, and not where Hydra makes its folder."""
    return any(frame.f_code is train.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def train(config: DictConfig, *, command: Sequence[str], full: bool) -> float | None:
    """Train the network that ``config`` describes: one job of Hydra.

    Args:
        config: the composed ``configs/train.yaml``, or the stored configuration of an earlier run.
        command: the command line of the process, which Lightning repeats for further processes.
        full: whether errors have their traceback.

    Returns:
        The last figure of ``callbacks.checkpoint.monitor``, which sweepers can optimise; None if it was not logged.

    Raises:
        JobFailedError: in a sweep, the job failed.
        SystemExit: otherwise, with the exit status of a failure; in a sweep only after a signal.
    """
    sys.argv = list(command)
    os.environ[FULL_ERROR] = str(int(full))  # processes that Lightning starts read it
    try:
        figure, status = _train(config, command, full)
    except Exception:
        if not in_sweep() or full:
            raise
        traceback.print_exc()  # Hydra prints the error of the first job only
        figure, status = None, FAILED
    finally:
        os.environ[FULL_ERROR] = "1"
    if in_sweep():
        release_memory()  # for the next job
    if status and in_sweep() and status != STOPPED:
        # Hydra keeps this frame until the sweep ends, so it must not hold the run.
        raise JobFailedError(status)
    if status:
        sys.exit(status)
    return figure


def _train(config: DictConfig, command: Sequence[str], full: bool) -> tuple[float | None, int]:
    """The monitored figure of the last run, if it was logged, and its exit status."""
    keep_freed_memory()
    silence_libraries()
    try:
        from anystar_torch.kernels import _native  # noqa: F401 - missing in a clone that was not built

        config = current_config(config)
        placed = in_its_folder(config)
        if placed.resume is None:
            check_unused(placed.run_folder)
        stages = stages_to_run(config, placed)
        check_settings(stages)
    except REFUSED as error:
        return None, give_up(error, command, full, SETTINGS_REFUSED)
    for stage in stages:
        run, status = _train_stage(stage, command, full)
        figures: dict[str, Any] = {} if run is None else run.trainer.callback_metrics
        run = None
        if status:
            break
        if not stage.last:
            release_memory()  # for the next stage
    figure = figures.get(OmegaConf.select(config, "callbacks.checkpoint.monitor"))
    return None if figure is None else float(figure), status


def _train_stage(stage: Stage, command: Sequence[str], full: bool) -> tuple[Run | None, int]:
    """The run of a stage, if its settings are valid, and its exit status. The last stage has the report."""
    try:
        run = _prepared(stage)
    except REFUSED as error:
        return None, give_up(error, command, full, SETTINGS_REFUSED)
    except KeyboardInterrupt:
        return None, complain("stopped before the training began", command, STOPPED)
    try:
        stopped = _fit(run)
        if stage.last and not stopped:
            return run, run.report(run.trainer, run.training, run.data)
    except NonFiniteLossError as error:
        return run, give_up(error, command, full, FAILED)
    except KeyboardInterrupt:  # outside of the steps, such as in the report
        stopped = True
    finally:
        finish(run.trainer.loggers)
    if stopped or run.trainer.global_step < run.trainer.max_steps:
        return run, _stopped(stage, run, command)
    run.trainer.strategy.barrier()  # the next stage reads the checkpoint
    return run, 0


def _fit(run: Run) -> bool:
    """Train, and return whether a signal came in the last step or its validation, which stops a complete training."""
    try:
        run.trainer.fit(run.training, datamodule=run.data, ckpt_path=run.checkpoint)
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):  # Lightning ends the process after Ctrl-C
            raise KeyboardInterrupt from stopped
        raise
    finally:
        run.data.teardown("fit")  # Lightning leaves it out after an error
    checkpoints = run.trainer.checkpoint_callback
    complete = run.trainer.global_step >= run.trainer.max_steps
    return complete and isinstance(checkpoints, Checkpoints) and checkpoints.stopped


def _stopped(stage: Stage, run: Run, command: Sequence[str]) -> int:
    """Print that a signal stopped the run, and how it is resumed; the exit status."""
    if not run.trainer.is_global_zero:
        return STOPPED
    if not any(Path(stage.folder).rglob(LAST)):
        return complain("stopped before the first checkpoint was written", command, STOPPED)
    complete = stage.last and run.trainer.global_step >= run.trainer.max_steps
    where = "before the end of the report" if complete else f"in {stage.title}"
    line = f"stopped {where}; to resume it, repeat the command with resume={stage.folder}"
    return complain(line, command, STOPPED)


def _prepared(stage: Stage) -> Run:
    """The objects of a stage, after its number of steps is chosen and its configuration is stored."""
    config, placed = stage.config, stage.placed
    steps = fit_steps(placed, stage.overrides)
    if steps is not None:
        config, placed = with_steps(config, steps), with_steps(placed, steps)
    run = build(placed)
    if run.trainer.is_global_zero:
        if placed.resume is not None:
            config = resumed_config(placed.resume, config)
        store_settings(config, placed.run_folder)
        if stage.total > 1:
            say(f"{stage.title}: {number_of(run.trainer.max_steps, 'step')} in {placed.run_folder}")
    return run


def silence_libraries() -> None:
    """Switch off messages of libraries that do not concern a training run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hardware tips and advertisements
    warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")
    # The gradient of a 1x1x1 convolution has the same bytes in both memory formats.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Lightning wraps the network on another stream than it trains on; torch 2.10 and later mention it.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
    # Batch normalisation keeps its statistics in a fine-tuning.
    warnings.filterwarnings("ignore", message="Found .* module.* in eval mode at the start of training")
    # Lightning recommends a stateful loader. Ours starts at the step of the trainer.
    warnings.filterwarnings(
        "ignore", message="You're resuming from a checkpoint that ended before the epoch ended"
    )


def reason(error: Exception) -> str:
    """One line for a refused setting.

    It is the message of the error that Hydra reports. An error of Hydra about an override names the override instead,
    and the first line of its cause.

    Args:
        error: one of :data:`REFUSED`.
    """
    if not isinstance(error, (ConfigCompositionException, OverrideParseException)):
        return one_line(error)
    words = " ".join(str(error).partition("Config search path:")[0].split())
    cause = str(error.__cause__).splitlines() if error.__cause__ is not None else []
    return f"{words.rstrip('.')}; {cause[0]}" if cause and cause[0] not in words else words


def give_up(error: Exception, command: Sequence[str], full: bool, status: int) -> int:
    """Print the reason of ``error`` and return ``status``; with ``full`` raise the error.

    Args:
        error: that ended the run.
        command: the command line of the process.
        full: whether errors have their traceback.
        status: exit status of the process.
    """
    if full:
        raise error
    return complain(reason(error), command, status)


def complain(line: str, command: Sequence[str], status: int) -> int:
    """Print ``line`` on the error stream, after the name of the program and of the sweep's job, and return ``status``.

    Args:
        line: the reason.
        command: the command line of the process.
        status: exit status of the process.
    """
    program = Path(command[0]).name
    names = [program if program.endswith(".py") else f"{program} train"]
    if HydraConfig.initialized() and in_sweep():
        names.append(f"job {HydraConfig.get().job.num}")
    print(f"{': '.join(names)}: {line}", file=sys.stderr)
    return status
