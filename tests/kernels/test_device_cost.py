"""What a GPU would run, counted without one: budgets, and the rules of counting (benchmarks/counting.py)."""

import json
from functools import cache

import pytest
import torch

from anystar_torch.geometry import targets
from anystar_torch.geometry.rays import Rays
from benchmarks import device_cost
from benchmarks.counting import Cost

MEGABYTE, GIGABYTE = 1e6, 1e9
FIELD = 4 * 64**3  # bytes of one volume in 32 bits

# launches per batch, bytes per sample of 64^3
BUDGETS = {"mix": (600, 2.0 * GIGABYTE), "zero_shot": (900, 2.5 * GIGABYTE)}


@cache
def of_samples(name, batch):
    return device_cost.samples(name, batch)


@pytest.mark.long
@pytest.mark.parametrize("name", BUDGETS)
def test_samples_stay_within_their_budget(name):
    launches, size = BUDGETS[name]
    cost = of_samples(name, 2)
    assert cost.launches <= launches
    assert cost.bytes / 2 <= size


@pytest.mark.long
@pytest.mark.parametrize("name", BUDGETS)
def test_launches_do_not_grow_with_the_batch(name):
    """A batch of one may do with fewer: what is expanded over the batch is a view there."""
    one, two, eight = (of_samples(name, batch) for batch in (1, 2, 8))
    assert one.launches <= two.launches == eight.launches
    assert eight.bytes / 8 <= 1.01 * two.bytes / 2


@pytest.mark.parametrize("grid", [1, 2])
def test_star_distances_are_one_launch(grid):
    for batch in (1, 2, 8):
        cost = device_cost.distances(batch, grid=grid)
        assert cost.launches == 1
        assert cost.bytes <= 1.2 * batch * (FIELD + 96 * FIELD / grid**3)


@pytest.mark.parametrize("grid", [1, 2])
def test_the_probability_stays_within_its_budget(grid):
    for batch in (1, 2, 8):
        cost = device_cost.probability(batch, grid=grid)
        assert cost.launches <= 12
        assert cost.bytes / batch <= 60 * MEGABYTE


def test_the_loss_with_its_gradient_stays_within_its_budget():
    """In bf16, as GPUs train: three passes over the true distances, in 32 bits."""
    for batch in (1, 2, 8):
        cost = device_cost.loss(batch)
        assert cost.launches <= 5
        assert cost.bytes <= 3 * batch * 96 * FIELD


def test_the_loss_in_float32_moves_every_array_once():
    """Three arrays of distances and one of each gradient of logits; logits and probability twice.

    The bound is that of labels without background, where the true distances are not read.
    """
    for batch in (1, 2):
        cost = device_cost.loss(batch, dtype=torch.float32)
        assert cost.launches <= 5
        assert cost.bytes <= batch * (3 * 96 + 5) * FIELD + 1e4


@pytest.mark.long
def test_networks_are_counted():
    cost, operations = device_cost.network("small", 1, 32)
    assert cost.launches > 50
    assert operations > 1e9


# ---- the rules of counting ----------------------------------------------------------------------


@torch.library.custom_op("anystar_tests::rows", mutates_args=())
def rows(x: torch.Tensor) -> torch.Tensor:
    return x.sum(1) * 2


@rows.register_fake
def _(x):
    return (x.double() * 2).sum(1).float()  # the operators of a fake implementation count as one launch


def made(*shape):
    return torch.empty(*shape, device="meta")


X, ROW = made(4, 8), made(8)

FREE = {
    "view": lambda: X.view(8, 4).t()[1:].unsqueeze(0),
    "expand": lambda: ROW.expand(100, 8),
    "reshape": lambda: X.reshape(-1),
    "contiguous already": lambda: X.contiguous().float(),
    "memory": lambda: (torch.empty(5, device="meta"), torch.empty_like(X), X.new_empty(3)),
    "nothing in it": lambda: made(0, 3) * 2,
    "detach": lambda: X.detach(),
    "split": lambda: (X.unbind(0), X.chunk(2), X.split(3)),
}
COUNTED = {  # launches, bytes
    "one operator": (lambda: X + 1, 1, 4 * 64),
    "two operands": (lambda: X + made(4, 8), 1, 4 * 96),
    "the same operand twice": (lambda: X * X, 1, 4 * 64),
    "broadcast": (lambda: X + ROW, 1, 4 * 72),
    "expanded": (lambda: ROW.expand(100, 8).clone(memory_format=torch.contiguous_format), 1, 4 * 808),
    "a part": (lambda: X[:2] * 2, 1, 4 * 32),
    "windows": (lambda: ROW.unfold(0, 3, 1) * 2, 1, 4 * (8 + 18)),
    "in place": (lambda: X.clone().mul_(2), 2, 4 * (64 + 64)),
    "filled": (lambda: made(4, 8).zero_(), 1, 4 * 32),
    "copied": (lambda: made(4, 8).copy_(ROW), 1, 4 * 40),
    "written into": (lambda: torch.add(X, 1, out=made(4, 8)), 1, 4 * 64),
    "list of operands": (lambda: torch.cat([X, X[:1]]), 1, 4 * (32 + 8 + 40)),
    "another type": (lambda: X.to(torch.bfloat16), 1, 4 * 32 + 2 * 32),
    "own operator": (lambda: rows(X), 1, 4 * 36),
    "range": (lambda: torch.arange(6, device="meta"), 1, 8 * 6),
}


@pytest.mark.parametrize("name", FREE)
def test_views_and_reserved_memory_are_free(name):
    with Cost() as cost:
        FREE[name]()
    assert (cost.launches, cost.bytes) == (0, 0)


@pytest.mark.parametrize("name", COUNTED)
def test_launches_and_bytes_are_counted(name):
    operation, launches, size = COUNTED[name]
    with Cost() as cost:
        operation()
    assert (cost.launches, cost.bytes) == (launches, size)


def test_gradients_are_counted():
    x = made(4, 8).requires_grad_()
    with Cost() as cost:
        torch.autograd.grad((x * x.detach()).sum(), x)
    operators = {entry.operator for entry in cost.launched}
    assert operators >= {"aten.mul.Tensor", "aten.sum.default", "aten.ones_like.default"}


@pytest.mark.long
def test_costs_belong_to_the_file_that_calls():
    labels = torch.empty(1, 1, 8, 8, 8, dtype=torch.int32, device="meta")
    rays = Rays.golden_spiral(8).to("meta")
    with Cost() as cost:
        X + 1
        targets.star_distances(labels, rays)
        with cost.part("mine"):
            X + 1
    parts = {part for part, _, _ in cost.by_part()}
    assert {"other", "mine", "geometry/targets"} == parts
    assert {"draws", "generator/scene/intensities", "generator/effects/blur"} <= {
        part for part, _, _ in of_samples("mix", 2).by_part()
    }


@pytest.mark.long
def test_tables_are_printed_and_name_the_model(capsys, monkeypatch, tmp_path):
    path = tmp_path / "cost.json"
    arguments = ["--synths", "mix", "--size", "32", "--batch", "2", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["device_cost.py", *arguments])
    device_cost.main()
    printed = capsys.readouterr().out
    assert "model, not a measurement" in printed
    assert "connected components" in printed
    stored = json.loads(path.read_text())
    assert stored["header"]["commit"]
    assert "parts of samples of mix" in stored["tables"]
