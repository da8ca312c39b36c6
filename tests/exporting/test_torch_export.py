"""torch.export: a process without this package loads the program and gets the network's numbers."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from anystar_torch.exporting import export, torch_export
from anystar_torch.network.unet import UNetBackbone
from tests.exporting.networks import config, resnet, seeing, snippet, unet

FRESH = """
import json, sys
sys.modules["anystar_torch"] = None  # importing it would fail
import numpy as np, torch
path, images, outputs = sys.argv[1:]
if path.endswith(".aoti.pt2"):
    run = torch._inductor.aoti_load_package(path)
    about = run.get_metadata()["anystar.json"]
else:
    files = {"anystar.json": ""}
    run = torch.export.load(path, extra_files=files).module()
    about = files["anystar.json"]
print(json.loads(about)["prob_thresh"])
found = {}
with torch.no_grad():
    for name, image in np.load(images).items():
        for kind, output in zip(("p", "d"), run(torch.from_numpy(image))):
            found[kind + name] = output.numpy()
np.savez(outputs, **found)
"""


def check(path, network):
    """Four sizes through the file in a process that cannot import the package, against the network itself."""
    images = {
        str(i): np.random.default_rng(i).random(
            (batch, 1, *(n * d for n, d in zip(blocks, network.divisor, strict=True))), np.float32
        )
        for i, (batch, blocks) in enumerate([(1, (1, 1, 2)), (1, (2, 1, 1)), (3, (4, 5, 3)), (2, (5, 2, 6))])
    }
    np.savez(path.parent / "images.npz", **images)
    command = [sys.executable, "-W", "ignore", "-c", FRESH]
    command += [str(p) for p in (path, path.parent / "images.npz", path.parent / "outputs.npz")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(said) == 0.6
    outputs = np.load(path.parent / "outputs.npz")
    with torch.no_grad():
        for name, image in images.items():
            expected = network(torch.from_numpy(image))
            for kind, ours in zip("pd", expected, strict=True):
                np.testing.assert_allclose(outputs[kind + name], ours.numpy(), rtol=0, atol=1e-5)


def smallest():
    return unet(
        rays=6, features=4, grid=(1, 1, 2), backbone=UNetBackbone(filters=2, depth=1, batch_norm=True)
    )


@pytest.mark.long
@pytest.mark.parametrize("make", [seeing, resnet])
def test_a_fresh_process_gets_the_same_numbers(tmp_path, monkeypatch, make):
    monkeypatch.setattr(
        torch_export, "compiler", lambda: None
    )  # then nothing is compiled, and nothing refused
    network, path = make(), tmp_path / "network.pt2"
    assert export("torch", network, config(network), path) == [path]
    assert [p.name for p in tmp_path.iterdir()] == ["network.pt2"]
    check(path, network)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet("network.pt2"), names)
    assert names["distances"].shape[:2] == (2, 16)


@pytest.mark.slow
@pytest.mark.skipif(torch_export.compiler() is None, reason="no C++ compiler")
def test_the_compiled_program_gets_the_same_numbers(tmp_path, monkeypatch):
    network = unet(
        rays=6, features=4, grid=(1, 1, 2), backbone=UNetBackbone(filters=2, depth=1, batch_norm=True)
    )
    path = tmp_path / "network.pt2"
    written = export("torch", network, config(network), path)
    assert written == [path, tmp_path / "network.aoti.pt2"]
    check(written[1], network)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet("network.aoti.pt2"), names)
    assert names["probability"].shape == (1, 1, 64, 64, 32)


@pytest.mark.long
def test_a_failed_compilation_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch_export, "compiler", lambda: "c++")
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    with pytest.raises(ValueError, match="No space left"):
        export("torch", smallest(), config(smallest()), tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())


def test_what_aotinductor_cannot_compile_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_export, "compiler", lambda: "c++")
    with pytest.raises(ValueError, match="compiled=False"):
        export("torch", resnet(), config(resnet()), tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())
