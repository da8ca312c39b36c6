"""Ids of the objects of many blocks."""

import numpy as np

from anystar_torch.distributed.numbering import number_objects
from tests.distributed.cases import model
from tests.distributed.open_files import MORE, few_open_files
from tests.distributed.test_options import job_of

BLOCKS = 3 * MORE


def test_many_blocks_are_numbered_with_few_open_files(tmp_path):
    job = job_of(tmp_path, model(coarse_pass=False), np.zeros((8, 8, 8), np.float32))
    random = np.random.default_rng(0)
    scores = np.sort(random.random((BLOCKS, 4), np.float32))[:, ::-1]
    places = random.random((BLOCKS, 4, 3), np.float32)
    blocks, visible = {}, {}
    for number in range(BLOCKS):
        name = f"0-0-{number}"
        arrays = {"scores": scores[number], "places": places[number]}
        blocks[name] = job.work.write("objects", name, arrays, {"count": 4})
        seen = {"block": np.zeros(4, np.int64), "row": np.arange(4)}
        visible[name] = job.work.write("visible", name, seen, {"blocks": [name]})
    with few_open_files():
        items = number_objects(job, blocks, visible, at_once=50)
    ids = np.array([job.work.read(items[name])["ids"] for name in blocks])
    assert np.array_equal(np.argsort(-scores, axis=None), np.argsort(ids, axis=None))
    assert np.array_equal(np.sort(ids, axis=None), np.arange(1, ids.size + 1))
