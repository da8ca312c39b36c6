"""The native kernels behind targets and loss: as operators, on any number of threads, and with nonsense for input."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import components, targets
from anystar_torch.geometry import distance_transform as edt
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import _native
from anystar_torch.kernels.components import torch_components
from anystar_torch.kernels.distance_transform import torch_probability
from anystar_torch.kernels.star_distances import torch_star_distances
from tests.geometry.test_distance_transform import random_labels
from tests.geometry.test_malformed import arrays

RAYS = Rays.golden_spiral(17)  # two of them at half a voxel a step, which tie
LABELS = torch.from_numpy(np.stack([random_labels(s, (11, 12, 23), ids=4) for s in range(3)]))[:, None]


def everything(labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (
        targets.star_distances(labels, RAYS, (1, 2, 3)),
        targets.object_probability(labels, (2, 1, 1), (2.0, 1.0, 1.5)),
        edt.distance_transform(labels, (2.0, 1.0, 1.5)),
        components.connected_components(labels),
        components.remove_small(labels, 40),
    )


@pytest.mark.long
def test_operators_are_registered_well() -> None:
    ops = torch.ops.anystar
    labels = LABELS[:2, :, :5, :6, :7].contiguous()
    torch.library.opcheck(ops.star_distances.default, (labels, RAYS.vertices, 1, 2, 3))
    torch.library.opcheck(ops.object_probability.default, (labels, 1, 2, 3, 1.0, 1.0, 2.0))
    torch.library.opcheck(ops.distance_transform.default, (labels, 1.0, 1.0, 2.0))


@pytest.mark.parametrize("threads", [2, 7])
def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = everything(LABELS)
        torch.set_num_threads(threads)
        got = everything(LABELS)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.long
def test_results_too_large_to_be_used_again_are_the_same() -> None:
    labels = torch.from_numpy(np.stack([random_labels(s, (64, 64, 64), ids=40) for s in range(3)]))[:, None]
    rays = Rays.golden_spiral(96)
    together = targets.star_distances(labels, rays, (2, 2, 2))
    assert together.numel() * 4 > 32 << 20  # asked for in large pages
    alone = [targets.star_distances(one, rays, (2, 2, 2)) for one in labels.split(1)]
    assert torch.equal(together, torch.cat(alone))


def test_any_memory_layout_gives_the_same_bits() -> None:
    strided = (
        torch.stack([LABELS, LABELS], dim=-1)[..., 1]
        .permute(4, 3, 2, 1, 0)
        .contiguous()
        .permute(4, 3, 2, 1, 0)
    )
    assert not strided.is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(everything(strided), everything(LABELS), strict=True))


def test_input_is_not_written() -> None:
    labels = LABELS.clone()
    everything(labels)
    assert torch.equal(labels, LABELS)


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own use of what it deprecates
def test_compiled_equals_eager() -> None:
    compiled = torch.compile(everything, fullgraph=True)
    assert all(torch.equal(a, b) for a, b in zip(compiled(LABELS), everything(LABELS), strict=True))


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own use of what it deprecates
def test_compiled_torch_path_equals_eager() -> None:
    labels = LABELS[:, :, :4, :5, :6].contiguous()

    def plain(labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            torch_star_distances(labels, RAYS.vertices, (1, 2, 1)),
            torch_probability(labels, (1, 1, 1), (2.0, 1.0, 1.0)),
            torch_components(labels),
        )

    compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")(
        labels
    )  # one graph; inductor takes minutes
    torch.testing.assert_close(compiled, plain(labels))


@pytest.mark.compile
def test_exported_for_any_batch() -> None:
    class Targets(torch.nn.Module):
        def forward(self, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return everything(labels)

    program = torch.export.export(Targets(), (LABELS,), dynamic_shapes=({0: torch.export.Dim("b", min=2)},))
    got = program.module()(LABELS[:2])
    assert all(torch.equal(a, b) for a, b in zip(got, everything(LABELS[:2]), strict=True))


INT, OUT = np.zeros((2, 3, 4, 5), np.int32), np.zeros((2, 17, 3, 2, 3), np.float32)
FULL = np.zeros((2, 1, 3, 4, 5), np.float32)
GOOD: dict[str, tuple[Any, ...]] = {
    "star_distances": (INT, RAYS.vertices.numpy(), 1, 2, 2, OUT, 2),
    "distance_transform": (INT, 1.0, 1.0, 2.0, FULL, 2),
    "object_probability": (INT, 1, 1, 1, 1.0, 1.0, 2.0, FULL, 2),
    "connected_components": (INT, 3, INT.copy(), 2),
    "remove_small": (INT, 3, INT.copy(), 2),
    "weighted_error": (
        np.ones((2, 4, 5), np.float32),
        np.ones((2, 5, 4), np.float32),
        np.ones((2, 4), np.float32),
        np.ones((2, 4), np.float32),
        np.zeros((2, 4, 5), np.float32),
        2,
    ),
}
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**62, -(2**63), 10**30, float("nan"), float("inf"), 1e-300, None, "1"]
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Any], bool]:
    """A kernel and its arguments, of which one or more are something else; whether any is."""
    name = draw(st.sampled_from(sorted(GOOD)))
    arguments = list(GOOD[name])
    places = draw(st.sets(st.integers(0, len(arguments) - 1), min_size=1))
    for place in places:
        other = arrays() | label_arrays() if isinstance(arguments[place], np.ndarray) else NUMBERS
        arguments[place] = draw(other)
    return name, arguments, bool(places)


@st.composite
def label_arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays that are nearly right: the dtypes and dimensions in use, with other sizes and extreme values."""
    dimensions = draw(st.sampled_from([2, 4, 5]))
    shape = tuple(draw(st.integers(0, 6)) for _ in range(dimensions))
    dtype = np.int32 if dimensions == 4 else np.float32
    fill = draw(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]))
    return np.full(shape, fill, dtype)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(call=calls())
def test_malformed_arguments_raise_or_work(call: tuple[str, list[Any], bool]) -> None:
    name, arguments, _ = call
    with contextlib.suppress(TypeError, ValueError, MemoryError, OverflowError):
        getattr(_native, name)(*arguments)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_wrong_argument_is_named(name: str) -> None:
    for place, argument in enumerate(GOOD[name]):
        wrong: list[Any] = [None]
        if isinstance(argument, np.ndarray):
            wrong += [
                argument.astype(np.float64),
                argument[..., ::2],
                argument[0],
                argument[:, :0],
                argument[:1, :1],
            ]
        elif isinstance(argument, float):
            wrong += [0.0, -1.0, float("nan"), float("inf")]
        elif place != 1 or name not in (
            "remove_small",
            "connected_components",
        ):  # every integer is a number of voxels
            wrong += [0, -1, 2**40, 1.5]
        for other in wrong:
            arguments = [*GOOD[name][:place], other, *GOOD[name][place + 1 :]]
            with pytest.raises((TypeError, ValueError)):
                getattr(_native, name)(*arguments)


def test_read_only_results_are_refused() -> None:
    out = OUT.copy()
    out.flags.writeable = False
    with pytest.raises(TypeError):
        _native.star_distances(INT, RAYS.vertices.numpy(), 1, 2, 2, out, 1)
