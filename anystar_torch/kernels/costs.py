"""What operators with several kernels cost beyond one launch that reads their inputs and writes their outputs.

For the model of the cost on a GPU, which sees operators and not their kernels. tests/kernels/test_costs.py compares the
numbers of launches with those of the interpreter.
"""

from typing import NamedTuple


class Cost(NamedTuple):
    """Of one call of an operator.

    Attributes:
        launches: all of them, clearing of memory among them.
        volumes: further reads and writes, in volumes of 4 bytes a voxel of the first input; an upper bound, for labels
            without background.
    """

    launches: int
    volumes: float


COSTS = {
    "anystar::star_distances": Cost(1, 0),
    # along x: 1 written; y: 2 read, 1 written; z: 2 read; the table cleared: 2 to 4; shares: up to 3
    "anystar::object_probability": Cost(5, 13),
    "anystar::distance_transform": Cost(3, 6),
    # runs: 2 written; joined: 2 read; summed: 3 read, 1 written; ranked: 2 read, 1 written; named: 3 read
    "anystar::connected_components": Cost(6, 14),
    # the table cleared: 2 to 4; counted: 1; kept: 1
    "anystar::remove_small": Cost(3, 6),
    # distances and their target are read once; logits and probability twice, which is 2 channels of many
    "anystar::stardist_loss": Cost(3, 2),
    # reads and writes nothing where the gradient of the total is 1, but what the operator shows is all gradients twice
    "anystar::scale_gradients": Cost(1, 0),
}
