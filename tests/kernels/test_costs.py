"""The declared launches of operators are those that happen."""

import pytest
import torch

from anystar_torch.geometry import distance_transform as edt
from anystar_torch.geometry import targets
from anystar_torch.geometry.components import connected_components, remove_small
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.costs import COSTS
from anystar_torch.kernels.implementations import forced
from anystar_torch.network.loss import StarDistLoss

interpreter = pytest.importorskip("triton.runtime.interpreter")
pytestmark = pytest.mark.interpreter

LABELS = torch.zeros(2, 1, 3, 4, 5, dtype=torch.int32)
LABELS[:, :, 1:, 1:, 1:] = 3
CALLS = {
    "star_distances": lambda: targets.star_distances(LABELS, Rays.golden_spiral(5)),
    "object_probability": lambda: targets.object_probability(LABELS),
    "distance_transform": lambda: edt.distance_transform(LABELS),
    "connected_components": lambda: connected_components(LABELS, 2),
    "remove_small": lambda: remove_small(LABELS, 2),
}


@pytest.fixture
def launched(monkeypatch):
    """Number of kernels launched so far, and of tensors cleared."""
    count = [0]
    run = interpreter.GridExecutor.__call__
    clear = torch.zeros

    def counted(function):
        def call(*args, **kwargs):
            count[0] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", counted(run))
    monkeypatch.setattr("anystar_torch.kernels.triton.label_table.zeros", counted(clear))
    return count


@pytest.mark.parametrize("name", CALLS)
def test_launches_of_labels(name, launched):
    with forced("triton"):
        CALLS[name]()
    assert launched[0] == COSTS[f"anystar::{name}"].launches


def test_launches_of_the_loss(launched):
    shapes = (2, 1, 2, 3, 4), (2, 5, 2, 3, 4)
    outputs = [torch.rand(shape).requires_grad_() for shape in shapes]
    with forced("triton"):
        loss = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
        total = loss((outputs[0], outputs[1]), torch.rand(shapes[0]), torch.rand(shapes[1])).total
        assert launched[0] == COSTS["anystar::stardist_loss"].launches
        total.backward()
    assert (
        launched[0] - COSTS["anystar::stardist_loss"].launches == COSTS["anystar::scale_gradients"].launches
    )


def test_operators_of_the_loss_are_registered_as_torch_wants():
    logits, distances = torch.rand(2, 1, 2, 3, 4), torch.rand(2, 5, 2, 3, 4)
    inputs = (logits, distances, torch.rand(2, 1, 2, 3, 4), torch.rand(2, 5, 2, 3, 4), 1.0, 0.2, 1e-4, True)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.anystar.stardist_loss.default, inputs, test_utils=checks)
    scalars = torch.tensor(2.0), torch.tensor(2.0), torch.ones(2)
    torch.library.opcheck(
        torch.ops.anystar.scale_gradients.default, (logits, distances, *scalars), test_utils=checks
    )


@pytest.mark.parametrize("name", CALLS)
def test_operators_of_labels_are_registered_as_torch_wants(name):
    arguments = {
        "star_distances": (Rays.golden_spiral(5).vertices, 1, 2, 2),
        "object_probability": (1, 2, 2, 1.0, 1.0, 2.0),
        "distance_transform": (1.0, 1.0, 2.0),
        "connected_components": (2,),
        "remove_small": (2,),
    }[name]
    operator = getattr(torch.ops.anystar, name).default
    with forced("triton"):
        torch.library.opcheck(operator, (LABELS, *arguments), test_utils=("test_schema", "test_faketensor"))
