import numpy as np
import pytest
import torch

from tests.residency import Residency, ResidencyError


@torch.library.custom_op("anystar_tests::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@double.register_fake
def _(x):
    return torch.empty_like(x)


X = torch.empty(3, 4, device="meta")
MASK = torch.empty(3, 4, dtype=torch.bool, device="meta")
INDEX = torch.empty(3, dtype=torch.int64, device="meta")
SQUARE = torch.empty(3, 3, device="meta")
HOST = torch.ones(3, 4)
HOST_INDEX = torch.tensor([0, 1])
HOST_SCALAR = torch.tensor(2.0)

REFUSED = {
    "not an aten operator": [lambda: double(X)],
    "synchronises": [
        lambda: X.sum().item(),
        lambda: bool(X.sum()),
        lambda: float(X[0, 0]),
        lambda: int(INDEX[0]),
        lambda: X.nonzero(),
        lambda: torch.argwhere(X),
        lambda: X.masked_select(MASK),
        lambda: X[MASK],
        lambda: X[:, INDEX > 0],
        lambda: X.clone().__setitem__(MASK, 0.0),
        lambda: X.unique(),
        lambda: X.unique(dim=0),
        lambda: X.unique_consecutive(),
        lambda: torch.equal(X, X),
        lambda: torch.isin(X, X),
        lambda: INDEX.bincount(),
        lambda: torch.histc(X, 4),
        lambda: X.multinomial(2),
        lambda: torch.linalg.inv(SQUARE),
        lambda: torch.linalg.inv_ex(SQUARE),
        lambda: torch.linalg.solve(SQUARE, SQUARE),
        lambda: torch.linalg.svd(SQUARE),
        lambda: torch.linalg.eigh(SQUARE),
        lambda: torch.linalg.det(SQUARE),
        lambda: torch.linalg.cholesky(SQUARE),
        lambda: torch.inverse(SQUARE),
        lambda: X.repeat_interleave(INDEX, dim=0),
    ],
    "on cpu": [
        lambda: X + HOST,
        lambda: X + HOST_SCALAR,
        lambda: X[HOST_INDEX],
        lambda: X.index_select(0, HOST_INDEX),
        lambda: X.clone().__setitem__(HOST_INDEX, 0.0),
        lambda: torch.cat([X, HOST]),
        lambda: X.clone().copy_(HOST),
        lambda: X.cpu(),
        lambda: X.to("cpu"),
        lambda: HOST.to("meta"),
        lambda: X + torch.arange(4),
        lambda: torch.zeros(3),
        lambda: HOST * 2,
        lambda: torch.from_numpy(np.ones(3)),
    ],
    "moves data": [
        lambda: torch.tensor([1.0, 2.0], device="meta"),
        lambda: torch.as_tensor([1.0], device="meta"),
        lambda: X.new_tensor([1.0, 2.0]),
        lambda: X.tolist(),
    ],
    "uploaded": [
        lambda: X[[0, 1]],
        lambda: X[:, [0, 1]],
        lambda: X[np.array([0, 1])],
        lambda: X.clone().__setitem__([0, 1], 0.0),
    ],
    "generator of another device": [
        lambda: torch.randn(3, device="meta", generator=torch.Generator("cpu")),
        lambda: X.clone().uniform_(generator=torch.Generator("cpu")),
    ],
    "global generator": [
        lambda: torch.rand(3, device="meta"),
        lambda: torch.randn_like(X),
        lambda: torch.randperm(3, device="meta"),
        lambda: torch.bernoulli(X),
        lambda: torch.poisson(X),
        lambda: X.clone().normal_(),
        lambda: torch.nn.functional.dropout(X, 0.5),
    ],
}


@pytest.mark.parametrize(
    ("message", "operation"), [(message, case) for message, cases in REFUSED.items() for case in cases]
)
def test_refuses(message, operation):
    with pytest.raises(ResidencyError, match=message), Residency("meta"):
        operation()


ALLOWED = [
    lambda: (1 - X * 2.0).clamp(0, 1).pow(2),
    lambda: torch.where(MASK, X, 0.0),
    lambda: X.masked_fill(MASK, 0.0),
    lambda: X.clone().__setitem__((0, slice(None)), 3.0),
    lambda: X[INDEX],
    lambda: X[None, ..., 1:, 0],
    lambda: X.gather(0, INDEX[None]),
    lambda: X.quantile(0.5, dim=1),
    lambda: X.sort(dim=1),
    lambda: torch.fft.fftn(X),
    lambda: torch.arange(3, device=X.device) + torch.full((3,), 2.0, device=X.device),
    lambda: torch.linalg.vector_norm(X, dim=1),
    lambda: X.repeat_interleave(2, dim=0),
    lambda: torch.nn.functional.conv2d(X[None, None], SQUARE[None, None]),
]


@pytest.mark.parametrize("operation", ALLOWED)
def test_lets_pass_what_stays_on_the_device(operation):
    with Residency("meta") as mode:
        operation()
    assert mode.count >= 1


def test_counts_operators():
    with Residency("meta") as mode:
        y = X * 2
        y = y + 1
        y.sum(dim=0)
    assert mode.count == 3
    assert mode.operators == {"aten.mul.Tensor": 1, "aten.add.Tensor": 1, "aten.sum.dim_IntList": 1}


def test_sees_values_being_read_on_the_cpu_too():
    x = torch.ones(1)
    for read in (bool, torch.nonzero, lambda x: x[x > 0], torch.Tensor.tolist, torch.Tensor.numpy):
        with pytest.raises(ResidencyError), Residency("cpu"):
            read(x)
    with Residency("cpu"):
        (x * 2).sum()


def test_allowed_names_pass_but_native_kernels_never_on_meta():
    x = torch.ones(3)
    reason = {"anystar_tests::double": "the subject of this test"}
    with pytest.raises(ResidencyError, match="not an aten"), Residency("cpu"):
        double(x)
    with Residency("cpu", allow=reason):
        doubled = double(x)
    assert doubled.sum() == 6
    with pytest.raises(ResidencyError, match="not an aten"), Residency("meta", allow=reason):
        double(X)
    with Residency("meta", allow={"torch.tensor": "a constant, once per run"}):
        torch.tensor([1.0], device="meta")
    with pytest.raises(ValueError, match="reason"):
        Residency("meta", allow={"torch.tensor": " "})


@torch.library.custom_op("anystar::tested", mutates_args=())
def with_a_kernel(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@with_a_kernel.register_fake
def _(x):
    return torch.empty_like(x)


def test_operators_of_the_package_have_kernels():
    with Residency("meta") as mode:
        assert with_a_kernel(X).is_meta
    assert mode.operators == {"anystar.tested.default": 1}
    with pytest.raises(ResidencyError, match="on cpu"), Residency("meta"):
        with_a_kernel(HOST)


def test_figures_on_the_host_are_no_matter_of_the_device():
    with Residency("meta", host=True) as mode:
        figure = torch.tensor(2.0).clone() + 1.0
        assert figure.item() == 3.0
    assert mode.count == 0
    for crossing in (lambda: X + figure, lambda: figure.to("meta"), lambda: X.cpu(), lambda: X.sum().item()):
        with pytest.raises(ResidencyError), Residency("meta", host=True):
            crossing()
    with pytest.raises(ResidencyError), Residency("meta", host=True):
        torch.tensor(1.0, device="meta")


def test_leaves_no_mode_behind():
    with pytest.raises(ResidencyError), Residency("meta"):
        X.nonzero()
    assert torch.tensor([1.0]).tolist() == [1.0]
