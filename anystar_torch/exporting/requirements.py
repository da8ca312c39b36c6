"""Checks that the libraries of a format are installed and that the format can express the network."""

from contextlib import suppress
from importlib.util import find_spec

from anystar_torch.exporting.origin import not_an_identifier
from anystar_torch.network.stardist import StarDist
from anystar_torch.system.wording import number_of


def need(form: str, *modules: str) -> None:
    """Refuse to export where libraries are missing.

    Args:
        form: name of the format.
        modules: that it imports.

    Raises:
        ImportError: names the missing libraries and how to install them.
    """
    missing = [name for name in modules if _absent(name)]
    if missing:
        raise ImportError(
            f"exporting to {form} needs {', '.join(missing)}: pip install 'anystar_torch[export]'"
        )


def dense_only(form: str, network: StarDist, channels: int | None = None) -> None:
    """Refuse a network with outputs or inputs that a format cannot express.

    Args:
        form: name of the format.
        network: to be exported.
        channels: number of input channels of the format; None for any number.

    Raises:
        ValueError: the network has a class head, or another number of input channels.
    """
    if network.classes:
        raise ValueError(
            f"{form} cannot express the head for {network.classes} classes of this network; the keras format can"
        )
    if channels is not None and network.channels != channels:
        raise ValueError(
            f"{form} can express images of {number_of(channels, 'channel')}; this network takes {network.channels}"
        )


def listed_license(license_id: str | None) -> None:
    """Refuse a licence that bioimage.io does not list.

    Args:
        license_id: SPDX identifier; None for an unknown licence.

    Raises:
        ValueError: it is not in the list.
    """
    from bioimageio.spec.generic.v0_3 import DeprecatedLicenseId, LicenseId

    if license_id is None:
        return
    for listed in (LicenseId, DeprecatedLicenseId):
        with suppress(ValueError):
            listed(license_id)
            return
    raise not_an_identifier(license_id)


def _absent(name: str) -> bool:
    """Whether a module is not installed."""
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # the parent of a submodule
        return True
