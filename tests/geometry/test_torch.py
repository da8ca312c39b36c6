"""The operations as torch custom operators: registration, compilation, export."""

import pytest
import torch
from torch import Tensor

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from tests.geometry.cases import random_crowd

RAYS = Rays.golden_spiral(16)
CROWD = random_crowd(1, 40, rays=RAYS, extent=12)
GEOMETRY = (RAYS.vertices, RAYS.faces)


def suppress_and_render(points: Tensor, distances: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    keep = ops.nms(points, distances, scores, RAYS, 0.3)
    order = torch.where(keep, scores, -1).argsort(descending=True, stable=True)
    return keep, ops.render_labels(points[order], distances[order], RAYS, (12, 13, 14))


@pytest.mark.long
def test_operators_are_registered_well() -> None:
    torch.library.opcheck(torch.ops.anystar.nms.default, (*CROWD[:3], *GEOMETRY, 0.3))
    torch.library.opcheck(torch.ops.anystar.render_labels.default, (*CROWD[:2], *GEOMETRY, [5, 6, 7]))


def test_shapes_are_known_without_data() -> None:
    meta = [tensor.to("meta") for tensor in CROWD[:3]]
    keep = torch.ops.anystar.nms(*meta, *(tensor.to("meta") for tensor in GEOMETRY), 0.3)
    assert (keep.shape, keep.dtype, keep.device.type) == ((40,), torch.bool, "meta")
    labels = torch.ops.anystar.render_labels(
        *meta[:2], *(tensor.to("meta") for tensor in GEOMETRY), [5, 6, 7]
    )
    assert (labels.shape, labels.dtype, labels.device.type) == ((5, 6, 7), torch.int32, "meta")


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own use of what it deprecates
def test_compiled_equals_eager() -> None:
    compiled = torch.compile(suppress_and_render, fullgraph=True)
    for got, expected in zip(compiled(*CROWD[:3]), suppress_and_render(*CROWD[:3]), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.compile
def test_exported_equals_eager_for_any_number_of_candidates() -> None:
    class Module(torch.nn.Module):
        def forward(self, points: Tensor, distances: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
            return suppress_and_render(points, distances, scores)

    n = torch.export.Dim("n", min=2)
    program = torch.export.export(Module(), CROWD[:3], dynamic_shapes=({0: n}, {0: n}, {0: n}))
    fewer = tuple(tensor[:25] for tensor in CROWD[:3])
    for got, expected in zip(program.module()(*fewer), suppress_and_render(*fewer), strict=True):
        assert torch.equal(got, expected)
