"""Texts about the network for the packages that are shared with other people."""

from typing import Any

from anystar_torch import __version__
from anystar_torch.exporting.origin import Origin
from anystar_torch.network.normalisation import NORMALISATIONS
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

CITATIONS = (
    (
        "Dey et al.: AnyStar: Domain randomized universal star-convex 3D instance segmentation. WACV 2024.",
        "10.48550/arXiv.2307.07044",
    ),
    (
        "Weigert et al.: Star-convex Polyhedra for 3D Object Detection and Segmentation in Microscopy. WACV 2020.",
        "10.1109/WACV45572.2020.9093435",
    ),
)

_PAGE = """# Star-convex objects in 3D

{description}

{use}

## Properties

| | |
| --- | --- |
{table}

A network finds objects of the size it was trained on. Resample the volume so that the median object has a
volume-equivalent diameter of about {diameter:g} voxels, and voxels have the relative size {anisotropy}
(z, y, x).

## Training data

{data}

## Validation

Compare predicted labels with annotated ones on your own kind of volumes. `anystar evaluate truth.tif labels.tif` gives
precision, recall, F1, AP and panoptic quality at several IoU thresholds. Inspect results before you use them. They are
not for diagnostic use.

## Cite

{cite}

## Authors and licence

{credits}

Written by anystar_torch {version}.
"""


def readme(network: StarDist, config: ModelConfig, origin: Origin, use: str) -> str:
    """The page about a network in Markdown.

    Args:
        network: whose properties are listed.
        config: normalisation, object size, thresholds and provenance.
        origin: training data, authors and licence of the network.
        use: how the package is run, in Markdown.
    """
    table = "\n".join(f"| {name} | {value} |" for name, value in _facts(network, config).items())
    cite = "\n".join(f"- {text} https://doi.org/{doi}" for text, doi in CITATIONS)
    return _PAGE.format(
        description=origin.description,
        use=use,
        table=table,
        diameter=config.diameter_band[1],
        anisotropy=network.rays.anisotropy,
        data=origin.training_data,
        cite=cite,
        credits=origin.credits,
        version=__version__,
    )


def _facts(network: StarDist, config: ModelConfig) -> dict[str, Any]:
    """The rows of the table of properties."""
    low, middle, high = config.diameter_band
    known = "5 %, 95 % of the training volume" if config.sizes_known else "assumed"
    parameters = sum(p.numel() for p in network.parameters())
    return {
        "parameters": f"{parameters:,}",
        "input": f"one volume (z, y, x), sizes multiples of {network.divisor}",
        "normalisation": f"{config.normalisation}: {NORMALISATIONS[config.normalisation].description}",
        "object diameters": f"{low:g} to {high:g} voxels, median {middle:g} ({known})",
        "rays, grid": f"{len(network.rays)}, {network.grid}",
        "thresholds": f"probability {config.prob_thresh:g}, overlap {config.nms_thresh:g}",
        **(
            {"thin volumes": f"continued by their mirror images to {config.smallest_tile} voxels per axis"}
            if config.smallest_tile
            else {}
        ),
        **({"imported from": config.imported_from} if config.imported_from else {}),
        **{f"provenance: {name}": value for name, value in config.provenance.as_dict().items()},
    }
