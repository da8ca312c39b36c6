"""Results are there whole or not at all: killed in the middle, or with no room on the disk, with the real writers."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from anystar_torch import io
from tests.inference.scenes import balls, lattice

pytest.importorskip("zarr")
pytest.importorskip("h5py")
SHAPE = (40, 44, 52)
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1", "ANYSTAR_UNCHECKED": "1"}
ENDINGS = [".tif", ".ome.tif", ".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz", ".zarr", ".h5"]

WRITES = """
import sys, numpy as np
from anystar_torch import io
scan = io.SpatialImage(np.zeros((20, 100, 100), np.uint8), (1.0, 1.0, 1.0), "um")
noise = np.random.default_rng(0).integers(1, 60000, (20, 100, 100)).astype(np.int32)
io.write("warm.tif", noise, scan)
print("ready", flush=True)
while True:
    for ending in sys.argv[1:]:
        io.write(f"out{ending}", noise, scan, io.RunRecord(objects=1))
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
@pytest.mark.parametrize("moment", [0.05, 0.3, 0.55, 0.8])
def test_killed_at_any_moment_there_is_no_partial_output(tmp_path, moment):
    """A child writes every format over and over and is killed in between: what is there can be read, and is right."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES, *ENDINGS],
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(moment)
    child.kill()
    child.communicate()
    expected = np.random.default_rng(0).integers(1, 60000, (20, 100, 100))
    results = [p for p in io.volumes(tmp_path) if p.name != "warm.tif"]
    for path in results:
        assert np.array_equal(io.read_labels(path).array, expected), path
    seen = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert seen - {p.name for p in results} <= {"warm.tif", "out.npy.json", "out.npz.json"}


PREDICTS = """
import contextlib, io, json, resource, signal, sys
from pathlib import Path
from anystar_torch.cli import main
from anystar_torch.network import loading
from tests.inference.scenes import Sees, config
loading.load_model = lambda path: (Sees().eval(), config())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.dont_write_bytecode = True  # Python would store cut bytecode of modules that it loads from here on
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
found = {}
for case in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["predict", "in.npy", *case, "--diameter", "13", "--device", "cpu"])
        except SystemExit as ended:
            status = ended.code
    left = [p.name for p in Path().iterdir() if p.name != "in.npy"]
    found[" ".join(case)] = [status, err.getvalue(), left]
print(json.dumps(found))
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_where_no_more_can_be_written_there_is_one_line_and_no_debris(tmp_path):
    """Files may grow to a few hundred bytes only, as on a disk that is full: the real writers fail half-way."""
    image, _ = balls(SHAPE, lattice(SHAPE, 16))
    np.save(tmp_path / "in.npy", image)
    cases = [["-o", f"out{ending}"] for ending in ENDINGS]
    extra = [("--candidates", "c.npz"), ("--table", "p.csv"), ("--picture", "p.png"), ("--meshes", "m.ply")]
    cases += [["-o", "out.tif", *flags] for flags in [*extra, ("--meshes", "m")]]
    done = subprocess.run(
        [sys.executable, "-c", PREDICTS, json.dumps(cases)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(cases)
    for case, (status, line, left) in found.items():
        assert status == 2, (case, line)
        assert line.startswith("anystar: cannot write "), case
        assert len(line.splitlines()) == 1, (case, line)
        assert left == [], case
