"""Resume a run: checkpoints are read without executing what they hold, and their network must be that of the run."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

ARCHITECTURE = "architecture"
"""Key under which a checkpoint holds the network's ``architecture``."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint on the CPU: tensors, numbers, text and containers of them, and nothing that runs.

    Args:
        path: file that Lightning wrote. Its tensors are mapped into memory, so only those used are read.

    Raises:
        ValueError: the file is damaged, or holds objects whose loading would execute code.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds something else than tensors, numbers and text, or is damaged; "
            "loading it could execute code"
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split()[:30])
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is no checkpoint: it holds no state_dict")
    return content


def check_same_network(path: Path, network: nn.Module) -> None:
    """Refuse a checkpoint of a network other than ``network``.

    Args:
        path: the checkpoint that a run resumes from.
        network: the network that the configuration describes.

    Raises:
        ValueError: the architectures differ; the line names the differences.
    """
    content = read_checkpoint(path)
    stored = content.get(ARCHITECTURE)
    there, here = (
        (flat(stored), flat(network.architecture))  # type: ignore[arg-type]
        if isinstance(stored, Mapping)
        else (_shapes(content["state_dict"], "network."), _shapes(network.state_dict(), ""))
    )
    different = differences(there, here)
    if different:
        raise ValueError(
            f"cannot start from {path}, whose network has another architecture: "
            f"{first_phrases(different)}; choose the same with model=..., or start a new run"
        )


def flat(architecture: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries of an architecture by their dotted names.

    Args:
        architecture: name -> value, or name -> mapping of further entries.
        prefix: put before every name.
    """
    entries: dict[str, Any] = {}
    for name, value in architecture.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
        entries.update(inner)
    return entries


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """One phrase per entry that differs: ``backbone.filters is 4 there and 2 here``.

    Args:
        there: entries of the checkpoint's network, by dotted names.
        here: entries of the new run's network, by dotted names.
    """
    return [
        f"{name} is {there.get(name)} there and {here.get(name)} here"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    ]


def first_phrases(phrases: Sequence[str]) -> str:
    """The first four phrases, and how many there are more.

    Args:
        phrases: of :func:`differences`.
    """
    more = f" and {len(phrases) - 4} more" if len(phrases) > 4 else ""
    return f"{', '.join(phrases[:4])}{more}"


def _shapes(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Sizes of the tensors of a state dict whose names begin with ``prefix``, by the rest of the name."""
    return {
        name.removeprefix(prefix): "x".join(map(str, value.shape)) or "a number"
        for name, value in state.items()
        if name.startswith(prefix)
    }
