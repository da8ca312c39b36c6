"""Accuracy on real volumes that no training has seen.

    python -m benchmarks.real_volumes score      one network, volume by volume, beside a classical pipeline
    python -m benchmarks.real_volumes estimates  the estimate of the size: its error, its cost, F1 with it
    python -m benchmarks.real_volumes compare    several networks, also by their loss on synthetic samples
    python -m benchmarks.real_volumes outlines   where outlines lie on the edges of the image: truth and network
    python -m benchmarks.real_volumes sizes      networks, with objects rescaled to several sizes
    python -m benchmarks.real_volumes ablate     trainings that differ in one setting each
    python -m benchmarks.real_volumes mean       the mean of the weights of networks, as a model
    python -m benchmarks.real_volumes --fetch    download the volumes that may be downloaded

``COMMAND --help`` explains each. The volumes are those of ``../shared/data/real``, else those that --fetch wrote, or
those of --data.
"""

import argparse
import sys

from benchmarks.real_volumes import ablation, estimates, mean, networks, outlines, score, sizes

COMMANDS = {
    "score": score,
    "estimates": estimates,
    "compare": networks,
    "outlines": outlines,
    "sizes": sizes,
    "ablate": ablation,
    "mean": mean,
}


def main() -> None:
    if sys.argv[1:2] == ["--fetch"]:
        from benchmarks.real_volumes import fetch  # needs pooch, which scoring does not

        fetch.run(sys.argv[2:])
        return
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        parser = argparse.ArgumentParser(
            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("command", choices=COMMANDS)
        parser.parse_args(sys.argv[1:2])
        return
    command = COMMANDS[sys.argv[1]]
    parser = command.parser()
    parser.prog = f"python -m benchmarks.real_volumes {sys.argv[1]}"
    command.run(parser.parse_intermixed_args(sys.argv[2:]))


if __name__ == "__main__":
    main()
