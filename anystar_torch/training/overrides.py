"""Which settings are set by Hydra's overrides."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf


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
