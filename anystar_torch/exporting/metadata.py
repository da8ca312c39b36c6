"""What a program needs beside the network, as JSON values. Every format stores it."""

from typing import Any

from anystar_torch import __version__
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig


def metadata(network: StarDist, config: ModelConfig) -> dict[str, Any]:
    """The settings that turn the outputs of a network into objects.

    Args:
        network: whose rays and grid are described.
        config: normalisation, object size, thresholds and provenance.

    Returns:
        ``rays`` has n, anisotropy, vertices as (z, y, x), and faces. Sizes of inputs must be multiples of ``divisor``.
        ``anystar_torch`` is the version that wrote the metadata. The other keys are ``grid``, ``normalisation``,
        ``diameter_band``, ``prob_thresh``, ``nms_thresh``, ``imported_from``, ``sizes_known``, ``receptive_field``,
        ``smallest_tile``, ``architecture`` and ``provenance``.
    """
    rays = network.rays.to("cpu")
    return {
        "anystar_torch": __version__,
        "rays": {**rays.config, "vertices": rays.vertices.tolist(), "faces": rays.faces.tolist()},
        "grid": list(network.grid),
        "divisor": list(network.divisor),
        "normalisation": config.normalisation,
        "diameter_band": list(config.diameter_band),
        "prob_thresh": config.prob_thresh,
        "nms_thresh": config.nms_thresh,
        "imported_from": config.imported_from,
        "sizes_known": config.sizes_known,
        "receptive_field": config.receptive_field,
        "smallest_tile": config.smallest_tile,
        "architecture": config.architecture,
        "provenance": config.provenance.as_dict(),
    }
