"""The sections of ``benchmarks.gpu`` except training: agreement, operators, throughput, prediction, profile."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from benchmarks.gpu.bench import Bench, Replayed

# Generator -> grid of the network that is trained on it: AnyStar's, and the shipped one.
RECIPES = {"mix": 1, "zero_shot": 2}
RAYS = 96

Make = Callable[[Tensor], tuple[Tensor, ...]]


def synthesizer(bench: Bench, name: str) -> Synthesizer:
    """The generator at the section's size."""
    return load_synthesizer(name, shape=(bench.size,) * 3)


def maker(synth: Synthesizer, device: torch.device, grid: int, targets: bool) -> Make:
    """Ids to image and labels, and to probability and distances."""
    rays, steps = Rays.golden_spiral(RAYS).to(device), (grid,) * 3

    @torch.no_grad()
    def make(ids: Tensor) -> tuple[Tensor, ...]:
        sample = synth(ids)
        image, labels = sample.image, sample.labels
        if not targets:
            return image, labels
        return image, labels, object_probability(labels, steps), star_distances(labels, rays, steps)

    return make


# ---- agreement ----------------------------------------------------------------------------------


def agreement(bench: Bench) -> None:
    """Differences of samples and targets between device and CPU, and between a replayed graph and plain calls."""
    for name, grid in RECIPES.items():
        synth, ids = synthesizer(bench, name), torch.arange(1 if bench.smoke else 4)
        with bench.row(f"{name}, {len(ids)} samples, device beside CPU") as figures:
            here = maker(synth, ids.device, grid, targets=True)(ids)
            began = time.perf_counter()
            there = maker(synth, bench.device, grid, targets=True)(ids.to(bench.device))
            bench.wait()
            figures["first call s"] = time.perf_counter() - began  # with the compilation of kernels
            figures |= compared(here, tuple(tensor.cpu() for tensor in there))
        if "error" in figures:
            continue
        with bench.row(f"{name}, targets of the same labels") as figures:
            labels, steps, rays = (
                here[1].to(bench.device),
                (grid,) * 3,
                Rays.golden_spiral(RAYS).to(bench.device),
            )
            probability = object_probability(labels, steps).cpu()
            distances = star_distances(labels, rays, steps).cpu()
            figures["probability, largest difference"] = float((probability - here[2]).abs().max())
            figures["distances, largest difference"] = float((distances - here[3]).abs().max())
            figures["distances, share that differs"] = float((distances != here[3]).float().mean())
        if bench.device.type == "cuda":
            with bench.row(f"{name}, replayed graph beside plain calls") as figures:
                make = maker(synth, bench.device, grid, targets=True)
                replayed = Replayed(make, len(ids))
                for first in (0, len(ids)):
                    replayed()
                    plain = make(ids.to(bench.device) + first)
                    found = compared(tuple(t.cpu() for t in plain), tuple(t.cpu() for t in replayed.made))
                    figures |= {key: max(value, figures.get(key, 0.0)) for key, value in found.items()}


def compared(here: tuple[Tensor, ...], there: tuple[Tensor, ...]) -> dict[str, float]:
    """Differences of two batches of samples with targets."""
    image, labels, probability, distances = zip(here, there, strict=True)
    return {
        "image, largest difference": float((image[0] - image[1]).abs().max()),
        "image, mean difference": float((image[0] - image[1]).abs().mean()),
        "labels, share that differs": float((labels[0] != labels[1]).float().mean()),
        "foreground, share that differs": float(((labels[0] > 0) != (labels[1] > 0)).float().mean()),
        "probability, mean difference": float((probability[0] - probability[1]).abs().mean()),
        "distances, mean difference": float((distances[0] - distances[1]).abs().mean()),
    }


# ---- operators ----------------------------------------------------------------------------------


def operators(bench: Bench) -> None:
    """Time of single operators, and their speed in the bytes that benchmarks/counting.py counts.

    On a GPU each is replayed from a graph: the host starts small operators more slowly than the device computes them.
    """
    from anystar_torch.geometry.components import connected_components
    from benchmarks import device_cost
    from benchmarks.counting import Cost

    batch, size = (1, 32) if bench.smoke else (8, 64)
    with bench.row("copy of 1 GiB") as figures:
        block = torch.empty(2**16 if bench.smoke else 2**28, device=bench.device)
        taken = bench.timed(block.clone, seconds=0.3)
        figures |= {"ms": 1e3 * taken.median, "TB/s": 2 * block.nbytes / taken.median / 1e12}
        del block
    labels = synthesizer(bench, "mix")(torch.arange(batch, device=bench.device)).labels
    rays = Rays.golden_spiral(RAYS).to(bench.device)
    with Cost() as components:
        connected_components(device_cost.labels(batch, size))
    for grid in (1, 2):
        steps = (grid,) * 3
        cases: dict[str, tuple[Callable[[], Any], Cost]] = {
            f"star distances, grid {grid}": (
                lambda steps=steps: star_distances(labels, rays, steps),
                device_cost.distances(batch, size, grid),
            ),
            f"probability, grid {grid}": (
                lambda steps=steps: object_probability(labels, steps),
                device_cost.probability(batch, size, grid),
            ),
        }
        if grid == 1:
            cases["connected components"] = (lambda: connected_components(labels), components)
            cases["loss with gradient, bf16"] = (
                loss_step(batch, size, bench.device),
                device_cost.loss(batch, size),
            )
        for name, (function, cost) in cases.items():
            if bench.skip(name):
                continue
            with bench.row(f"{name}, batch {batch}") as figures:
                cuda = bench.device.type == "cuda"
                replayed = (
                    Replayed(lambda ids, made=function: made(), batch).graph.replay if cuda else function
                )
                taken = bench.timed(replayed, seconds=0.3)
                figures |= {"ms": 1e3 * taken.median, "least": 1e3 * taken.least, "most": 1e3 * taken.most}
                figures |= {
                    "TB/s of counted bytes": cost.bytes / taken.median / 1e12,
                    "launches": cost.launches,
                }


def loss_step(batch: int, size: int, device: torch.device) -> Callable[[], Any]:
    """The loss of AnyStar's network on random logits, with the gradients of the logits."""
    from anystar_torch.network.loss import StarDistLoss

    function = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
    shapes = [(batch, channels, size, size, size) for channels in (1, RAYS)]
    logits = [
        torch.randn(shape, device=device)
        .to(torch.bfloat16, memory_format=torch.channels_last_3d)
        .requires_grad_()
        for shape in shapes
    ]
    probability, distances = (torch.rand(shape, device=device) for shape in shapes)
    return lambda: torch.autograd.grad(function((logits[0], logits[1]), probability, distances).total, logits)


# ---- throughput ---------------------------------------------------------------------------------


def throughput(bench: Bench) -> None:
    """Samples per second by generator and batch, with and without targets and CUDA graph."""
    batches = (1,) if bench.smoke else (2, 8, 32)
    for name, grid in RECIPES.items():
        synth = synthesizer(bench, name)
        for batch in batches:
            for targets in (False, True):
                make = maker(synth, bench.device, grid, targets)
                for graph in (False, True) if bench.device.type == "cuda" else (False,):
                    what = f"{name}, batch {batch}{f', targets on grid {grid}' if targets else ''}"
                    what += ", graph" if graph else ""
                    if not bench.skip(what):
                        one_throughput(bench, what, make, batch, graph)


def one_throughput(bench: Bench, what: str, make: Make, batch: int, graph: bool) -> None:
    """One row: samples per second, milliseconds per batch, peak memory."""
    with bench.row(what) as figures:
        if graph:
            run: Callable[[], Any] = Replayed(make, batch)
        else:
            ids = torch.arange(batch, device=bench.device)

            def run() -> None:
                make(ids.add_(batch))

        taken = bench.timed(run, seconds=0.8)
        figures |= {"samples/s": batch / taken.median, "ms per batch": 1e3 * taken.median}
        figures |= {"least": 1e3 * taken.least, "most": 1e3 * taken.most, "repeats": taken.repeats}


# ---- prediction ---------------------------------------------------------------------------------


def prediction(bench: Bench) -> None:
    """Prediction of the shipped network on a volume of 256^3, made of samples of 64^3; two calls."""
    from anystar_torch import AnyStar

    side, step = (64, 32) if bench.smoke else (256, 64)
    count = side // step
    synth = load_synthesizer("zero_shot", shape=(step,) * 3)
    parts = [synth(ids.to(bench.device)).image for ids in torch.arange(count**3).split(16)]
    volume = torch.cat(parts).view(count, count, count, step, step, step).permute(0, 3, 1, 4, 2, 5)
    image = volume.reshape(side, side, side).cpu().numpy()
    model = AnyStar.from_pretrained()
    device = str(bench.device)
    for scales, multiscale in (("one pass", False), ("both passes", True)):
        name = f"{side}^3, {scales}"
        if bench.skip(name):
            continue
        with bench.row(name) as figures:
            model.coarse_pass = multiscale
            for call in ("first call s",) if bench.smoke else ("first call s", "seconds"):
                began = time.perf_counter()
                found = model.predict(image, diameter=13, device=device, progress=False)
                figures[call] = time.perf_counter() - began
            figures["objects"] = len(found)


# ---- profile ------------------------------------------------------------------------------------


def profile(bench: Bench) -> None:
    """The kernels that take most of the time of samples with targets."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    cuda = bench.device.type == "cuda"
    for name, grid in RECIPES.items():
        batch = 1 if bench.smoke else 8
        make = maker(synthesizer(bench, name), bench.device, grid, targets=True)
        ids = torch.arange(batch, device=bench.device)
        with bench.row(f"{name}, batch {batch}: all kernels") as figures:
            for _ in range(1 if bench.smoke else 3):
                make(ids)
            bench.wait()
            with profiler(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as trace:
                make(ids)
                bench.wait()
            field = "self_device_time_total" if cuda else "self_cpu_time_total"
            spent = [(float(getattr(event, field)), event) for event in trace.key_averages()]
            spent = sorted((pair for pair in spent if pair[0] > 0), key=lambda pair: pair[0], reverse=True)
            total = sum(microseconds for microseconds, _ in spent)
            figures |= {"ms": total / 1e3, "launches": sum(event.count for _, event in spent)}
        if "error" in figures:
            continue
        for microseconds, event in spent[: 2 if bench.smoke else 20]:
            with bench.row(f"{name}: {event.key[:90]}") as figures:
                figures |= {"ms": microseconds / 1e3, "launches": event.count, "share": microseconds / total}


SECTIONS = {
    "agreement": agreement,
    "operators": operators,
    "throughput": throughput,
    "prediction": prediction,
    "profile": profile,
}
