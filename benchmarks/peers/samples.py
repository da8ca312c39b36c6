"""Samples with targets of one tree of this repository; only what every commit has.

Settings: ``tree`` (folder), ``synth``, ``threads``, ``batch``, ``rays``, ``grid``. A request is the first id of a
batch. The answer has seconds per sample (wall, CPU), the peak memory of the process in GiB and a hash of the labels.
"""

import contextlib
import hashlib
import sys
import time
from importlib import import_module
from pathlib import Path

import torch
from serve import case, serve

import anystar_torch
from anystar_torch import Rays, load_synthesizer, targets

settings = case()
if not anystar_torch.__file__.startswith(settings["tree"]):
    raise SystemExit(f"anystar_torch of {settings['tree']} was expected, not {anystar_torch.__file__}")
torch.set_num_threads(settings["threads"])
for name in ("anystar_torch.system.allocator", "anystar_torch.heap"):  # heap: in commits before 2026-11-28
    with contextlib.suppress(ImportError):
        import_module(name).keep_freed_memory()  # as train.py does
        break
synthesizer, rays = load_synthesizer(settings["synth"]), Rays.golden_spiral(settings["rays"])
grid, batch = (settings["grid"],) * 3, settings["batch"]


def answer(first):
    """The figures of the batch that begins with the id ``first``."""
    ids = torch.arange(batch) + first
    time.sleep(0.05)  # threads of the other process have gone to sleep by then
    wall, cpu = time.perf_counter(), time.process_time()
    sample = synthesizer(ids)
    targets.object_probability(sample.labels, grid)
    targets.star_distances(sample.labels, rays, grid)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text() if sys.platform == "linux" else "VmHWM: 0"
    peak = int(status.split("VmHWM:")[1].split()[0])
    digest = hashlib.sha256(sample.labels.numpy().tobytes()).hexdigest()
    return {"wall": wall / batch, "cpu": cpu / batch, "peak": peak / 2**20, "labels": digest}


serve(answer)
