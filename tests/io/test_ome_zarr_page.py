"""The examples of docs/ome_zarr.md run."""

import re
from pathlib import Path

import numpy as np
import pytest

from anystar_torch import io

PAGE = Path(__file__).parents[2] / "docs" / "ome_zarr.md"


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 200, (20, 230, 240)).astype(np.uint16)
    group = zarr.create_group("big.ome.zarr")
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = []
    for number, step in enumerate((1, 2)):
        group.create_array(str(number), data=image[:, ::step, ::step])
        scale = {"type": "scale", "scale": [2.0, 1.0 * step, 1.0 * step]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert np.array_equal(names["part"], image[0:16, 100:200])
    assert names["coarse"].shape == (20, 115, 120)
    assert zarr.open_group("big.ome.zarr")["labels/bright"].attrs["ome"]["image-label"]["source"]
    for path in ("labels.ome.zarr", "big.ome.zarr/labels/bright"):
        found = io.read_labels(path)
        assert np.array_equal(found.array, image > 100)
        assert (found.spacing, found.unit) == ((2.0, 1.0, 1.0), "um")
    assert io.read_record("labels.ome.zarr").notes == ("brighter than 100",)
