"""The blocks of Python of the pages run, one after the other on each page."""

import inspect
import sys
import types
from pathlib import Path

import pytest
import torch
import zarr

from anystar_torch.network import loading
from anystar_torch.random.source import Source
from tests.inference.scenes import Sees, config
from tests.pages.blocks import blocks

# Blocks that run in another test: (page, a part of the block) -> the test.
ELSEWHERE = {
    ("docs/ome_zarr.md", ""): "tests/io/test_ome_zarr_page.py",
    ("docs/export.md", "network.onnx"): "tests/exporting/test_onnx.py",
    ("docs/export.md", "network.pt2"): "tests/exporting/test_torch_export.py",
    ("docs/export.md", "network.aoti.pt2"): "tests/exporting/test_torch_export.py",
    ("docs/export.md", "package.zip"): "tests/exporting/test_bioimageio.py",
    ("docs/tutorial.md", ""): "tests/pages/test_tutorial.py",
}
# Blocks that no test runs, and why.
EXCUSED = {
    ("docs/export.md", "StarDist3D"): "needs TensorFlow; tests/exporting/test_keras.py compares the files"
}


def run(page, names=None):
    """The names that the blocks of a page define.

    Args:
        page: path below the repository.
        names: what the blocks find defined.
    """
    names = {"__name__": "page"} if names is None else names
    module = sys.modules["page"] = types.ModuleType("page")  # dataclasses look up their module
    module.__dict__.update(names)
    for block in blocks("python", page):
        exec(compile(block.text, str(block), "exec"), module.__dict__)
    return module.__dict__


def check_readme(names):
    assert names["found"].labels.shape == names["volume"].shape
    assert names["sample"].image.shape == (4, 1, 64, 64, 64)


def check_predict(names):
    assert names["found"].labels.shape == names["volume"].shape


def check_effects(names):
    chain = names["synth"].effects
    assert chain.effects["smoothing"].p == 0.5
    assert tuple(chain.effects["contrast"].gamma) == (0.8, 1.5)
    image = 0.4 * torch.rand(2, 1, 8, 8, 8)  # below 0.5, where the negative is the image
    source = Source.of(torch.arange(2), seed=0, split="train")("own")
    own = names["RandomInvert"](p=1.0)
    changed = own(image, source)
    share = (changed - image).flatten(1) / (1 - 2 * image).flatten(1)
    assert torch.allclose(share, share[:, :1].expand_as(share), atol=1e-4)
    assert torch.equal(names["RandomInvert"](p=0.0)(image, source), image)


def check_generator(names):
    assert torch.equal(names["again"].image, names["sample"].image)
    assert torch.equal(names["again"].labels, names["sample"].labels)


def check_large(names):
    assert names["result"].objects >= 0
    (source, target, client), options = names["calls"][0]
    assert (source, target) == ("/scratch/big.ome.zarr", "/scratch/labels.ome.zarr")
    assert isinstance(client, StandIn)
    assert client.arguments[0].options["job_cpu"] == options["threads"] == 8
    assert names["part"].shape == names["found"].labels.shape == (128, 256, 256)
    assert Path("part.labels.tif").is_file()
    assert names["calls"][1][1] == {"work": "/shared/work"}


def check_names(names):
    assert callable(names["ops"].nms)
    assert callable(names["targets"].star_distances)


HERE = {
    "README.md": check_readme,
    "docs/api/index.md": check_names,
    "docs/effects.md": check_effects,
    "docs/generator.md": check_generator,
    "docs/large.md": check_large,
    "docs/predict.md": check_predict,
}


class StandIn:
    """A cluster of another package, and a client: they hold what they were given."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options

    def scale(self, jobs):
        self.jobs = jobs

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


@pytest.fixture
def clusters(monkeypatch):
    """Stand-ins for clusters that this machine does not have, and the calls of ``predict`` with a client."""
    import distributed

    from anystar_torch import distributed as large

    predict, calls = large.predict, []

    def recorded(*arguments, **options):
        if len(arguments) < 3:
            return predict(*arguments, **options)
        inspect.signature(predict).bind(*arguments, **options)
        large.LargeOptions(**{name: value for name, value in options.items() if name != "work"})
        calls.append((arguments, options))

    for name, kind in (("dask_jobqueue", "SLURMCluster"), ("dask_kubernetes.operator", "KubeCluster")):
        module = types.ModuleType(name)
        setattr(module, kind, StandIn)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(
            sys.modules, name.partition(".")[0], module if "." not in name else types.ModuleType(name)
        )
    monkeypatch.setattr(distributed, "Client", StandIn)
    monkeypatch.setattr(large, "predict", recorded, raising=False)
    return calls


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in HERE if page != "docs/large.md"])
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_model", lambda path: (Sees().eval(), config()))
    HERE[page](run(page))


@pytest.mark.slow
def test_the_blocks_about_large_volumes_run(clusters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr.create_array("big.ome.zarr", shape=(256, 1024, 1024), chunks=(64, 256, 256), dtype="uint8")
    names = run("docs/large.md")
    HERE["docs/large.md"](names | {"calls": clusters})


def test_every_page_with_blocks_that_run_here_has_some():
    assert all(blocks("python", page) for page in HERE)


@pytest.mark.parametrize(("page", "mark"), EXCUSED)
def test_blocks_that_cannot_run_compile(page, mark):
    found = [block for block in blocks("python", page) if mark in block.text]
    assert found
    for block in found:
        compile(block.text, str(block), "exec")
