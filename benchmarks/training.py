"""The training step beside StarDist's in TensorFlow: time, memory, and how both grow with batch and volume.

    python benchmarks/training.py                                  our side, and StarDist's stored figures, marked so
    python benchmarks/training.py --peer-python PEER/bin/python    both sides, measured in turn
    python benchmarks/training.py --quick                          batch 2 of 64^3 only
    python benchmarks/training.py --plot training.png --json training.json

StarDist's networks need TensorFlow, which wants an environment of its own:

    python3.11 -m venv PEER && PEER/bin/pip install tensorflow-cpu stardist

A step is everything between two batches: forward, loss, backward, Adam, and on our side the average of the weights.
Every figure comes from a process of its own on the same number of threads, the two sides take turns, and both have the
same network (AnyStar's, or depth 3 with 16 filters on grid 2), batch and volume. Ours is given in the precision the
recipe takes on this CPU and in float32, StarDist's in its float32. Times are medians after one step of warming up;
memory is the process's peak, on our side with synthesis.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PEER = """
import json, os, resource, sys, tempfile, time
case = json.loads(sys.argv[1])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(case["threads"])
tf.config.threading.set_inter_op_parallelism_threads(case["threads"])
from stardist.models import Config3D, StarDist3D
small, batch, size = case["network"] == "small", case["batch"], case["size"]
grid = 2 if small else 1
config = Config3D(
    rays=96, grid=(grid,) * 3, unet_n_depth=3 if small else 5, unet_n_filter_base=16 if small else 32,
    unet_batch_norm=True, train_patch_size=(size,) * 3, train_batch_size=batch, train_learning_rate=2e-4,
    train_loss_weights=(1, 0.2))
model = StarDist3D(config, name="peer", basedir=tempfile.mkdtemp())
model.prepare_for_training()
rng, points = np.random.default_rng(0), size // grid
image = rng.random((batch, size, size, size, 1), np.float32)
probability = rng.random((batch, points, points, points, 1), np.float32)
distances = rng.random((batch, points, points, points, 97), np.float32)
walls, cpus = [], []
for _ in range(1 + case["repeats"]):
    wall, cpu = time.perf_counter(), time.process_time()
    model.keras_model.train_on_batch(image, [probability, distances])
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
print("RESULT", json.dumps({
    "walls": walls[1:], "cpus": cpus[1:], "weights": model.keras_model.count_params(),
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "software": "tensorflow " + tf.__version__}))
"""

#: (network, batch, size) -> seconds, gigabytes: StarDist 0.9.2 on TensorFlow 2.21, two threads of another machine.
STORED = {
    ("anystar", 1, 64): (13.5, 5.2),
    ("anystar", 2, 64): (23.8, 6.8),
    ("small", 1, 64): (1.82, 2.0),
    ("small", 2, 64): (2.66, 2.1),
}
GROWTH = {
    "anystar": [(1, 64), (4, 64), (2, 32), (1, 96)],
    "small": [(1, 64), (4, 64), (8, 64), (1, 96), (1, 128)],
}
FASTER = {"anystar": 1.5, "small": 2.5}  # what is wanted of the step
SYNTHESIS = {"anystar": 20, "small": 40}  # and of synthesis and targets, % of the step with them


def ours(case: dict[str, Any]) -> dict[str, Any]:
    """Our side of a case: steps of the recipe's network, loss, optimiser and average on synthesised batches."""
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from anystar_torch.configuration.resolvers import register_resolvers
    from anystar_torch.system.allocator import keep_freed_memory

    register_resolvers()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(case["threads"])
    size = case["size"]
    overrides = [f"model={case['network']}", f"shape=[{size},{size},{size}]", f"batch_size={case['batch']}"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", [*overrides, "+experiment=mix", "run_folder=unused"])
    torch.manual_seed(0)
    training, data = instantiate(config.training), instantiate(config.data)
    optimizer = training.optimizer(training.network.parameters())
    average = AveragedModel(
        training.network, multi_avg_fn=get_ema_multi_avg_fn(config.callbacks.average.decay)
    )
    synthesis, walls, cpus = [], [], []
    for step in range(1 + case["repeats"]):
        began = time.perf_counter()
        batch = data.make(torch.arange(case["batch"]) + step * case["batch"], data.synthesizer)
        synthesis.append(time.perf_counter() - began)
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=case["precision"] == "bf16-mixed"):
            loss = training.training_losses(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(training.network)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "walls": walls[1:],
        "cpus": cpus[1:],
        "synthesis": synthesis[1:],
        "weights": sum(v.numel() for n, v in training.network.state_dict().items() if "num_batches" not in n),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "software": f"torch {torch.__version__}",
    }


def measured(case: dict[str, Any], peer_python: str | None) -> dict[str, Any] | None:
    """A case in a process of its own; None, and its last words, if that failed (out of memory, say)."""
    text = json.dumps(case)
    command = (
        [peer_python, "-c", PEER, text]
        if case["side"] == "stardist"
        else [sys.executable, __file__, "--case", text]
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(case["threads"])}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"failed ({done.returncode}): {case}\n{done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return {**case, **json.loads(done.stdout.partition("RESULT")[2])}


def cases(arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """(network, batch, size) of every row: the one that counts first, then batches and sizes around it."""
    chosen = []
    for network in arguments.networks:
        chosen += [(network, *row) for row in [(2, 64), *(() if arguments.quick else GROWTH[network])]]
    return chosen


def run(arguments: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """Every case on every side, the sides in turn."""
    sides = [("ours", p) for p in dict.fromkeys([precision, "32-true"])]
    if arguments.peer_python:
        sides.insert(0, ("stardist", "32-true"))
    results = []
    for network, batch, size in cases(arguments):
        for side, chosen in sides:
            case = {
                "side": side, "network": network, "batch": batch, "size": size, "precision": chosen,
                "threads": arguments.threads, "repeats": arguments.repeats,
            }  # fmt: skip
            print(f"measuring {side}, {network}, batch {batch}, {size}^3, {chosen}", file=sys.stderr)
            results.append(measured(case, arguments.peer_python))
        if not arguments.peer_python and (network, batch, size) in STORED:
            seconds, gigabytes = STORED[network, batch, size]
            results.append(
                {"side": "stardist (stored)", "network": network, "batch": batch, "size": size,
                 "precision": "32-true", "walls": [seconds], "cpus": [], "gigabytes": gigabytes}
            )  # fmt: skip
    return [result for result in results if result is not None]


def table(results: list[dict[str, Any]]) -> None:
    """A row per case and side; how many times faster than StarDist's, and the share of synthesis."""
    print(
        "\n| network | batch | size | side | precision | s per step (range) | CPU s | peak GB | x faster | synthesis |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    place = {(network, *row): n for n, (network, row) in enumerate(
        (network, row) for network, rows in GROWTH.items() for row in [(2, 64), *rows])}  # fmt: skip
    for r in sorted(results, key=lambda r: (place[r["network"], r["batch"], r["size"]], r["side"] == "ours")):
        wall = statistics.median(r["walls"])
        peers = [
            statistics.median(p["walls"]) for p in results
            if p["side"] != "ours" and all(p[k] == r[k] for k in ("network", "batch", "size"))
        ]  # fmt: skip
        ratio = f"{peers[0] / wall:.2f}" if peers and r["side"] == "ours" else ""
        cpu = f"{statistics.median(r['cpus']):.2f}" if r["cpus"] else ""
        spread = f"{wall:.2f} ({min(r['walls']):.2f} to {max(r['walls']):.2f})"
        print(f"| {r['network']} | {r['batch']} | {r['size']}^3 | {r['side']} | {r['precision']} | {spread} | {cpu} "
              f"| {r['gigabytes']:.2f} | {ratio} | {share(r)} |")  # fmt: skip


def share(result: dict[str, Any]) -> str:
    """Synthesis and targets, % of the step with them."""
    if "synthesis" not in result:
        return ""
    synthesis = statistics.mean(result["synthesis"])  # samples differ in what they draw
    return f"{100 * synthesis / (synthesis + statistics.median(result['walls'])):.0f} %"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds and gigabytes against batch and volume, a line per side and precision."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(r["network"] for r in results))
    figure = Figure((13, 3.6 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 4, squeeze=False)
    for row, network in zip(axes, networks, strict=True):
        for column, (panel, over) in enumerate(zip(row, ("batch", "batch", "size", "size"), strict=True)):
            memory = column % 2 == 1
            for line in dict.fromkeys((r["side"], r["precision"]) for r in results):
                chosen = sorted(
                    (r[over], r["gigabytes"] if memory else statistics.median(r["walls"]))
                    for r in results
                    if (r["network"], r["side"], r["precision"]) == (network, *line)
                    and (r["size"] == 64 if over == "batch" else r["batch"] == 1)
                )
                if chosen:
                    panel.plot(*zip(*chosen, strict=True), "o-", label=", ".join(line))
            panel.set_xlabel("batch of 64^3" if over == "batch" else "side of the volume, batch 1")
            panel.set_ylabel("peak GB" if memory else "s per step")
            panel.set_title(network)
            panel.set_ylim(bottom=0)
            if panel.lines:
                panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def verdict(results: list[dict[str, Any]], precision: str) -> None:
    """What is wanted of batch 2 at 64^3, and what was measured."""
    for network in dict.fromkeys(r["network"] for r in results):
        rows = [r for r in results if (r["network"], r["batch"], r["size"]) == (network, 2, 64)]
        mine = [r for r in rows if r["side"] == "ours" and r["precision"] == precision]
        peer = [r for r in rows if r["side"] != "ours"]
        if mine and peer:
            ratio = statistics.median(peer[0]["walls"]) / statistics.median(mine[0]["walls"])
            print(
                f"{network}: {ratio:.2f} x faster (wanted {FASTER[network]}), {mine[0]['gigabytes']:.1f} GB against "
                f"{peer[0]['gigabytes']:.1f} GB, synthesis {share(mine[0])} (wanted at most {SYNTHESIS[network]} %)"
            )


def header(arguments: argparse.Namespace) -> None:
    """Hardware, versions and commit, so that a figure can be judged."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")] \
        if Path("/proc/cpuinfo").exists() else []  # fmt: skip
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    print(
        f"{processor}, {os.cpu_count()} cores, {arguments.threads} threads, load {os.getloadavg()[0]:.1f} at the "
        f"start, Python {platform.python_version()}, torch {torch.__version__}, commit {commit.stdout.strip()}"
    )
    if not arguments.peer_python:
        print(
            "StarDist was not measured: its rows are figures stored from another machine (two threads of its own). "
            "To measure it here: python3.11 -m venv PEER && PEER/bin/pip install tensorflow-cpu stardist, "
            "then --peer-python PEER/bin/python"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter of an environment with TensorFlow and StarDist")
    parser.add_argument("--networks", nargs="+", default=["anystar", "small"], choices=["anystar", "small"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="batch 2 of 64^3 only")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print("RESULT", json.dumps(ours(json.loads(arguments.case))))
        return
    from anystar_torch.configuration.resolvers import cpu_precision

    precision = cpu_precision()
    header(arguments)
    results = run(arguments, precision)
    table(results)
    print()
    verdict(results, precision)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
