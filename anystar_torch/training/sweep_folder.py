"""A folder of its own for every sweep that is named by the time, as for a single run."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override

from anystar_torch.training.overrides import sets
from anystar_torch.training.run_folder import claimed, named_by_time


class SweepFolder(Callback):
    """Give a sweep another folder if a run or a sweep of the same second has begun in that of its name.

    A folder that the user gave, and that of a sweep to be resumed, stay.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the folder, before any job starts in any process.

        Args:
            config: the composed configuration of the sweep, which is changed in place.
            kwargs: not used.
        """
        overrides = config.hydra.overrides.hydra
        unresolved: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        place = str(unresolved["dir"])
        by_time = "${now:" in place or ("${run_folder}" in place and named_by_time(config))
        if config.resume is not None or not by_time or sets(overrides, "hydra.sweep.dir"):
            return
        folder = str(config.hydra.sweep.dir)
        if more := claimed(folder).removeprefix(folder):
            with (
                flag_override(config, ["readonly", "struct"], False),
                flag_override(config.hydra, "readonly", False),
            ):
                config.hydra.sweep.dir = f"{place}{more}"
                overrides.append(f"hydra.sweep.dir={place}{more}")  # every job composes its own configuration
