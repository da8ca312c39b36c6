"""Hydra's command line: the order of its words, and which settings its overrides set."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

WITH_VALUE = frozenset(("-c", "-p", "-cp", "-cn", "-cd", "--cfg", "--package", "--experimental-rerun")) | {
    f"--config-{what}" for what in ("path", "name", "dir")
}
"""Hydra's flags that are followed by a value."""

WITH_CHOICE = frozenset(("--info", "-i"))
"""Hydra's flags that may be followed by one of :data:`CHOICES`. Without one they mean all."""

CHOICES = frozenset(("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"))


def sets(overrides: Sequence[str], name: str) -> bool:
    """Whether an override names a value and sets it: ``name=``, ``+name=`` or ``++name=``.

    Args:
        overrides: in Hydra's syntax, as given.
        name: dotted name of the value.

    Raises:
        HydraException: an override is not valid.
    """
    # A resolved interpolation may hold characters that Hydra's grammar does not accept.
    listed = OmegaConf.to_container(overrides) if OmegaConf.is_config(overrides) else overrides
    parsed = OverridesParser.create().parse_overrides(list(listed))  # type: ignore[arg-type]
    return any(one.key_or_group == name and not one.is_delete() for one in parsed)


def flags_first(words: Sequence[str]) -> list[str]:
    """The words of a command line with the flags before the overrides. Hydra refuses overrides on both sides of a flag.

    Args:
        words: overrides and flags of Hydra.
    """
    flags: list[str] = []
    overrides: list[str] = []
    before = ""
    for word in words:
        if before in WITH_CHOICE and word not in CHOICES:
            flags.append("all")  # an override that follows would be taken for the choice
        value = before in WITH_VALUE or (before in WITH_CHOICE and word in CHOICES)
        (flags if value or word.startswith("-") else overrides).append(word)
        before = "" if value else word
    return [*flags, *(["all"] if before in WITH_CHOICE else []), *overrides]
