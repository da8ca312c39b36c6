"""Synthesizers by name, from the same configuration files that training uses."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf.errors import OmegaConfBaseException

from anystar_torch.generator.synthesizer import Synthesizer


def config_folder() -> Path:
    """Where the configuration files are: inside the installed package, or beside it in the repository.

    Raises:
        ValueError: neither place has them.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "synth").is_dir():
            return folder
    raise ValueError(f"no configuration files in {package} or beside it; reinstall anystar_torch")


def synthesizer_names() -> list[str]:
    """The names ``load_synthesizer`` knows."""
    return sorted(path.stem for path in (config_folder() / "synth").glob("*.yaml"))


def load_synthesizer(
    name: str = "mix",
    *,
    shape: Sequence[int] = (64, 64, 64),
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> Synthesizer:
    """A generator by name.

    Example::

        synth = load_synthesizer("mix", seed=3, overrides=["placement.zoom.factor=[0.8,1.2]"])
        sample = synth(torch.arange(4))

    Args:
        name: of a file in ``configs/synth``: "mix", "plain", "rand", "perlin", "zero_shot".
        shape: (D, H, W) of a sample, voxels.
        seed: of everything drawn.
        overrides: ``key=value`` changes of that file, as Hydra reads them.

    Raises:
        ValueError: there is no such name or key, or a value makes no sense; one line says which.
    """
    if name not in synthesizer_names():
        raise ValueError(f"no synthesizer is called {name!r}; there are {', '.join(synthesizer_names())}")
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
    """``a.b=1`` stands for ``synth.a.b=1``, also after Hydra's prefixes."""
    prefix = override[: len(override) - len(override.lstrip("+~"))]
    return f"{prefix}synth.{override[len(prefix) :]}"


def one_line(error: BaseException) -> str:
    """What the innermost cause says, without Hydra's frame around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
