"""Native kernels of the generator answer any array with a result or an exception and never crash."""

import contextlib
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch import load_synthesizer
from anystar_torch.geometry import targets
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import _native

SYNTHESIZERS = ("mix", "zero_shot")
KERNELS = (
    *("add_wave", "aim_at_balls", "bias_field", "camera", "connected_components", "contrast", "cut_holes"),
    *(
        "cut_spectrum",
        "detector_noise",
        "emitting",
        "evaluate_coordinates",
        "gaussian_filter",
        "gradient_noise",
    ),
    *("intensities", "lattice_quantiles", "object_probability", "resampled_sum", "rician_noise"),
    *("sample_lattice", "smooth", "smooth_at", "star_distances", "star_reach", "strongest_field"),
    *("thick_slices", "to_unit"),
)


@functools.cache
def recorded() -> dict[str, tuple]:
    """The arguments of one call of every native kernel that a few small samples and their targets need."""
    calls: dict[str, tuple] = {}

    def recording(name, function):
        def call(*arguments):
            calls.setdefault(name, arguments)
            return function(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in dir(_native):
            function = getattr(_native, name)
            if callable(function) and not isinstance(function, type) and not name.startswith("_"):
                patch.setattr(_native, name, recording(name, function))
        for name in SYNTHESIZERS:
            sample = load_synthesizer(name, shape=(8, 9, 10), seed=1)(torch.arange(16))
            targets.object_probability(sample.labels)
            targets.star_distances(sample.labels, Rays.golden_spiral(8))
    return calls


DTYPES = [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_, np.float16, np.complex64]
SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 7, 8, 9, 10, 16]), max_size=6).map(tuple)


def shape_like(shape):
    """The right shape with one wrong size or one axis too many, or any other shape."""
    changed = st.integers(0, max(len(shape) - 1, 0)).flatmap(
        lambda axis: st.sampled_from([0, 1, 2, 3, 5, 64]).map(
            lambda size: (*shape[:axis], size, *shape[axis + 1 :])[: len(shape) or 1]
        )
    )
    return changed | st.just(shape[1:]) | st.just((*shape, 1)) | SIZES


@st.composite
def malformed(draw, arguments):
    """The arguments with another array, or none, in one place."""
    places = [i for i, value in enumerate(arguments) if isinstance(value, np.ndarray)]
    place = draw(st.sampled_from(places))
    good = arguments[place]
    dtype = draw(st.just(good.dtype) | st.sampled_from(DTYPES))
    other = draw(
        st.just(None) | shape_like(good.shape).map(lambda shape: np.zeros(shape, dtype)) | st.just(good.T)
    )
    copies = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
    copies[place] = other
    return copies


@pytest.mark.long
def test_the_samples_need_these_kernels_of_scene_effects_and_targets():
    assert tuple(sorted(recorded())) == KERNELS


@pytest.mark.long
@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_array_crashes_a_kernel(name, data):
    arguments = data.draw(malformed(recorded()[name]))
    with contextlib.suppress(TypeError, ValueError):
        getattr(_native, name)(*arguments)
