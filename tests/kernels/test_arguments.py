"""Results depend neither on the memory layout of the arguments nor on torch's default number type.

Every operator is called with the arguments of its first call while a batch and the effects are made.
"""

import functools
import importlib
import pkgutil

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import anystar_torch.kernels.triton
from anystar_torch import load_synthesizer
from anystar_torch.kernels import hashing
from anystar_torch.kernels.distance_transform import distance_transform
from anystar_torch.kernels.implementations import forced
from anystar_torch.kernels.label_table import remove_small
from anystar_torch.training.data import SynthesisData
from tests.generator.effects.cases import CASES, Draws, image_of

BATCH = 3  # no other axis that comes first has this size, or twice this size
OPERATORS = """add_wave aim_at_balls bias_field camera connected_components contrast cut_holes cut_spectrum
detector_noise distance_transform draw_table emitting evaluate_coordinates gaussian_filter
gradient_noise hashed_normal hashed_uniform hashed_uniform_at hashed_words histogram_shift
intensities object_probability remove_small resampled_sum rician_noise sample_lattice sample_roots
smooth smooth_noise star_distances star_reach strongest_field thick_slices to_unit""".split()  # noqa: SIM905
# Those of which the interpreter computes many small blocks in seconds.
QUICK = [
    "bias_field",
    "detector_noise",
    "distance_transform",
    "hashed_normal",
    "hashed_words",
    "intensities",
    "remove_small",
]
HASHED = [name for name in OPERATORS if name.startswith(("hashed", "draw", "sample_roots"))]  # no C++ kernel
RUNS = [("native", name) for name in OPERATORS if name not in HASHED] + [
    pytest.param("triton", name, marks=pytest.mark.interpreter) for name in OPERATORS
]
runs = pytest.mark.parametrize(("implementation", "name"), RUNS)


class Recording(TorchDispatchMode):
    """Keeps the arguments of the first call of every operator of this package."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.namespace == "anystar" and not any(
            isinstance(x, Tensor) and x.is_meta
            for x in tree_leaves(args)  # a generator first runs on meta
        ):
            copies = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, args)
            self.calls.setdefault(operator.__name__.partition(".")[0], (operator, copies))
        return operator(*args, **(kwargs or {}))


@functools.cache
def recorded():
    """Name -> operator and arguments. C++ is the fastest to make a batch; random numbers have no kernel there."""
    synthesizers = [load_synthesizer(name, shape=(8, 9, 10), seed=5) for name in ("mix", "zero_shot")]
    with forced("native"), Recording() as recording:
        for case in CASES.values():
            case(image_of((4, 5, 6)), Draws(1))
        for synthesizer in synthesizers:
            data = SynthesisData(
                synthesizer=synthesizer,
                rays=8,
                anisotropy=(1.0, 1.0, 1.0),
                grid=(1, 2, 2),
                batch_size=BATCH,
                validation_samples=1,
                normalisation="anystar",
            )
            made = data.make(torch.arange(BATCH), synthesizer)
        remove_small(made.labels, 9)
        distance_transform(made.labels, (1.0, 2.0, 0.5))
    return recording.calls


@functools.cache
def recorded_numbers():
    """The same for random numbers."""
    root = torch.arange(BATCH) + 5
    with forced("triton"), Recording() as recording:
        hashing.roots(root, 7)
        hashing.words(root, 7, (5,))
        hashing.uniform(root, 7, (5,), -1.0, 2.0)
        hashing.normal(root, 7, (5,))
        hashing.uniform_at(root, 7, torch.arange(30, dtype=torch.int32).view(BATCH, 1, 10), -1.0, 2.0)
        load_synthesizer("mix", shape=(8, 9, 10)).slots.draw(root)
    return recording.calls


def changed(implementation, name, change):
    """The operator, its arguments with changed tensors, and the results of the unchanged ones."""
    operator, arguments = (recorded_numbers() if name in HASHED else recorded())[name]
    with forced(implementation):
        expected = tree_leaves(operator(*arguments))
    return operator, tree_map(lambda x: change(x) if isinstance(x, Tensor) else x, arguments), expected


def every_other(tensor):
    """The same numbers with gaps between them."""
    return torch.stack([tensor, torch.ones_like(tensor)], dim=-1)[..., 0]


def transposed(tensor):
    """The same numbers with the last axis outermost in memory."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


@pytest.mark.parametrize("layout", [every_other, transposed])
@runs
def test_any_memory_layout(implementation, name, layout):
    operator, arguments, expected = changed(implementation, name, layout)
    with forced(implementation):
        found = tree_leaves(operator(*arguments))
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
    assert all(map(torch.equal, found, expected))


@runs
def test_any_default_number_type(implementation, name):
    operator, arguments, expected = changed(implementation, name, lambda tensor: tensor)
    torch.set_default_dtype(torch.float64)
    try:
        with forced(implementation):
            found = tree_leaves(operator(*arguments))
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@runs
def test_empty_batches(implementation, name):
    batches = (BATCH, 2 * BATCH)  # the second: two channels of a sample
    operator, arguments, expected = changed(implementation, name, lambda x: x[:0] if len(x) in batches else x)
    with forced(implementation):
        found = tree_leaves(operator(*arguments))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (0, *other.shape[1:])


@pytest.mark.interpreter
@pytest.mark.parametrize("name", OPERATORS)
def test_launches_do_not_fuse_and_have_samples_on_the_first_axis_of_the_grid(name, monkeypatch):
    """Nothing is computed here.

    A fused multiplication and addition rounds once, and Triton's versions differ in the default: bits would follow the
    version. CUDA has at most 65535 programs along the other axes, and a call may have more samples.
    """
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    fused, grids = [], []

    def launched(self, *arguments, **options):
        fused.append(options.get("enable_fp_fusion"))
        grids.append(self.grid)

    operator, all_of_them, _ = changed("triton", name, lambda tensor: tensor)
    _, one, _ = changed("triton", name, lambda x: x[: len(x) // BATCH] if len(x) in (BATCH, 2 * BATCH) else x)
    monkeypatch.setattr(interpreter.GridExecutor, "__call__", launched)
    with forced("triton"):
        operator(*all_of_them)
        operator(*one)
    assert fused
    assert all(value is False for value in fused)
    half = len(grids) // 2
    assert [grid[1:] for grid in grids[:half]] == [grid[1:] for grid in grids[half:]]


@pytest.mark.interpreter
@pytest.mark.parametrize("name", QUICK)
def test_results_do_not_depend_on_the_size_of_blocks(name, monkeypatch):
    """A GPU has smaller blocks than the interpreter: many of each sample, here on both axes of blocks."""
    operator, arguments, expected = changed("triton", name, lambda tensor: tensor)
    small = {"BLOCK": 16, "NUMBERED": 32}
    for module in pkgutil.iter_modules(anystar_torch.kernels.triton.__path__):
        kernels = importlib.import_module(f"anystar_torch.kernels.triton.{module.name}")
        for constant in small.keys() & vars(kernels).keys():
            monkeypatch.setattr(kernels, constant, small[constant])
    on_gpu = importlib.import_module("anystar_torch.kernels.triton.distance_transform")
    monkeypatch.setitem(on_gpu._CONSTANTS, "BLOCK", small["BLOCK"])
    monkeypatch.setattr("anystar_torch.kernels.triton.launch.MOST_PROGRAMS", 7)
    with forced("triton"):
        found = tree_leaves(operator(*arguments))
    assert all(map(torch.equal, found, expected))


def test_elements_that_32_bits_do_not_number_are_refused():
    launch = pytest.importorskip("anystar_torch.kernels.triton.launch")
    with pytest.raises(ValueError, match="at most 2147352576 elements"):
        launch.blocks(launch.MOST_ELEMENTS + 1, 512)


@pytest.mark.parametrize("size", [64, 512, 1024, 1 << 15])
def test_grids_have_no_more_programs_than_cuda_allows(size):
    launch = pytest.importorskip("anystar_torch.kernels.triton.launch")
    for count in (
        0,
        1,
        size,
        size + 1,
        65535 * size,
        65535 * size + 1,
        3 * 65535 * size + 7,
        launch.MOST_ELEMENTS,
    ):
        if count > launch.MOST_ELEMENTS:
            continue
        samples, across, layers = launch.programs(10**6, count, size)
        assert samples == 10**6
        assert max(across, layers) <= 65535
        assert 0 <= across * layers - launch.blocks(count, size) < layers
        assert across * layers * size < 2**31
