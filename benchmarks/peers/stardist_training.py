"""Training steps of StarDist in TensorFlow.

Settings: ``network`` ("anystar" or "small"), ``batch``, ``size``, ``threads``, ``repeats``. Answers the seconds of
every step after a first one, peak memory in GB, and the number of weights.
"""

import resource
import tempfile
import time

import numpy as np
import tensorflow as tf
from serve import case, serve

settings = case()
tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
tf.config.threading.set_inter_op_parallelism_threads(settings["threads"])
from stardist.models import Config3D, StarDist3D  # noqa: E402 - after the threads are set

small, batch, size = settings["network"] == "small", settings["batch"], settings["size"]
grid = 2 if small else 1
config = Config3D(
    rays=96,
    grid=(grid,) * 3,
    unet_n_depth=3 if small else 5,
    unet_n_filter_base=16 if small else 32,
    unet_batch_norm=True,
    train_patch_size=(size,) * 3,
    train_batch_size=batch,
    train_learning_rate=2e-4,
    train_loss_weights=(1, 0.2),
)
model = StarDist3D(config, name="peer", basedir=tempfile.mkdtemp())
model.prepare_for_training()
rng, points = np.random.default_rng(0), size // grid
image = rng.random((batch, size, size, size, 1), np.float32)
probability = rng.random((batch, points, points, points, 1), np.float32)
distances = rng.random((batch, points, points, points, 97), np.float32)


def answer(request):
    """The figures of all steps."""
    walls, cpus = [], []
    for _ in range(1 + settings["repeats"]):
        wall, cpu = time.perf_counter(), time.process_time()
        model.keras_model.train_on_batch(image, [probability, distances])
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "walls": walls[1:],
        "cpus": cpus[1:],
        "weights": model.keras_model.count_params(),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "software": "tensorflow " + tf.__version__,
    }


serve(answer)
