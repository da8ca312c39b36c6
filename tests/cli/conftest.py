"""A network that sees balls, a volume of them, and the command line."""

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.cli import main
from anystar_torch.network import loading
from tests.inference.scenes import Sees, balls, config, lattice

SHAPE = (40, 44, 52)


@pytest.fixture
def model(monkeypatch):
    """The network that sees balls, in place of what --model names."""
    monkeypatch.setattr(loading, "load_model", lambda path: (Sees().eval(), config()))


@pytest.fixture
def volume(tmp_path):
    image, labels = balls(SHAPE, lattice(SHAPE, 16))
    about = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    path = tmp_path / "nuclei.tif"
    tifffile.imwrite(path, (image * 60000).astype(np.uint16), imagej=True, resolution=(2, 2), metadata=about)
    io.write(tmp_path / "truth.tif", labels, io.SpatialImage(labels, (0.5, 0.5, 0.5), "um"))
    return path


def run(capsys, *arguments, status=0):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == status, err
    return out if status == 0 else err


def refused(capsys, *arguments):
    """The one line of an error."""
    line = run(capsys, *arguments, status=2).strip().splitlines()[-1]
    assert line.startswith("anystar: ")
    return line


def predict(capsys, *arguments):
    return run(capsys, "predict", *arguments, "--model", "m", "--device", "cpu")
