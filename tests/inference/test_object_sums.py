"""Tables of objects, measured block by block and written row by row."""

import csv
import itertools

import numpy as np
import pytest
from scipy import ndimage

from anystar_torch import io
from anystar_torch.inference.object_sums import ObjectSums, block_sums
from anystar_torch.inference.object_table import COLUMNS, object_rows

SHAPE = (9, 11, 13)
LABELS = np.random.default_rng(0).integers(0, 40, SHAPE).astype(np.int32)
LABELS[LABELS == 17] = 0  # an object that others cover
LABELS[3:5, 4:6, 5:7] = 40
COUNT = 41  # the last one has no voxels either
IMAGE = np.random.default_rng(1).integers(0, 900, SHAPE).astype(np.uint16)


def _sums(labels, image, block):
    total = ObjectSums.empty(COUNT)
    corners = list(itertools.product(*(range(0, n, size) for n, size in zip(SHAPE, block, strict=True))))
    for begin in reversed(corners):
        box = tuple(slice(at, at + size) for at, size in zip(begin, block, strict=True))
        total.add(block_sums(labels[box], image[box], begin, SHAPE))
    return total


@pytest.mark.parametrize("block", [(9, 11, 13), (4, 5, 6), (1, 11, 2)])
def test_sums_of_blocks_are_those_of_the_volume(block):
    found, ids = _sums(LABELS, IMAGE, block), np.arange(1, COUNT + 1)
    assert np.array_equal(found.volume, ndimage.sum_labels(np.ones(SHAPE), LABELS, ids))
    assert np.array_equal(found.intensity, ndimage.sum_labels(IMAGE, LABELS, ids))
    inside = np.zeros(SHAPE, bool)
    inside[1:-1, 1:-1, 1:-1] = True
    assert np.array_equal(found.touches_border, ndimage.sum_labels(~inside, LABELS, ids) > 0)
    assert found.volume[16] == found.measured[16] == found.volume[40] == 0


def test_voxels_without_a_number_are_not_measured():
    image = IMAGE.astype(np.float32)
    image[LABELS == 3] = np.nan
    image[4, 4, 5:7] = np.inf
    found = _sums(LABELS, image, (4, 5, 6))
    assert found.measured[2] == 0
    assert found.measured[39] == found.volume[39] - 2


@pytest.mark.long
def test_a_table_is_written_row_by_row(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    many = 70_000
    sums = ObjectSums.empty(many)
    sums.volume[:] = sums.measured[:] = np.arange(many) % 7
    points = np.random.default_rng(2).random((many, 3)).astype(np.float32)
    scores = points[:, 0]
    written = tmp_path / "objects.parquet"
    io.write_table(written, object_rows(sums, points, scores, (2.0, 1.0, 1.0)), COLUMNS)
    file = parquet.ParquetFile(written)
    assert file.schema_arrow.names == list(COLUMNS)
    assert max(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)) <= 65536
    table = file.read()
    assert np.array_equal(table["id"].to_numpy(), np.arange(1, many + 1))
    assert np.array_equal(table["volume"].to_numpy(), np.arange(many) % 7)
    np.testing.assert_allclose(table["y_um"].to_numpy(), points[:, 1], atol=1e-4)
    assert table["mean_intensity"].null_count == (np.arange(many) % 7 == 0).sum()
    few = ObjectSums.empty(3)
    for name in ("objects.csv", "objects.PARQUET"):
        io.write_table(tmp_path / name, object_rows(few, points, scores), COLUMNS)
    with open(tmp_path / "objects.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["z_um"] == ""
    assert [row["z"] for row in rows] == [
        str(z) for z in parquet.read_table(tmp_path / "objects.PARQUET")["z"].to_pylist()
    ]
    with pytest.raises(ValueError, match="exists; overwrite it"):
        io.write_table(written, [], COLUMNS, overwrite=False)


def test_a_table_that_fails_midway_is_not_there(tmp_path):
    pytest.importorskip("pyarrow")

    def rows():
        yield {"id": 1}
        raise RuntimeError("lost")

    for name in ("a.csv", "a.parquet"):
        with pytest.raises(RuntimeError, match="lost"):
            io.write_table(tmp_path / name, rows(), COLUMNS)
    assert not list(tmp_path.iterdir())
