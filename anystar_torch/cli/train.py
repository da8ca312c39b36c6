"""``anystar train``: train a network on synthetic volumes, with Hydra's overrides and flags."""

import os
import traceback
from typing import Annotated

import typer


def complete(context: typer.Context, incomplete: str) -> list[str]:
    """Completions of a word of the command line: groups, their choices, keys and values, as Hydra knows them.

    The shell bash divides words at "=", unless ``COMP_WORDBREAKS`` says otherwise. What follows the last "=" is then a
    word of its own, and only that is completed.

    Args:
        context: of the command; its parameters are the words before.
        incomplete: the word at the cursor.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin
    from omegaconf.errors import OmegaConfBaseException

    from anystar_torch.configuration.folder import config_folder

    words = [*(context.params.get("overrides") or []), incomplete]
    divided = words[-2:-1] == ["="]
    line = " ".join(words).replace(" = ", "=")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
        try:
            found: list[str] = plugin._query("train", line)
        except (HydraException, OmegaConfBaseException):
            return []  # an earlier word is not valid, or the value is computed
    return [word.rpartition("=")[2] for word in found] if divided else found


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[+experiment=RECIPE] [GROUP=CHOICE] [KEY=VALUE]",
            help="Hydra's overrides and flags: -m, --config-dir, --cfg job, --info, --help.",
            autocompletion=complete,
        ),
    ] = None,
) -> None:
    """Train a network on synthetic volumes; sweep settings with -m."""
    words = overrides or []
    if any(word in ("-sc", "--shell-completion", "--shell_completion") for word in words):
        raise ValueError("tab completion is installed with: anystar --install-completion")
    from anystar_torch.training.main import FAILED, main

    try:  # what the training does not print in one line has its traceback, as with python train.py
        main(words)
    except Exception:
        if os.environ.get("ANYSTAR_DEBUG"):
            raise
        traceback.print_exc()
        raise typer.Exit(FAILED) from None
