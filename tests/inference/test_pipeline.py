"""The order of launches, what is computed again and what is cut smaller: no GPU needed."""

import threading

import numpy as np
import pytest
import torch

from anystar_torch.inference.pipeline import Events, Pipeline
from anystar_torch.inference.plan import Plan, TileOptions, smaller_plan
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.size_search import MIN_DIAMETER
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import cut_tile, cut_volume
from anystar_torch.inference.transfer import Direct
from anystar_torch.inference.warnings import MemoryWarning, NonFiniteWarning, PrecisionWarning
from anystar_torch.system.device import without_overflow
from anystar_torch.system.wording import number_of
from tests.inference.scenes import Sees, balls, config, lattice
from tests.inference.test_network_memory import small

CPU = torch.device("cpu")
SHAPE = (40, 44, 52)
OPTIONS = {"diameter": 13, "device": "cpu", "progress": False}


def pieces(count):
    return cut_volume((8, 8, 8 * count), (8, 8, 8), (8, 8, 8), (0, 0, 0))


def silent(done, total):
    assert done <= total


def pipeline(start, overlapped, events=None):
    return Pipeline(start, pytest.fail, CPU, overlapped, events or Events())


def flat(batches):
    return [result for results, _ in batches for result in results]


def test_a_tile_is_launched_before_the_one_before_is_collected():
    """Collecting a tile takes until the next one is launched: it would wait for ever if the launch waited for it."""
    launched = [threading.Event() for _ in range(5)]
    order = []

    def start(batch, kind):
        number = batch[0].start[2] // 8
        order.append(("launch", number))
        launched[number].set()

        def finish():
            last = number == len(launched) - 1
            assert last or launched[number + 1].wait(30)
            order.append(("collect", number))
            return [number], True

        return finish

    assert flat(pipeline(start, True).run(Plan(pieces(5), 1), torch.float16, silent)) == list(range(5))
    for number in range(3):  # no more than two tiles are on the device
        assert order.index(("collect", number)) < order.index(("launch", number + 2))


def test_on_the_processor_a_tile_is_collected_before_the_next_one():
    order = []

    def start(batch, kind):
        order.append("launch")
        return lambda: (order.append("collect") or [len(order)], True)

    assert len(flat(pipeline(start, False).run(Plan(pieces(6), 2), torch.float32, silent))) == 3
    assert order == ["launch", "collect"] * 3


@pytest.mark.parametrize("overlapped", [False, True])
def test_what_is_not_finite_is_computed_again_in_float32(overlapped):
    events, kinds = Events(), []

    def start(batch, kind):
        kinds.append(kind)
        number = batch[0].start[2] // 8
        return lambda: ([number], number not in (1, 3) or (kind == torch.float32 and number == 1))

    found = list(pipeline(start, overlapped, events).run(Plan(pieces(5), 1), torch.float16, silent))
    assert sorted(flat(found)) == list(range(5))
    for results, later in found:  # what is computed again comes later
        assert {tile.start[2] // 8 for tile in later}.isdisjoint(results)
    seen = [len(flat(found[: n + 1])) + len(later) for n, (_, later) in enumerate(found)]
    assert seen == [5] * len(found)
    assert kinds.count(torch.float32) == 2
    assert (events.recomputed, events.non_finite) == (2, 1)
    recomputed, non_finite = events.warnings(torch.float16)
    assert isinstance(recomputed, PrecisionWarning)
    assert "not finite in float16: 2 tiles computed in float32" in str(recomputed)
    assert isinstance(non_finite, NonFiniteWarning)


def test_errors_of_a_tile_arrive():
    def start(batch, kind):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        list(pipeline(start, True).run(Plan(pieces(2), 1), torch.float16, silent))

    def later(batch, kind):
        return lambda: pytest.fail("in the thread")

    with pytest.raises(pytest.fail.Exception, match="in the thread"):
        list(pipeline(later, True).run(Plan(pieces(2), 1), torch.float16, silent))


@pytest.mark.long
@pytest.mark.parametrize("halo", [(0, 0, 0), (3, 5, 8)])
def test_smaller_tiles_own_what_the_larger_one_did(halo):
    shape, divisor = (90, 64, 120), (4, 4, 4)
    plan = Plan(cut_volume(shape, divisor, (48, 64, 64), halo), 1)
    while np.prod(plan.size) > 40**3:
        plan = smaller_plan(plan, TileNetwork(Sees(), CPU), halo)
    owners = np.zeros((92, 64, 120), int)
    for tile in plan.tiles:
        assert np.subtract(tile.stop, tile.start).tolist() == list(plan.size)
        owners[tuple(slice(a, b) for a, b in zip(tile.low, tile.high, strict=True))] += 1
        for i in range(3):
            assert 0 <= tile.start[i] <= tile.low[i] < tile.high[i] <= tile.stop[i] <= owners.shape[i]
            assert tile.start[i] % divisor[i] == 0
            assert tile.start[i] == 0 or tile.low[i] - tile.start[i] >= halo[i]
            assert tile.stop[i] == owners.shape[i] or tile.stop[i] - tile.high[i] >= halo[i]
    assert (owners == 1).all()


def test_batches_are_halved_before_tiles_are():
    network = TileNetwork(Sees(grid=(2, 2, 2)), CPU)
    plan = smaller_plan(Plan(pieces(6), 5), network)
    assert (len(plan.tiles), plan.batch) == (6, 2)
    with pytest.raises(ValueError, match=r"memory is full with a tile of \(8, 8, 8\) voxels"):
        smaller_plan(Plan(pieces(6), 1), network, (0, 0, 0))
    assert cut_tile(pieces(1)[0], (4, 4, 4), (8, 8, 4), (0, 0, 0))[1].start == (0, 0, 4)


class Fills(Sees):
    """Runs out of memory where it is shown more than ``most`` voxels."""

    most = 30_000

    def forward(self, image):
        if image.numel() > self.most and image.device.type != "meta":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return super().forward(image)


@pytest.mark.parametrize("coarse_pass", [False, True])
def test_full_memory_is_answered_by_smaller_tiles_and_one_warning(coarse_pass):
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    image += np.random.default_rng(0).random(SHAPE, np.float32) / 8
    tile_options = TileOptions(halo=(4, 4, 4))
    settings = {"shape_averaging": False, "coarse_pass": coarse_pass, "tile_options": tile_options}
    options = {**OPTIONS, "prob_thresh": 0.4}
    whole = AnyStar(Sees(blur=3).eval(), config(), **settings).predict(image, **options)
    network = Fills(blur=3).eval()
    found = AnyStar(network, config(), **settings).predict(image, **options)
    assert len(found) == len(whole) > 20
    assert np.array_equal(found.labels, whole.labels)
    assert np.array_equal(found.points, whole.points)
    assert max(np.prod(seen) for seen in network.seen) <= network.most
    assert whole.warnings == ()
    (warning,) = found.warnings
    assert isinstance(warning, MemoryWarning)
    assert "went on with 1 tile of" in str(warning)


def test_memory_that_holds_no_tile_ends_in_one_line():
    network = Fills().eval()
    network.most = 0
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    model = AnyStar(network, config(), coarse_pass=False, tile_options=TileOptions(halo=(0, 0, 0)))
    with pytest.raises(ValueError, match="memory is full with a tile of"):
        model.predict(image, **OPTIONS)


@pytest.mark.long
def test_the_size_is_estimated_from_less_where_memory_is_full():
    image, _ = balls((48, 48, 48), lattice((48, 48, 48), 16))
    network = Fills().eval()
    model = AnyStar(network, config(), coarse_pass=False, tile_options=TileOptions(halo=(0, 0, 0)))
    found = model.predict(image, device="cpu", progress=False)
    assert found.diameter > MIN_DIAMETER
    assert max(np.prod(seen) for seen in network.seen) <= network.most


class Overflows(Sees):
    """Says what is no number where it computes in less than float32, or everywhere."""

    always = False

    def forward(self, image):
        probability, distances = super().forward(image)
        if self.always or torch.is_autocast_enabled("cpu"):
            probability = probability * torch.nan
        return type(super().forward(image))(probability, distances)


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("coarse_pass", [False, True])
def test_a_network_that_is_not_finite_is_never_silent(always, coarse_pass):
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    options = TileOptions(precision=torch.bfloat16)
    settings = {"shape_averaging": False, "coarse_pass": coarse_pass, "tile_options": options}
    network = Overflows().eval()
    network.always = always
    found = AnyStar(network, config(), **settings).predict(image, **OPTIONS)
    tiles_seen = 2 if coarse_pass else 1
    assert f"not finite in bfloat16: {number_of(tiles_seen, 'tile')} computed in float32" in str(
        found.warnings[0]
    )
    if always:
        assert len(found) == 0
        assert isinstance(found.warnings[1], NonFiniteWarning)
    else:
        whole = AnyStar(Sees().eval(), config(), **settings).predict(image, **OPTIONS)
        assert len(found.warnings) == 1
        assert np.array_equal(found.labels, whole.labels)


def test_a_distance_that_is_not_finite_is_noticed():
    class Far(Sees):
        def forward(self, image):
            found = super().forward(image)
            return type(found)(found.probability, found.distances / 0.0)

    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    model = AnyStar(Far().eval(), config(), coarse_pass=False, shape_averaging=False)
    warnings = model.candidates(image, **OPTIONS).warnings
    assert any(isinstance(warning, NonFiniteWarning) for warning in warnings)


def test_half_precision_is_for_normalised_networks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    normalised, plain = small(4, (2, 2, 2)), Sees()
    assert without_overflow(torch.float16, normalised) == torch.float16
    assert without_overflow(torch.float16, plain) == torch.bfloat16
    assert without_overflow(torch.float32, plain) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert without_overflow(torch.float16, plain) == torch.float32


class Counting(Direct):
    """Copies on the processor that are told apart as on a GPU: results come through a thread."""

    overlapped = True

    def __init__(self):
        super().__init__(CPU)
        self.threads, self.dtypes = set(), set()

    def upload_voxels(self, crop):
        self.dtypes.add(crop.dtype)
        return super().upload_voxels(crop)

    def download(self, tensors):
        self.threads.add(threading.current_thread().name)
        return super().download(tensors)


def test_an_injected_device_gives_the_same_objects():
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    volume = (image * 255).astype(np.uint8)
    model = AnyStar(Sees().eval(), config(), shape_averaging=False)
    plain = model.predict(volume, **OPTIONS)
    copies = Counting()
    model._tile_networks[CPU] = TileNetwork(model.network, CPU, chosen_transfer=copies)
    found = model.predict(volume, **OPTIONS)
    assert np.array_equal(found.labels, plain.labels)
    assert copies.dtypes == {np.dtype(np.uint8)}
    assert all(name.startswith("candidates") for name in copies.threads)
