"""Launches and memory traffic of the operators that have several Triton kernels.

The cost model of a GPU counts operators, and needs this for their kernels. tests/kernels/test_costs.py compares the
numbers of launches with those of the interpreter.
"""

from typing import NamedTuple


class Cost(NamedTuple):
    """Cost of one call of an operator, beyond one launch that reads its inputs and writes its outputs.

    Attributes:
        launches: number of launches, including those that clear memory.
        volumes: further reads and writes, in volumes of 4 bytes per voxel of the first input; an upper bound,
            reached by labels without background.
    """

    launches: int
    volumes: float


COSTS = {
    "anystar::star_distances": Cost(1, 0),
    # along x: 1 written; y: 2 read, 1 written; z: 2 read; the table cleared: 2 to 4; shares: up to 3
    "anystar::object_probability": Cost(5, 13),
    "anystar::distance_transform": Cost(3, 6),
    # runs: 2 written; joined: 2 read; summed: 3 read, 1 written; numbered: 2 read, 1 written; named: 3 read
    "anystar::connected_components": Cost(6, 14),
    # the table cleared: 2 to 4; counted: 1; kept: 1
    "anystar::remove_small": Cost(3, 6),
    # distances are read once, their target once in objects; logits and probability twice, which is 2 channels of many
    "anystar::stardist_loss": Cost(3, 2),
    # nothing is read or written where the gradient of the total is 1; the operator itself counts all gradients twice
    "anystar::scale_gradients": Cost(1, 0),
}
