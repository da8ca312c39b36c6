"""Malformed arguments raise an exception of Python and never crash."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import _native
from tests.geometry.cases import random_crowd

RAYS = Rays.golden_spiral(8)
CROWD = random_crowd(1, 6, rays=RAYS, extent=6, radius=2)
VERTICES, FACES = RAYS.vertices.numpy(), RAYS.faces.numpy()

DTYPES = [np.float32, np.float64, np.int64, np.int32, np.int8, np.bool_, np.float16, np.complex64, object]
VALUES = [0.0, -1.0, 1.0, 1e-45, 1e30, 3.4e38, float("nan"), float("inf"), -float("inf"), 2.0**31, -(2.0**63)]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays of any small shape, dtype, layout and content; the shapes in use come up often."""
    shape = draw(
        st.sampled_from(
            [(6, 3), (6, 8), (6,), (8, 3), (12, 3), (0, 3), (0, 8), (0,), (), (6, 3, 1), (1, 8), (4, 4, 4)]
        )
        | st.lists(st.integers(0, 9), max_size=4).map(tuple)
    )
    dtype = draw(st.sampled_from(DTYPES))
    fill = draw(st.sampled_from(VALUES))
    with np.errstate(all="ignore"):
        array = np.full(shape, fill if dtype is not np.bool_ else bool(fill), dtype=object)
        with contextlib.suppress(ValueError, OverflowError, TypeError):
            array = np.full(shape, fill).astype(dtype)
    layout = draw(st.sampled_from(["c", "f", "strided", "reversed", "readonly", "broadcast"]))
    if layout == "f":
        array = np.asfortranarray(array)
    elif layout == "strided" and array.ndim:
        array = np.repeat(array, 2, axis=0)[::2]
    elif layout == "reversed" and array.ndim:
        array = array[::-1]
    elif layout == "readonly":
        array.flags.writeable = False
    elif layout == "broadcast" and array.ndim:
        array = np.broadcast_to(array[:1], array.shape) if len(array) else array
    return array


ANYTHING = arrays() | st.sampled_from([None, 3, "text", [1.0, 2.0], torch.ones(6, 3)])


def one_replaced(good: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Good arguments with one or several others in their places."""
    places = st.sets(st.integers(0, len(good) - 1), min_size=1, max_size=len(good))
    return places.flatmap(
        lambda chosen: st.tuples(
            *(ANYTHING if k in chosen else st.just(value) for k, value in enumerate(good))
        )
    )


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(arguments=one_replaced((*(part.numpy() for part in CROWD[:3]), VERTICES, FACES)))
def test_suppression_of_malformed_arrays(arguments: tuple[Any, ...]) -> None:
    try:
        work = _native.Suppression(*arguments, 0.3, 2)
        while work.advance(0.1) < len(arguments[0]):
            pass
        work.read(np.zeros(len(arguments[0]), np.uint8))
    except (TypeError, ValueError):
        pass


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(
    arguments=one_replaced(
        (*(part.numpy() for part in CROWD[:2]), VERTICES, FACES, np.zeros((4, 4, 4), np.int32))
    ),
    first=st.integers(-2, 6),
    last=st.integers(-2, 6),
)
def test_rendering_of_malformed_arrays(arguments: tuple[Any, ...], first: int, last: int) -> None:
    with contextlib.suppress(TypeError, ValueError):
        _native.render_labels(*arguments, first, last, 2)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(
    arguments=one_replaced(
        (
            *(part.numpy() for part in CROWD[:2]),
            VERTICES,
            FACES,
            np.array([[0, 1], [5, 2]]),
            np.zeros(2, np.int64),
            np.zeros(2),
        )
    )
)
def test_overlaps_of_malformed_arrays(arguments: tuple[Any, ...]) -> None:
    with contextlib.suppress(TypeError, ValueError):
        _native.overlaps(*arguments, 2)


@pytest.mark.parametrize("threads", [0, -1, 10**6])
@pytest.mark.parametrize("thresh", [-0.1, 1.1, float("nan"), 0.5])
def test_numbers_out_of_range(thresh: float, threads: int) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        _native.Suppression(*(part.numpy() for part in CROWD[:3]), VERTICES, FACES, thresh, threads)


def test_faces_that_do_not_close() -> None:
    for faces, message in [
        (FACES[1:], "closed surface"),
        (np.where(FACES == 0, 8, FACES), "indices 0..7, got 8"),
        (np.where(FACES == 0, -1, FACES), "indices 0..7, got -1"),
        (np.concatenate([FACES, FACES]), "closed surface"),
        (np.concatenate([FACES[:1, ::-1], FACES[1:]]), "turning the same way"),
        (FACES[:0], "cover every direction"),
    ]:
        with pytest.raises(ValueError, match=message):
            _native.Suppression(
                *(part.numpy() for part in CROWD[:3]), VERTICES, np.ascontiguousarray(faces), 0.3, 1
            )


def test_messages_say_what_was_wanted_and_got() -> None:
    points, distances, scores, rays = CROWD
    with pytest.raises(ValueError, match=r"points must be \[N, 3\] \(z, y, x\), got \[6, 2\]"):
        _unchecked(ops.nms, points[:, :2], distances, scores, rays, 0.3)
    with pytest.raises(ValueError, match=r"distances must be \[6, 8\].*got \[6, 7\]"):
        _unchecked(ops.nms, points, distances[:, 1:], scores, rays, 0.3)
    with pytest.raises(ValueError, match=r"scores must be \[6\], one per point, got \[5\]"):
        _unchecked(ops.nms, points, distances, scores[1:], rays, 0.3)
    with pytest.raises(TypeError, match=r"distances must be float32, got torch\.float64"):
        _unchecked(ops.nms, points, distances.double(), scores, rays, 0.3)
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at \[2\]"):
        ops.nms(points, distances, torch.where(torch.arange(6) == 2, torch.nan, scores), rays, 0.3)
    with pytest.raises(ValueError, match="points must be finite and below 2\\^23 voxels, got inf"):
        ops.nms(points + torch.inf, distances, scores, rays, 0.3)
    with pytest.raises(ValueError, match=r"nms_thresh must lie in \[0, 1\], got 1.5"):
        ops.nms(points, distances, scores, rays, 1.5)
    with pytest.raises(ValueError, match=r"candidate 3 spans .* distances are measured in voxels"):
        ops.nms(points, distances * torch.where(torch.arange(6) == 3, 1e4, 1.0)[:, None], scores, rays, 0.3)
    with pytest.raises(
        ValueError, match=r"shape must be three sizes \(D, H, W\) of at least 0, got \(4, -1, 4\)"
    ):
        ops.render_labels(points, distances, rays, (4, -1, 4))


def _unchecked(function: Any, *arguments: Any) -> Any:
    """Calls past the shape checks that the tests put over the package: users do not have them."""
    return getattr(function, "__wrapped__", function)(*arguments)
