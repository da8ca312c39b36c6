"""Volumes of balls of several sizes, and a network whose candidates are as crowded as those of a real one."""

import numpy as np
import torch
import zarr

from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network.stardist import Prediction, StarDist
from anystar_torch.network.unet import UNetBackbone
from tests.inference.scenes import RADIUS, Sees, balls, config

TILES = TileOptions(size=(32, 40, 48), halo=(4, 4, 4))
OPTIONS = {"diameter": 13, "block": 24, "shard": (32, 32, 32), "device": "cpu", "progress": False}


class Crowded(Sees):
    """Every grid point of a ball predicts a ball of its own size and shape, so that suppression has work to do."""

    def forward(self, image):
        seen = super().forward(image)
        ray = torch.arange(len(self.rays), device=image.device).view(1, -1, 1, 1, 1)
        wobble = 1 + 0.3 * torch.sin(17 * seen.probability + ray)
        return Prediction(seen.probability, (seen.distances * wobble).contiguous())


def crowd(shape=(44, 64, 70), count=45, seed=0):
    """Balls at random places, of which many overlap."""
    random = np.random.default_rng(seed)
    centres = random.uniform(3, np.array(shape) - 4, (count, 3))
    image, _ = balls(shape, list(centres))
    noise = random.normal(0, 0.02, shape).astype(np.float32)
    return (1000 * np.clip(image + noise, 0, 1)).astype(np.uint16)


def model(network=None, tiles=TILES, **options):
    settings = {"prob_thresh": 0.3, "diameter_band": (2 * RADIUS / 2, 2 * RADIUS, 4 * RADIUS)}
    return AnyStar(network or Crowded(), config(**settings), tile_options=tiles, **options)


def stored(path):
    """The labels of the finest level of a finished target."""
    group = zarr.open_group(str(path), mode="r")
    return np.asarray(group["0"][...])


def small_network():
    """A network that other processes can load: untrained, with objects of 3 to 6 voxels everywhere."""
    torch.manual_seed(0)
    backbone = UNetBackbone(filters=4, depth=1, batch_norm=True)
    network = StarDist(rays=32, grid=(2, 2, 2), features=8, backbone=backbone).eval()
    torch.nn.init.normal_(network.distances.weight, std=2.0)
    torch.nn.init.constant_(network.distances.bias, 4.0)
    torch.nn.init.normal_(network.probability.weight, std=3.0)
    return network


def small_model(**options):
    """The network as a model; two of five grid points of a volume of noise are above its threshold."""
    network = small_network()
    with torch.inference_mode():
        probability = network(torch.from_numpy(noise((32, 32, 32)))[None, None]).probability
    settings = config(
        architecture=network.architecture,
        prob_thresh=float(probability.flatten().quantile(0.6)),
        receptive_field=(8, 8, 8),
    )
    return AnyStar(network, settings, tile_options=TileOptions(size=(32, 48, 48)), **options)


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def write_volume(path, volume, axes="zyx"):
    """An OME-Zarr image of one level."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    chunks = (1,) * (volume.ndim - 3) + (32, 32, 32)
    group.create_array("0", shape=volume.shape, chunks=chunks, dtype=volume.dtype)[...] = volume
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": a, "type": kinds.get(a, "space"), **({} if a in kinds else {"unit": "micrometer"})}
        for a in axes
    ]
    scale = [1.0 if a in kinds else 0.5 for a in axes]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": described, "datasets": [level]}]}
    return path
