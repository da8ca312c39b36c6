"""Networks of this package side by side: seconds of a forward pass and of a training step.

    python -m benchmarks.networks                       the light network beside the medium one
    python -m benchmarks.networks medium small light    any of configs/model; the first is what the others compare with
    python -m benchmarks.networks --size 64 --bf16      training steps in bfloat16 as well

The networks take turns, so that another load on the machine meets all of them. The forward pass is that of prediction,
on one tile. A training step has a stored batch of the generator ``zero_shot``: forward, loss, backward, clipping and
Adam, without synthesis, targets and the average of weights. Weights are random, which changes no time.
"""

from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate

from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network.stardist import StarDist
from benchmarks.configs import network, training_config
from benchmarks.report import begin, parser
from benchmarks.timing import Timing, in_turn

BATCH, SAMPLE = 2, 64
CPU = torch.device("cpu")


def forward(name: str, image: torch.Tensor) -> Callable[[], Any]:
    """One forward pass in float32 over ``image``, ``[1, 1, D, H, W]``."""
    tiles = TileNetwork(network(name).eval(), CPU)
    return lambda: tiles.forward(image, torch.float32)


def step(name: str, precision: torch.dtype) -> Callable[[], Any]:
    """One training step of the recipe ``zero_shot``."""
    config = training_config(["+experiment=zero_shot", f"model={name}", "run_folder=unused"])
    training, data = instantiate(config.training), instantiate(config.data)
    batch = data.make(torch.arange(BATCH), data.synthesizer)
    optimizer = training.optimizer(training.network.parameters())

    def run() -> None:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = training.training_losses(batch).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training.network.parameters(), config.trainer.gradient_clip_val)
        optimizer.step()

    return run


def rows(timings: dict[str, Timing], what: str) -> list[dict[str, Any]]:
    """A row per network, with how many times longer the first takes."""
    first = next(iter(timings.values())).median
    return [
        {
            "network": name,
            "weights": weights(network(name)),
            what: str(timing),
            "the first takes": f"{first / timing.median:.2f} x",
        }
        for name, timing in timings.items()
    ]


def weights(of: StarDist) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in of.parameters())


def main() -> None:
    options_of = parser(__doc__, repeats=7)
    options_of.add_argument("networks", nargs="*", help="of configs/model; default: medium light")
    options_of.add_argument("--size", type=int, default=128, help="edge of the tile, voxels")
    options_of.add_argument("--bf16", action="store_true", help="training steps in bfloat16 as well")
    options = options_of.parse_args()
    report = begin(options)
    names = options.networks or ["medium", "light"]
    image = torch.rand(1, 1, *(options.size,) * 3, generator=torch.Generator().manual_seed(0))
    passes = in_turn({name: forward(name, image) for name in names}, repeats=options.repeats)
    report.table(f"forward pass, {options.size}^3, float32", rows(passes, "s"))
    for precision in [torch.float32, *([torch.bfloat16] if options.bf16 else [])]:
        steps = in_turn({name: step(name, precision) for name in names}, repeats=options.repeats)
        kind = str(precision).removeprefix("torch.")
        report.table(f"training step, batch {BATCH} of {SAMPLE}^3, {kind}", rows(steps, "s"))


if __name__ == "__main__":
    main()
