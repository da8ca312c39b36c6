"""What formats ask of the installation and of the network, refused in one line where it is not there."""

from importlib.util import find_spec

from anystar_torch.network.stardist import StarDist


def need(form: str, *modules: str) -> None:
    """Refuse if libraries are missing.

    Raises:
        ImportError: names them and how to install them.
    """
    missing = [name for name in modules if _absent(name)]
    if missing:
        raise ImportError(
            f"exporting to {form} needs {', '.join(missing)}: pip install 'anystar_torch[export]'"
        )


def dense_only(form: str, network: StarDist, channels: int | None = None) -> None:
    """Refuse what a format with only probability and distances of an image would silently leave out.

    Args:
        form: name of the format.
        network: to be exported.
        channels: how many channels its image may have; None for any number.

    Raises:
        ValueError: a class head, or another number of channels.
    """
    if network.classes:
        raise ValueError(
            f"{form} cannot carry the head for {network.classes} classes of this network, only probability and "
            "distances; the keras format can"
        )
    if channels is not None and network.channels != channels:
        raise ValueError(
            f"{form} can carry images of {channels} channel, and this network wants {network.channels}"
        )


def _absent(name: str) -> bool:
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # the parent of a submodule
        return True
