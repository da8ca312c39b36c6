"""The network as one file: torch alone runs it, and it computes the same."""

import subprocess
import sys

import pytest
import torch

from anystar_torch.exporting.architecture import NAME, arguments, source, stacked
from anystar_torch.network.unet import UNetBackbone
from tests.exporting.networks import residual_unet, resnet, seeing, unet

ALONE = """
import sys
sys.modules["anystar_torch"] = sys.modules["jaxtyping"] = None  # importing them would fail
import importlib, torch
outputs = {}
for name, (state, kwargs, image) in torch.load("everything.pt").items():
    model = getattr(importlib.import_module(name), sys.argv[1])(**kwargs)
    model.load_state_dict(state)
    with torch.no_grad():
        outputs[name] = model.eval()(image)
torch.save(outputs, "outputs.pt")
"""


@pytest.mark.long
def test_the_file_alone_computes_the_network(tmp_path):
    bare = unet(features=0, channels=2, backbone=UNetBackbone(filters=2, depth=2, batch_norm=False))
    networks = {"seeing": seeing(), "residual": resnet(), "stem": residual_unet(), "bare": bare}
    everything = {}
    for name, network in networks.items():
        image = torch.rand(2, network.channels, *(3 * d for d in network.divisor))
        (tmp_path / f"{name}.py").write_text(source(network))
        everything[name] = (network.state_dict(), arguments(network), image)
    torch.save(everything, tmp_path / "everything.pt")
    subprocess.run([sys.executable, "-c", ALONE, NAME], cwd=tmp_path, check=True)
    outputs = torch.load(tmp_path / "outputs.pt")
    for name, network in networks.items():
        image = everything[name][2]
        with torch.no_grad():
            probability, distances = network(image)
            ours = stacked(network)(image)
        assert torch.equal(ours[..., 0], probability[:, 0])
        assert torch.equal(ours[..., 1:].movedim(-1, 1), distances.clamp_min(1e-3))
        # another process, another number of threads
        torch.testing.assert_close(outputs[name], ours, rtol=0, atol=1e-5)


def test_the_file_is_clean(tmp_path):
    for make in (seeing, resnet, residual_unet):
        (tmp_path / "network.py").write_text(source(make()))
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120"]
        subprocess.run([*command, tmp_path / "network.py"], check=True)
