"""The mean of the weights of several networks of one architecture.

Networks that were trained further from the same weights, each in another way, can have a mean that is better than each
of them. Source: model soups, Wortsman et al. 2022.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def mean_weights(
    networks: Sequence[Mapping[str, Tensor]], shares: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """The mean of the weights, and of the statistics of batch normalisation.

    Args:
        networks: what ``state_dict`` returns, of networks on one device. Counters are those of the last one.
        shares: of each network; None for equal ones. They add up to 1.

    Returns:
        Name -> tensor of the type of the first network, for ``load_state_dict``.

    Raises:
        ValueError: the networks do not have the same weights.
    """
    first, last = networks[0], networks[-1]
    shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in networks]
    if any(one != shapes[0] for one in shapes):
        raise ValueError("weights can be averaged only if the networks have the same architecture")
    shares = shares or [1 / len(networks)] * len(networks)
    return {
        name: _mean([one[name] for one in networks], shares) if value.is_floating_point() else last[name]
        for name, value in first.items()
    }


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    weighted = [share * value.double() for share, value in zip(shares, values, strict=True)]
    return torch.stack(weighted).sum(dim=0).to(values[0].dtype)
