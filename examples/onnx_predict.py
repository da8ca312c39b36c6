"""Objects by onnxruntime and anystar_torch.ops: python examples/onnx_predict.py net.onnx in.tif out.tif 14."""

import json
import sys

import numpy as np
import onnxruntime
import torch

from anystar_torch import Rays, io, ops
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tiles import margin_of


def predict(network, volume, spacing, diameter):
    """Labels of ``volume`` [z, y, x], whose objects are about ``diameter`` voxels of the finest axis wide."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    metadata = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    vertices, faces, anisotropy = (metadata["rays"][name] for name in ("vertices", "faces", "anisotropy"))
    rays = Rays(torch.tensor(vertices), torch.tensor(faces), tuple(anisotropy))
    scaling = Scaling.of(volume.shape, spacing, diameter, metadata["diameter_band"][1], rays)
    grid, divisor = metadata["grid"], metadata["divisor"]
    size = tuple(-(-n // d) * d for n, d in zip(scaling.shape, divisor, strict=True))
    # A thin volume is continued by its mirror image.
    margin = np.array(margin_of(size, metadata["smallest_tile"], divisor, grid))
    intensities = intensity_range(volume, metadata["normalisation"])
    image = ResampledVolume(volume, scaling, intensities).box(tuple(-margin), tuple(size + margin))
    probability, distances = session.run(None, {"image": image.numpy()})
    where = np.argwhere(probability[0, 0] > metadata["prob_thresh"])
    voxels = where * grid - margin
    inside = ((voxels >= 0) & (voxels < scaling.shape)).all(axis=1)  # not in the margin or the padding
    where, voxels = where[inside], voxels[inside]
    scores = torch.from_numpy(probability[0, 0][tuple(where.T)])
    order = torch.argsort(scores, descending=True, stable=True)
    points = torch.from_numpy(voxels.astype(np.float32))[order]
    distances = torch.from_numpy(distances[0][:, *where.T].T)[order].clamp_min(1e-3).half().float()
    keep = ops.nms(points, distances, scores[order], rays, metadata["nms_thresh"])
    turned, growth = scaling.rays(rays)  # from the network's voxels to the volume's
    centres = torch.from_numpy(scaling.points(points[keep].numpy()))
    return ops.render_labels(centres, distances[keep] * torch.from_numpy(growth), turned, volume.shape)


if __name__ == "__main__":
    scan = io.read(sys.argv[2])
    labels = predict(sys.argv[1], scan.array, scan.spacing or (1, 1, 1), float(sys.argv[4]))
    io.write(sys.argv[3], labels.numpy(), scan)
