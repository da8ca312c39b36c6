"""Read configurations that earlier versions stored in run folders (``.hydra/config.yaml``)."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

TARGET = "_target_"

MODULES = {
    "callbacks": "training.callbacks",
    "checkpoints": "training.checkpoints",
    "data": "training.data",
    "lit": "training.module",
    "loggers": "training.loggers",
    "report": "training.report",
    "validation": "training.validation",
    "loss": "network.loss",
    "stardist": "network.stardist",
    "unet": "network.unet",
    "resnet": "network.resnet",
    "residual_unet": "network.residual_unet",
    "synthesizer": "generator.synthesizer",
    "synth.arrangement": "generator.scene.arrangement",
    "synth.background": "generator.scene.background",
    "synth.chromatin": "generator.scene.chromatin",
    "synth.density": "generator.scene.density",
    "synth.gmm": "generator.scene.intensities",
    "synth.hollow": "generator.scene.displaced_background",
    "synth.shapes": "generator.scene.shapes",
    "synth.slab": "generator.scene.slab",
    "synth.stretch": "generator.scene.stretch",
    "synth.surface": "generator.scene.surface",
    "augment.chain": "generator.chain",
    "augment.affine": "generator.spatial.affine",
    "augment.elastic": "generator.spatial.elastic",
    "augment.orient": "generator.spatial.orientation",
    "augment.placement": "generator.spatial.placement",
    "augment.window": "generator.spatial.crop",
    "augment.zoom": "generator.spatial.zoom",
    "augment.attenuation": "generator.effects.attenuation",
    "augment.bias_field": "generator.effects.bias_field",
    "augment.blur": "generator.effects.blur",
    "augment.camera": "generator.effects.camera",
    "augment.dropout": "generator.effects.dropout",
    "augment.exposure": "generator.effects.exposure",
    "augment.gamma": "generator.effects.gamma",
    "augment.gibbs": "generator.effects.gibbs",
    "augment.haze": "generator.effects.out_of_focus",
    "augment.histogram": "generator.effects.histogram",
    "augment.inversion": "generator.effects.inversion",
    "augment.kspace_spike": "generator.effects.kspace_spike",
    "augment.microscope": "generator.effects.microscope",
    "augment.noise": "generator.effects.noise",
    "augment.rescale": "generator.effects.rescale",
    "augment.sharpen": "generator.effects.sharpen",
}
"""Modules of version 0.1 before the package had rooms -> where their classes are now; all below ``anystar_torch``."""

CLASSES: dict[str, str] = {
    "generator.synthesizer.World": "generator.scene.scene.Scene",
    "generator.scene.displaced_background.RandomHollow": (
        "generator.scene.displaced_background.RandomDisplacedBackground"
    ),
    "generator.spatial.crop.RandomWindow": "generator.spatial.crop.RandomCrop",
    "generator.effects.out_of_focus.RandomHaze": "generator.effects.out_of_focus.RandomOutOfFocus",
}
"""Classes whose name changed: module (its new one) and old name -> new name."""

ARGUMENTS: dict[str, dict[str, str]] = {
    "generator.synthesizer.Synthesizer": {"world": "scene"},
    "generator.scene.scene.Scene": {"hollow": "displaced_background", "out_of_focus": "outline_defocus"},
    "generator.scene.shapes.BallField": {"kept": "occupancy"},
    "generator.scene.intensities.Mixture": {
        "ground_texture": "background_texture",
        "hollow": "displaced_intensity",
    },
    "generator.spatial.placement.Placement": {"window": "crop"},
    "generator.effects.out_of_focus.RandomOutOfFocus": {"glow": "width"},
}
"""Arguments whose name changed: module and class (their new ones) -> {old name: new name}."""

GROUPED: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "generator.scene.scene.Scene": {
        "outline": ("generator.scene.outline.Outline", {"outline": "widths", "outline_defocus": "defocus"})
    },
    "generator.scene.intensities.Mixture": {
        "limits": (
            "generator.scene.intensities.SceneLimits",
            {"darkest": "darkest", "brightest": "brightest"},
        )
    },
}
"""Arguments that became one: module and class -> {new argument: (its class, {old argument: new one of that class})}."""

REMOVED: frozenset[str] = frozenset({"augment.resolution.RandomResolution"})
"""Effects that no longer exist, by their old module and class. Configurations that never apply them can be read."""


def current_config(config: DictConfig) -> DictConfig:
    """The same configuration in the names of this version.

    Configurations of this version are returned with equal contents, so callers need not know which version wrote one.

    Args:
        config: a composed training configuration, or the ``.hydra/config.yaml`` of a run folder.

    Raises:
        ValueError: the configuration applies an effect that no longer exists.
    """
    current = OmegaConf.create(_current(OmegaConf.to_container(config, resolve=False)))
    assert isinstance(current, DictConfig)
    OmegaConf.set_struct(current, OmegaConf.is_struct(config))
    OmegaConf.copy_cache(config, current)  # the time of day in the run folder's name is resolved once
    return current


def _current(node: Any) -> Any:
    if isinstance(node, list):
        return [_current(item) for item in node]
    if not isinstance(node, dict):
        return node
    entries = {name: _current(value) for name, value in node.items() if not _removed(value)}
    if TARGET not in node:
        return entries
    target = _current_target(node[TARGET])
    entries[TARGET] = target
    path = target.removeprefix("anystar_torch.")
    names = ARGUMENTS.get(path, {})
    return _grouped(path, {names.get(name, name): value for name, value in entries.items()})


def _grouped(path: str, entries: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the class ``path``, those that became one put together."""
    for name, (target, members) in GROUPED.get(path, {}).items():
        if isinstance(entries.get(name), dict):  # written by this version
            continue
        group = {new: entries.pop(old) for old, new in members.items() if old in entries}
        entries[name] = {TARGET: f"anystar_torch.{target}", **group}
    return entries


def _current_target(target: str) -> str:
    package, _, path = target.partition(".")
    module, _, name = path.rpartition(".")
    if package != "anystar_torch" or module not in MODULES:
        return target
    path = f"{MODULES[module]}.{name}"
    return f"anystar_torch.{CLASSES.get(path, path)}"


def _removed(node: Any) -> bool:
    """Whether ``node`` describes an effect that no longer exists and that the configuration never applies."""
    target = node.get(TARGET) if isinstance(node, dict) else None
    if not isinstance(target, str) or target.removeprefix("anystar_torch.") not in REMOVED:
        return False
    if node.get("p") == 0:
        return True
    raise ValueError(f"the configuration applies {target}, which no longer exists; set its p to 0")
