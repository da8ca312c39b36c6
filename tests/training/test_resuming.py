"""Checkpoints from someone else: read without executing anything, and compared with the network of the run."""

import pytest
import torch

from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.checkpoints import averaged_weights, best_score
from anystar_torch.training.resuming import ARCHITECTURE, check_same_network, read_checkpoint
from tests.exporting.networks import unet
from tests.training.runs import Payload


def _checkpoint(path, network, **more):
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "callbacks": {"Checkpoints": {"best": 0.4}}, **more}, path)
    return path


@pytest.mark.parametrize("read", [read_checkpoint, averaged_weights, lambda path: best_score(path.parent)])
def test_what_a_checkpoint_holds_is_never_executed(tmp_path, read):
    path = _checkpoint(tmp_path / "best.ckpt", unet(), payload=Payload(tmp_path / "made"))
    with pytest.raises(ValueError, match=r"best\.ckpt is refused") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_an_honest_checkpoint_is_read(tmp_path):
    network = unet()
    path = _checkpoint(tmp_path / "best.ckpt", network)
    assert best_score(tmp_path) == 0.4
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in averaged_weights(path).items())


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"noise" * 99])
def test_a_damaged_checkpoint_is_one_line(tmp_path, damage):
    path = _checkpoint(tmp_path / "last.ckpt", unet())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"last\.ckpt") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_file_without_weights_is_no_checkpoint(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="is no checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_the_architecture_is_compared_where_the_checkpoint_holds_it(tmp_path):
    network = unet()
    path = _checkpoint(tmp_path / "last.ckpt", network, **{ARCHITECTURE: network.architecture})
    check_same_network(path, unet())
    with pytest.raises(ValueError, match=r"grid is \[1, 2, 2\] there and \[2, 1, 2\] here"):
        check_same_network(path, unet(grid=(2, 1, 2)))  # the weights have the same sizes


def test_sizes_of_weights_are_compared_where_it_does_not(tmp_path):
    path = _checkpoint(tmp_path / "last.ckpt", unet())
    check_same_network(path, unet())
    wide = unet(backbone=UNetBackbone(filters=8, depth=1, batch_norm=True))
    with pytest.raises(ValueError, match=r"there and .* here.* more; choose the same") as caught:
        check_same_network(path, wide)
    assert len(str(caught.value)) < 800
