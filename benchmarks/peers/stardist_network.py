"""The outputs of a StarDist model in TensorFlow.

Settings: ``model`` (folder), ``image`` (npy file ``[B, D, H, W, C]``), ``outputs`` (npz file to write).
"""

from pathlib import Path

import numpy as np
from serve import case, serve
from stardist.models import StarDist3D

settings = case()
folder = Path(settings["model"])
model = StarDist3D(None, name=folder.name, basedir=str(folder.parent))


def answer(request):
    """Write the outputs."""
    np.savez(settings["outputs"], *model.keras_model.predict(np.load(settings["image"])))


serve(answer)
