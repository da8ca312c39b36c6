"""What a tile hands over: where its candidates stand in the volume."""

import numpy as np
import pytest
import torch

from anystar_torch.inference import selection
from anystar_torch.inference.selection import select, start_collecting
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Direct


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2), (1, 2, 4)])
@pytest.mark.parametrize("start", [(0, 0, 0), (8, 16, 8), (7, 11, 13)])
def test_candidates_stand_where_the_tile_saw_them(grid, start):
    """Wherever the tile begins: those of the size estimate begin anywhere."""
    rng, size, margin = np.random.default_rng(0), (16, 16, 24), 3
    stop = tuple(a + n for a, n in zip(start, size, strict=True))
    low, high = (tuple(a + sign * margin for a in end) for end, sign in ((start, 1), (stop, -1)))
    shape = (stop[0] + 9, stop[1] - 5, stop[2] + 9)  # along y the volume ends before the tile does
    seen = [n // g for n, g in zip(size, grid, strict=True)]
    probability = torch.from_numpy(rng.random((1, *seen), np.float32))
    distances = torch.from_numpy(rng.random((5, *seen), np.float32) + 1)
    one = select(probability, distances, Tile(start, stop, low, high), shape, grid, 0.5)
    [(points, found, scores)], finite = start_collecting([one], Direct(torch.device("cpu")))()
    assert finite
    expected = {}
    for index in np.ndindex(*seen):
        place = tuple(a + i * g for a, i, g in zip(start, index, grid, strict=True))
        inside = all(a <= p < min(b, n) for a, p, b, n in zip(low, place, high, shape, strict=True))
        if inside and probability[(0, *index)] > 0.5:
            expected[place] = index
    assert len(points) == len(expected) > 10
    for point, distance, score in zip(points, found, scores, strict=True):
        index = expected[tuple(point.astype(int).tolist())]
        assert score == probability[(0, *index)]
        assert distance == pytest.approx(distances[(slice(None), *index)].numpy(), rel=1e-3)


@pytest.mark.parametrize(("broken", "expected"), [((0, 0, 0), True), ((1, 2, 3), False)])
def test_only_probabilities_and_the_distances_of_candidates_must_be_finite(monkeypatch, broken, expected):
    """On CUDA the rows after the candidates are those of the first grid point, which is no candidate."""
    monkeypatch.setattr(selection, "_places", selection.padded_places)
    probability, distances = torch.zeros(1, 4, 4, 4), torch.ones(5, 4, 4, 4)
    probability[0, 1, 2, 3] = 0.9
    distances[(0, *broken)] = float("nan")
    tile = Tile((0, 0, 0), (4, 4, 4), (0, 0, 0), (4, 4, 4))
    found = select(probability, distances, tile, (4, 4, 4), (1, 1, 1), 0.5)
    assert bool(found.finite) is expected
    assert int(found.count) == 1


def test_every_candidate_has_a_volume_and_none_is_larger_than_the_volume():
    """StarDist raises distances to 1e-3; none can be longer than the diagonal of the volume."""
    given = torch.tensor([0.0, -3.0, 5e-4, 0.25, 13.5, 1e9, torch.inf, torch.nan])
    distances = given.view(8, 1, 1, 1).expand(8, 1, 1, 4)
    probability = torch.tensor([0.5, 0.6, 0.7, 0.5]).view(1, 1, 1, 4)
    tile = Tile((0, 0, 0), (1, 1, 4), (0, 0, 0), (1, 1, 4))
    found = select(probability, distances, tile, (12, 16, 21), (1, 1, 1), 0.5)
    assert found.points.tolist() == [[0, 0, 1], [0, 0, 2]], "a probability at the threshold is not above it"
    diagonal = (12**2 + 16**2 + 21**2) ** 0.5
    expected = [1e-3, 1e-3, 1e-3, 0.25, 13.5, diagonal, diagonal, 1e-3]
    assert found.distances[0].tolist() == pytest.approx(expected, rel=1e-3)
    assert not found.finite
