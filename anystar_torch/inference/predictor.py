"""The product: a volume in, objects out."""

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference import halo, memory, pretrained, size
from anystar_torch.inference.candidates import Candidates, Found, gather, merge
from anystar_torch.inference.instances import Instances, instances
from anystar_torch.inference.normalise import Window, window
from anystar_torch.inference.progress import bar
from anystar_torch.inference.scale import Scaling, Triple, checked_spacing, voxels
from anystar_torch.inference.tiles import Tile, tiles
from anystar_torch.io.scan import available_memory, not_a_volume
from anystar_torch.stardist import StarDist
from anystar_torch.weights import ModelConfig

_SURE = 0.4  # share of the votes below which an estimate is called uncertain


class AnyStar:
    """A trained network and what it needs to be used.

    Safe to share between threads: predictions change nothing that another one reads.

    Example::

        model = AnyStar.from_pretrained()
        found = model.predict(volume, spacing=(2, 0.5, 0.5), diameter="8um")
        found.labels

    Args:
        network: a network of this package; one in training mode is copied, so that training goes on
            undisturbed.
        config: how its input is normalised and what size of objects it knows.
        max_memory: bytes that prediction may take beside the volume itself; None for half of what is free.
        halo: voxels around a tile (z, y, x) that its prediction needs; None to take it from the model's
            provenance or to measure it when a volume is first cut into tiles.
    """

    def __init__(
        self,
        network: StarDist,
        config: ModelConfig,
        max_memory: float | int | None = None,
        halo: Sequence[int] | None = None,
    ) -> None:
        if network.channels != 1:
            raise ValueError(f"volumes have one channel, and the network wants {network.channels}")
        self.network = copy.deepcopy(network).eval() if network.training else network
        self.config = config
        self.max_memory = max_memory
        known = halo if halo is not None else config.provenance.get("halo")
        self._halo: Triple | None = (known[0], known[1], known[2]) if known is not None else None
        self._copies: dict[torch.device, StarDist] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None, **options: Any) -> "AnyStar":
        """The shipped network, or one from a folder.

        Args:
            path: a folder of weights, a run folder of a training, or a StarDist model's folder; None for the
                shipped weights.
            options: ``max_memory`` and ``halo``, as for the class.

        Raises:
            ValueError: no such model, or one that cannot be read.
        """
        return cls(*pretrained.load(path), **options)

    def predict(
        self,
        volume: NDArray[Any] | Tensor,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        prob_thresh: float | int | None = None,
        nms_thresh: float | int | None = None,
        device: str = "auto",
        progress: bool = True,
    ) -> Instances:
        """Find the objects of a volume.

        Args:
            volume: ``[D, H, W]`` (z, y, x), any real type; NumPy or torch.
            spacing: voxel size (z, y, x); micrometres where ``diameter`` has a unit, else only its ratios
                count. None takes the voxels to have the shape the network was trained on.
            diameter: volume-equivalent diameter of the median object, in voxels of the finest axis, or with a
                unit ("8um").
            prob_thresh: candidates need a score above it; None for the model's.
            nms_thresh: overlap above which the lesser of two candidates goes; None for the model's.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            progress: whether to draw progress bars (on the error stream).

        Returns:
            The objects in the volume's own voxels.

        Raises:
            ValueError: the volume or an argument is not what is wanted; says what is.
        """
        prob_thresh = self.config.prob_thresh if prob_thresh is None else prob_thresh
        found, notes = self.candidates(volume, spacing, diameter, prob_thresh, device, progress)
        used = self.config.nms_thresh if nms_thresh is None else nms_thresh
        return instances(found, used, progress=progress, notes=notes)

    def candidates(
        self,
        volume: NDArray[Any] | Tensor,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        prob_thresh: float | int | None = None,
        device: str = "auto",
        progress: bool = True,
    ) -> tuple[Candidates, tuple[str, ...]]:
        """What :meth:`predict` suppresses and renders, with notes on how the size was chosen."""
        array = checked(volume)
        prob_thresh = self.config.prob_thresh if prob_thresh is None else prob_thresh
        if not 0 <= prob_thresh < 1:
            raise ValueError(f"prob_thresh must be between 0 and 1, got {prob_thresh}")
        place = resolve(device)
        shape = self.network.rays.anisotropy if spacing is None else checked_spacing(spacing)
        grey = window(array, self.config.normalisation)
        middle = self.config.diameter_band[1]
        if diameter is not None:
            assumed = voxels(diameter, spacing)
            notes = self._doubts(array.shape, shape, assumed)
        else:
            assumed, notes = self._estimated(array, shape, grey, place, prob_thresh, progress)
        scaling = Scaling.of(array.shape, shape, assumed, middle, self.network.rays)
        with bar("predicting", progress) as tick:
            return self._collect(array, scaling, grey, assumed, prob_thresh, place, tick), notes

    def _doubts(self, source: Sequence[int], spacing: Sequence[float | int], size: float) -> tuple[str, ...]:
        """A warning where objects are so small or so large for the volume that the size must be mistaken."""
        longest = max(n * step / min(spacing) for n, step in zip(source, spacing, strict=True))
        if size > longest:
            return (
                f"warning: objects of {size:.3g} voxels are larger than the volume ({longest:.3g} voxels)",
            )
        if size < 3:
            return (f"warning: objects of {size:.3g} voxels are too small to have a shape",)
        return ()

    def _estimated(
        self,
        array: NDArray[Any],
        spacing: Sequence[float | int],
        grey: Window,
        device: torch.device,
        prob_thresh: float | int,
        progress: bool,
    ) -> tuple[float, tuple[str, ...]]:
        """The size of the objects, found by looking at several scales; and what to say about it."""
        middle = self.config.diameter_band[1]
        if self.config.provenance.get("sizes") == "unknown":
            return middle, (
                "no diameter given, and the model does not say what sizes it knows: nothing is resampled",
            )
        if grey.high <= grey.low:
            return middle, ("the volume is constant: it holds no objects",)
        network = self._on(device)
        place = size.interesting(array, grey)
        unsure = min(prob_thresh, size.UNSURE)

        def look(diameter: float) -> size.Level:
            scaling = Scaling.of(array.shape, spacing, diameter, middle, network.rays)
            start, stop = size.part(scaling.shape, network.divisor, place)
            image = scaling.box(array, start, stop, grey, device)
            tile = Tile(start, stop, start, stop)
            found = self._look(network, image, tile, scaling.shape, unsure, peaks_only=True)
            candidates = merge([found], network.rays.to("cpu"), scaling, diameter, unsure).first(size.ENOUGH)
            return size.level(candidates, start, stop, diameter, middle, self.config.nms_thresh)

        levels = []
        sizes = size.ladder(array.shape, spacing)
        with bar("estimating the size of objects", progress) as tick:
            for done, diameter in enumerate(sizes):
                tick(done, len(sizes))
                levels.append(look(diameter))
        found = size.estimate(levels, look)
        if found.diameter is None:
            return middle, (
                f"warning: no object was found at any scale; taken to be {middle:g} voxels wide: give --diameter",
            )
        said = (
            f"diameter estimated as {found.diameter:.3g} voxels: {found.count} objects measured at that scale, "
            f"{100 * found.support:.0f} % of what was found at {len(sizes)} scales agrees"
        )
        doubt = ("warning: the estimated diameter is uncertain: look at the result, or give --diameter",)
        return found.diameter, (said, *(doubt if found.support < _SURE else ()))

    def _collect(
        self,
        array: NDArray[Any],
        scaling: Scaling,
        grey: Window,
        diameter: float,
        prob_thresh: float,
        device: torch.device,
        tick: Any,
    ) -> Candidates:
        network = self._on(device)
        parts: list[Found] = []
        if grey.high > grey.low:  # a constant volume holds nothing
            pieces = self._tiles(scaling.shape, network, device)
            for done, tile in enumerate(pieces):
                tick(done, len(pieces))
                image = scaling.box(array, tile.start, tile.stop, grey, device)
                parts.append(self._look(network, image, tile, scaling.shape, prob_thresh))
        rays = network.rays.to("cpu")
        return merge(parts, rays, scaling, diameter, prob_thresh)

    @torch.inference_mode()
    def _look(
        self,
        network: StarDist,
        image: Tensor,
        tile: Tile,
        shape: Triple,
        prob_thresh: float | int,
        peaks_only: bool = False,
    ) -> Found:
        """The candidates of a tile; with ``peaks_only`` those that no neighbour on the grid outdoes."""
        with torch.autocast(image.device.type, enabled=image.device.type == "cuda"):
            probability, distances = network(image)
        if peaks_only:
            highest = torch.nn.functional.max_pool3d(probability, 3, 1, 1)
            probability = torch.where(probability < highest, 0.0, probability)
        return gather(probability[0], distances[0], tile, shape, network.grid, prob_thresh)

    def _tiles(self, shape: Triple, network: StarDist, device: torch.device) -> list[Tile]:
        divisor = network.divisor
        per_voxel = memory.bytes_per_voxel(network, divisor)
        budget = self.max_memory if self.max_memory is not None else free_memory(device)
        whole = tiles(shape, divisor, [1 << 60] * 3, (0, 0, 0))[0].stop
        if whole[0] * whole[1] * whole[2] * per_voxel <= budget:
            return tiles(shape, divisor, whole, (0, 0, 0))
        if self._halo is None:
            self._halo = halo.measure(network, device)
        around = tuple(-(-h // d) * d for h, d in zip(self._halo, divisor, strict=True))
        size = memory.tile_size(whole, divisor, (around[0], around[1], around[2]), per_voxel, budget)
        return tiles(shape, divisor, size, around)

    def _on(self, device: torch.device) -> StarDist:
        """The network on ``device``; the one that was given stays where it is."""
        if next(self.network.parameters()).device == device:
            return self.network
        with self._lock:
            if device not in self._copies:
                self._copies[device] = copy.deepcopy(self.network).to(device)
            return self._copies[device]


def checked(volume: NDArray[Any] | Tensor) -> NDArray[Any]:
    """The volume as an array, if it is one.

    Raises:
        TypeError: no array, or not of real numbers.
        ValueError: not ``[D, H, W]``, or empty.
    """
    array = volume.detach().cpu().numpy() if isinstance(volume, Tensor) else volume
    if not isinstance(array, np.ndarray):
        raise TypeError(f"volume must be a NumPy array or a torch tensor, got {type(volume).__name__}")
    if array.dtype.kind not in "uifb":
        raise TypeError(f"volume must hold real numbers, got {array.dtype}")
    if array.ndim != 3:
        raise ValueError(not_a_volume("the volume", array.shape))
    if not array.size:
        raise ValueError(f"the volume holds no voxels: its shape is {array.shape}")
    return array


def resolve(device: str) -> torch.device:
    """The device of a name; "auto" is the best there is.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


def free_memory(device: torch.device) -> float:
    """Bytes to plan with: most of what is free on a GPU, half of what is free in the machine."""
    if device.type == "cuda":
        return 0.8 * torch.cuda.mem_get_info(device)[0]
    return 0.5 * available_memory()
