"""The cost of samples, targets, loss and network on a GPU, counted on ``meta`` tensors without a GPU.

    python -m benchmarks.device_cost [--synths mix zero_shot] [--batch 2] [--size 64] [--json cost.json]
    python -m benchmarks.device_cost --page docs/gpu.md        # also writes the overview into that page

Launches do not depend on the batch size; bytes are given per sample. The last tables are a model, not a measurement:
``launches x 5 us + bytes / bandwidth``, for the network ``+ operations / peak`` in bf16. The rules of counting are
in benchmarks/counting.py.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from benchmarks import configs
from benchmarks.counting import DRAWS, Cost
from benchmarks.report import begin, markdown, parser

LAUNCH = 5e-6  # seconds


class Gpu(NamedTuple):
    """Data-sheet figures: memory bandwidth in bytes/s, dense bf16 operations/s."""

    bandwidth: float
    operations: float


BEGIN, END = "<!-- cost: begin -->\n", "<!-- cost: end -->"
MODEL = (
    f"A model, not a measurement: launches x {LAUNCH * 1e6:.0f} us + bytes / bandwidth (networks: + operations / "
    "peak in bf16).\nIn brackets: without launches, a lower bound for a replayed CUDA graph."
)
GPUS = {
    "A100 80GB": Gpu(2.0e12, 312e12),
    "H100 SXM": Gpu(3.35e12, 989e12),
    "H200": Gpu(4.8e12, 989e12),
    "RTX 4090": Gpu(1.0e12, 165e12),
    "L4": Gpu(0.3e12, 121e12),
}
# Files of the generator -> what the table calls them; effects stand under their own names.
_MEMBERS = {
    "placement (coordinates)": "generator/spatial/{affine,coordinates,crop,elastic,orientation,placement,zoom}",
    "scene (label field)": "generator/scene/{shapes,surface,density,outline,displaced_background}",
    "mixture (intensities)": "generator/scene/{intensities,perlin,background}",
}
GROUPS = {
    DRAWS: "draws (scalars and noise fields)",
    "geometry/components": "connected components",
    "generator/synthesizer": "synthesizer (between the parts)",
}
for _group, _files in _MEMBERS.items():
    _folder, _, _names = _files.partition("{")
    GROUPS |= {_folder + name: _group for name in _names.removesuffix("}").split(",")}


@dataclass(frozen=True)
class Row:
    """One line of the overview.

    Attributes:
        name: what is counted.
        batch: samples in it.
        cost: its launches and bytes, of the whole batch.
        operations: floating-point operations of matrix products and convolutions, of the whole batch.
    """

    name: str
    batch: int
    cost: Cost
    operations: float = 0.0

    def seconds(self, gpu: Gpu) -> float:
        """The model's time of the batch."""
        return self.cost.launches * LAUNCH + self.traffic_seconds(gpu)

    def traffic_seconds(self, gpu: Gpu) -> float:
        """The model's time without launches, a lower bound for a replayed CUDA graph."""
        return self.cost.bytes / gpu.bandwidth + self.operations / gpu.operations


# ---- what is counted ----------------------------------------------------------------------------


def samples(name: str, batch: int, size: int = 64) -> Cost:
    """Cost of a batch of samples of generator ``name``, without targets."""
    synthesizer = load_synthesizer(name, shape=(size,) * 3)
    ids = torch.empty(batch, dtype=torch.int64, device="meta")
    synthesizer(ids)  # the table of draws is made once, so it is no cost of a batch
    with Cost() as cost:
        synthesizer(ids)
    return cost


def labels(batch: int, size: int = 64) -> Tensor:
    """A label field ``[B, 1, D, H, W]`` without data."""
    return torch.empty(batch, 1, size, size, size, dtype=torch.int32, device="meta")


def distances(batch: int, size: int = 64, grid: int = 1) -> Cost:
    """Cost of the star distances of 96 rays."""
    field, rays = labels(batch, size), Rays.golden_spiral(96).to("meta")
    with Cost() as cost, cost.part("star distances"):
        star_distances(field, rays, (grid,) * 3)
    return cost


def probability(batch: int, size: int = 64, grid: int = 1) -> Cost:
    """Cost of the object probability."""
    field = labels(batch, size)
    with Cost() as cost, cost.part("probability"):
        object_probability(field, (grid,) * 3)
    return cost


def loss(batch: int, size: int = 64, *, rays: int = 96, dtype: torch.dtype = torch.bfloat16) -> Cost:
    """Cost of the loss on logits of ``dtype`` with channels last, and of the gradients of these logits."""
    from anystar_torch.network.loss import StarDistLoss

    function = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
    shapes = [(batch, channels, size, size, size) for channels in (1, rays)]
    logits = [
        torch.empty(shape, dtype=dtype, device="meta", memory_format=torch.channels_last_3d).requires_grad_()
        for shape in shapes
    ]
    targets = [torch.empty(shape, device="meta") for shape in shapes]
    with Cost() as cost, cost.part("loss"):
        total = function((logits[0], logits[1]), targets[0], targets[1]).total
        torch.autograd.grad(total, logits)
    return cost


def network(name: str, batch: int, size: int = 64) -> tuple[Cost, float]:
    """Cost and operations of ``configs/model/NAME.yaml`` in bf16: logits, and gradients of all weights."""
    from torch.utils.flop_counter import FlopCounterMode

    model = configs.network(name).to("meta", torch.bfloat16).to(memory_format=torch.channels_last_3d)
    image = torch.empty(batch, 1, size, size, size, dtype=torch.bfloat16, device="meta")

    def step() -> None:
        # The layers one by one: autocast does not act on meta tensors, and logits() takes float32 images.
        features = model.features(model.backbone(image))
        logits = model.probability(features), model.distances(features)
        torch.autograd.grad(logits, list(model.parameters()), [torch.empty_like(part) for part in logits])

    with Cost() as cost, cost.part("network"):
        step()
    with FlopCounterMode(display=False) as operations:
        step()
    return cost, float(operations.get_total_flops())


# ---- what is printed ----------------------------------------------------------------------------


def overview(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Launches, bytes and operations of every row."""
    return [
        {
            "what": row.name,
            "launches": row.cost.launches,
            "MB per sample": f"{row.cost.bytes / row.batch / 1e6:,.1f}",
            "GFLOP per sample": round(row.operations / row.batch / 1e9) or "",
        }
        for row in rows
    ]


def parts(row: Row) -> list[dict[str, Any]]:
    """Launches and bytes of every part of a generator."""
    launches, moved = Counter[str](), Counter[str]()
    for part, count, size in row.cost.by_part():
        name = GROUPS.get(part, part.removeprefix("generator/effects/").replace("_", " "))
        launches[name] += count
        moved[name] += size
    return [
        {"part": part, "launches": launches[part], "MB per sample": f"{size / row.batch / 1e6:,.1f}"}
        for part, size in moved.most_common()
    ]


def largest(row: Row, count: int = 10) -> list[dict[str, Any]]:
    """The operators of a generator with the most launches, and with the most bytes."""
    cost = row.cost
    pairs = zip(cost.launched.most_common(count), cost.moved.most_common(count), strict=True)
    return [
        {
            "most launches": f"{often.part}: {often.operator}",
            "launches": launches,
            "most bytes": f"{heavy.part}: {heavy.operator}",
            "MB per sample": f"{size / row.batch / 1e6:,.1f}",
        }
        for (often, launches), (heavy, size) in pairs
    ]


def modelled(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Milliseconds per batch on every GPU, with launches and (in brackets) without."""
    return [
        {"MODEL, ms per batch": f"{row.name}, batch {row.batch}"}
        | {
            name: f"{1e3 * row.seconds(gpu):.1f} ({1e3 * row.traffic_seconds(gpu):.1f})"
            for name, gpu in GPUS.items()
        }
        for row in rows
    ]


def into_page(page: Path, heading: str, rows: list[Row]) -> None:
    """Put overview and model between the marks of a page."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    text = f"{heading}.\n\n{markdown(overview(rows))}\n\n{MODEL}\n\n{markdown(modelled(rows))}\n"
    page.write_text(f"{before}{BEGIN}{text}{END}{after}")


def counted(synths: list[str], batch: int, size: int) -> tuple[list[Row], list[Row]]:
    """The rows of the generators, and all other rows."""

    def row(name: str, count: Callable[..., Cost], **named: Any) -> Row:
        return Row(name, batch, count(batch, size, **named))

    rest = [
        row("star distances, 96 rays, grid 1", distances),
        row("star distances, 96 rays, grid 2", distances, grid=2),
        row("probability, grid 1", probability),
        row("loss with its gradient, 96 rays, grid 1, bf16", loss),
    ]
    for model in ("anystar", "light"):
        rest.append(Row(f"network {model}, forward and backward, bf16", batch, *network(model, batch, size)))
    return [Row(f"samples of {name}", batch, samples(name, batch, size)) for name in synths], rest


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--synths", nargs="+", default=["mix", "zero_shot"])
    options_of.add_argument("--batch", type=int, default=2)
    options_of.add_argument("--size", type=int, default=64, help="side of a volume, voxels")
    options_of.add_argument("--page", type=Path, help="a page with the marks of this tool")
    options = options_of.parse_args()
    report = begin(options)
    made, rest = counted(options.synths, options.batch, options.size)
    title = f"counted on meta tensors: volumes of {options.size}^3, batch {options.batch}; launches do not depend on it"
    report.table(title, overview([*made, *rest]))
    for row in made:
        report.table(f"parts of {row.name}", parts(row))
        report.table(f"operators of {row.name}", largest(row))
    report.table(MODEL, modelled([*made, *rest]))
    if options.page:
        header, torch_version = report.header, report.header.versions["torch"]
        heading = f"`{header.command}`, {header.date}, commit {header.commit}, torch {torch_version}; {title}"
        into_page(options.page, heading, [*made, *rest])


if __name__ == "__main__":
    main()
