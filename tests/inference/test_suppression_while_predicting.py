"""Candidates of finished tiles are suppressed while others are predicted, with the survivors of one suppression."""

from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from anystar_torch.geometry.suppression_in_rounds import SuppressionInRounds
from anystar_torch.inference import early_suppression
from anystar_torch.inference.candidates import suppress
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.tile_network import TileNetwork
from tests.inference.scenes import Sees, balls, config, lattice
from tests.inference.test_pipeline import CPU, OPTIONS, SHAPE, Counting


class KeepsUp(ThreadPoolExecutor):
    """A thread that ends each piece of work before the next one comes, however busy the processor is."""

    def submit(self, *work):
        future = super().submit(*work)
        wait([future])
        return future


@pytest.mark.long
def test_candidates_are_suppressed_while_other_tiles_are_predicted(monkeypatch):
    monkeypatch.setattr(early_suppression, "ThreadPoolExecutor", KeepsUp)
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    options = TileOptions(size=(24, 24, 24), halo=(8, 8, 8))
    model = AnyStar(Sees().eval(), config(), shape_averaging=False, tile_options=options)
    plain = model.candidates(image, **OPTIONS)
    assert plain.survivors is None
    model._tile_networks[CPU] = TileNetwork(model.network, CPU, chosen_transfer=Counting())
    undecided = []
    settle = SuppressionInRounds.settle
    monkeypatch.setattr(SuppressionInRounds, "settle", lambda *a: undecided.append((settle(*a), len(a[0]))))
    early = model.candidates(image, nms_thresh=0.3, **OPTIONS)
    assert np.array_equal(early.survivors.kept, suppress(plain, 0.3))
    assert any(open_ < total for open_, total in undecided)
    assert np.array_equal(suppress(early, 0.3), suppress(plain, 0.3))
    assert np.array_equal(
        suppress(early, 0.6), suppress(plain, 0.6)
    )  # another threshold is another suppression
    high = float(np.median(early.scores))
    assert np.array_equal(suppress(early.above(high), 0.3), suppress(plain.above(high), 0.3))
