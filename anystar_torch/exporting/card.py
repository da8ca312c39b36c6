"""What people are told of a network that travels alone: texts shared by the packages."""

from typing import Any

from anystar_torch import __version__
from anystar_torch.network.normalisation import NORMALISATIONS
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

AUTHORS = "The anystar_torch authors"
LICENSE = "BSD-3-Clause"
DESCRIPTION = (
    "Finds star-convex objects (nuclei, nodules, spheroids) in 3D volumes of any modality: a StarDist network that was "
    "trained on synthetic volumes alone, as AnyStar proposed."
)
IMPORTED = "Finds star-convex objects in 3D volumes: a StarDist network, trained elsewhere and imported."
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
TRAINING_DATA = (
    "Synthetic volumes, made while the network trained: star-convex objects at random places with random shapes, "
    "contrasts and textures, on random backgrounds, seen through randomised imaging (blur, noise, bias field, gaps). "
    "No real image was used. Every volume is a function of a seed and a number: the generator is part of "
    "anystar_torch, and no data set is stored anywhere."
)


def description(config: ModelConfig) -> str:
    """One sentence."""
    return IMPORTED if config.imported else DESCRIPTION


def readme(network: StarDist, config: ModelConfig, use: str) -> str:
    """The page that travels with the network, in Markdown; ``use`` is how this package is run."""
    low, middle, high = config.diameter_band
    parameters = sum(p.numel() for p in network.parameters())
    facts: dict[str, Any] = {
        "parameters": f"{parameters:,}",
        "input": f"one volume (z, y, x), sizes multiples of {network.divisor}",
        "normalisation": f"{config.normalisation}: {NORMALISATIONS[config.normalisation].description}",
        "object diameters": f"{low:g} to {high:g} voxels, median {middle:g} (5 %, 95 % of the training volume)",
        "rays, grid": f"{len(network.rays)}, {network.grid}",
        "thresholds": f"probability {config.prob_thresh:g}, overlap {config.nms_thresh:g}",
        **({"imported from": config.imported_from} if config.imported_from else {}),
        **{f"provenance: {name}": value for name, value in config.provenance.items()},
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    data = "Unknown: the network was imported from a StarDist model." if config.imported else TRAINING_DATA
    cite = "\n".join(f"- {text} https://doi.org/{doi}" for text, doi in CITATIONS)
    return f"""# Star-convex objects in 3D

{description(config)}

{use}

## What it is

| | |
| --- | --- |
{table}

A network finds objects of the size it was trained on. Resample the volume so that the median object measures about
{middle:g} voxels (the diameter of the ball of its volume), and voxels have the shape {network.rays.anisotropy}
(z, y, x).

## Training data

{data}

## Validation

Compare predicted labels with annotated ones of volumes like yours: `anystar evaluate truth.tif labels.tif` counts
objects found, missed and invented, and gives precision, recall, F1, AP and panoptic quality at several overlaps. Look
at the result before you trust it; nothing here is for diagnostic use.

## Cite

{cite}

BSD 3-Clause. Written by anystar_torch {__version__}.
"""
