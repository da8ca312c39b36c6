"""Load synthesizers by name, from the configuration files of training."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf.errors import OmegaConfBaseException

from anystar_torch.configuration.folder import config_folder
from anystar_torch.generator.synthesizer import Synthesizer


def synthesizer_names() -> list[str]:
    """Names that :func:`load_synthesizer` accepts, sorted."""
    return sorted(path.stem for path in (config_folder() / "synth").glob("*.yaml"))


def load_synthesizer(
    name: str = "mix",
    *,
    shape: Sequence[int] = (64, 64, 64),
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> Synthesizer:
    """Load a generator by name.

    Args:
        name: name of a file in ``configs/synth``: "mix", "plain", "rand", "perlin", "zero_shot".
        shape: (D, H, W) of a sample in voxels.
        seed: seed of all random numbers.
        overrides: ``key=value`` changes of the file, in Hydra's syntax.

    Raises:
        ValueError: a name or key is unknown, or a value is not valid. The message is one line.

    Examples:
        Two samples of AnyStar-mix with less zoom. A sample is the same in every batch:

        >>> import torch
        >>> from anystar_torch import load_synthesizer
        >>> changes = ["placement.zoom.factor=[0.8,1.2]"]
        >>> synth = load_synthesizer("mix", shape=(32, 32, 32), seed=3, overrides=changes)
        >>> sample = synth(torch.tensor([5, 8]))
        >>> sample.image.shape, sample.labels.dtype
        (torch.Size([2, 1, 32, 32, 32]), torch.int32)
        >>> torch.equal(synth(torch.tensor([8])).image[0], sample.image[1])
        True
    """
    if name not in synthesizer_names():
        raise ValueError(f"no synthesizer is called {name!r}; known names: {', '.join(synthesizer_names())}")
    arguments = [f"+shape={[int(n) for n in shape]}".replace(" ", ""), f"+seed={int(seed)}", f"+synth={name}"]
    arguments += [_in_synth(override) for override in overrides]
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(overrides=arguments)
        synthesizer = instantiate(config.synth)
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        raise ValueError(one_line(error)) from None
    finally:
        GlobalHydra.instance().hydra = state
    assert isinstance(synthesizer, Synthesizer)
    return synthesizer


def _in_synth(override: str) -> str:
    """The override of ``synth.a.b`` for one of ``a.b``. Hydra's prefixes ``+`` and ``~`` are kept."""
    prefix = override[: len(override) - len(override.lstrip("+~"))]
    return f"{prefix}synth.{override[len(prefix) :]}"


def one_line(error: BaseException) -> str:
    """Message of ``error`` as one line. For an error of Hydra or OmegaConf it is that of the error they report.

    Args:
        error: any error.
    """
    while isinstance(error, (HydraException, OmegaConfBaseException)) and error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
