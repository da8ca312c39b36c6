"""StarDist: its network (with TensorFlow), its suppression, its rendering.

Settings: ``case`` (npz file with image and candidates), ``keras`` (model folder or None), ``threads``, ``said`` (npz
file for the network's probability). Answers seconds of network and of the rest, and the number of objects.
"""

import time
from pathlib import Path

import numpy as np
from serve import case, serve

settings = case()
data = np.load(settings["case"])
model = None
if settings["keras"]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from stardist.models import StarDist3D

    folder = Path(settings["keras"])
    model = StarDist3D(None, name=folder.name, basedir=str(folder.parent))
from stardist.geometry import polyhedron_to_label  # noqa: E402 - after the threads are set
from stardist.nms import non_maximum_suppression_3d_sparse  # noqa: E402
from stardist.rays3d import Rays_GoldenSpiral  # noqa: E402

rays, shape = Rays_GoldenSpiral(data["distances"].shape[1]), data["image"].shape


def answer(request):
    """One run; the network's probability is stored when the request says so."""
    began = time.perf_counter()
    dense = model.predict(data["image"], verbose=0) if model else None
    middle = time.perf_counter()
    points, scores, distances = non_maximum_suppression_3d_sparse(
        data["distances"],
        data["scores"],
        data["points"],
        rays,
        nms_thresh=float(data["nms_thresh"]),
        verbose=False,
    )[:3]
    labels = polyhedron_to_label(distances, points, rays, shape, prob=scores, verbose=False)
    end = time.perf_counter()
    if request and dense is not None:
        np.savez(settings["said"], probability=dense[0])
    return {"network": middle - began, "rest": end - middle, "objects": int(labels.max())}


serve(answer)
