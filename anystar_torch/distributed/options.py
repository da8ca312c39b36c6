"""What a user chooses for a large prediction beside the network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from anystar_torch.distributed.blocks import BLOCK
from anystar_torch.distributed.job import SHARD


@dataclass(frozen=True, kw_only=True)
class LargeOptions:
    """Options of :func:`anystar_torch.distributed.predict`.

    Attributes:
        spacing: voxel size (z, y, x), in micrometres if ``diameter`` has a unit; None for that of the file.
        diameter: diameter of the median object, in voxels of the finest axis or with a unit ("8um"); None to estimate
            it.
        intensity_range: grey values that are mapped to 0 and 1; None to measure them.
        prob_thresh: candidates have a higher score; None for the model's threshold.
        nms_thresh: overlap above which the worse of two candidates is removed; None for the model's threshold.
        table: file for a table of the objects, ``.csv`` or ``.parquet``; None for none.
        mask: a volume that is not 0 where objects may be, of any resolution: an array or a file; None for everywhere.
        channel: index of the channel, where the file has several.
        frame: index of the time point; None for all of them.
        axes: one letter of Z, Y, X, C and T per dimension; None for the names in the file.
        scene: name or number of the scene, where the file has several.
        device: a name that torch knows, or "auto".
        threads: threads of each process; None for as many as PyTorch uses in it.
        block: network voxels along each axis that a task predicts, about. It does not change the result.
        shard: voxels (z, y, x) of the labels that a task writes.
    """

    spacing: Sequence[float | int] | None = None
    diameter: float | int | str | None = None
    intensity_range: tuple[float | int, float | int] | None = None
    prob_thresh: float | int | None = None
    nms_thresh: float | int | None = None
    table: Path | str | None = None
    mask: NDArray[Any] | Path | str | None = None
    channel: int | None = None
    frame: int | None = None
    axes: str | None = None
    scene: str | None = None
    device: str = "auto"
    threads: int | None = None
    block: int = BLOCK
    shard: Sequence[int] = (SHARD, SHARD, SHARD)

    def __post_init__(self) -> None:
        if self.intensity_range is not None:
            low, high = self.intensity_range
            if not -math.inf < low < high < math.inf:
                raise ValueError(
                    f"the intensity range must be finite and must ascend, got {low:g} to {high:g}"
                )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if len(self.shard) != 3:
            raise ValueError(f"shard must be three numbers of voxels (z, y, x), got {self.shard}")
        if self.block < 1 or min(self.shard) < 1:
            raise ValueError(f"blocks and shards need at least 1 voxel, got {self.block} and {self.shard}")
