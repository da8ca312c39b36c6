"""The product: a volume in, objects out."""

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference import size
from anystar_torch.inference.candidates import Candidates, Found, merge
from anystar_torch.inference.coarse_pass import FURTHER, SecondLook, stands
from anystar_torch.inference.instances import Instances, checked_overlap, instances
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.passes import Passes
from anystar_torch.inference.plan import Plan, check_room_for, plan, room
from anystar_torch.inference.receptive_field import measure
from anystar_torch.inference.scale import Scaling, Triple, checked_spacing, voxels
from anystar_torch.inference.tile_network import Eye, View
from anystar_torch.io.axes import not_a_volume
from anystar_torch.network import loading
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import resolve
from anystar_torch.system.progress import bar


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
        max_memory: bytes that this process may take in all, the volume and its labels included (on a GPU: of the
            GPU's memory); None for what it has and half of what is free.
        halo: voxels around a tile (z, y, x) that its prediction needs; None to take it from the model's
            provenance or to measure it when a volume is first cut into tiles.
        batch: tiles looked at together; None for as many as fit on a GPU, and one on a CPU, which gains nothing.
        flips: whether the network sees every mirror image of the volume, and the mean is taken: eight times the
            work for slightly better objects.
        averaged: whether an object's shape is the mean over the candidates around its centre, or that of the best one
            alone, as in StarDist; None for the former, but for networks imported from StarDist.
        multiscale: whether the network looks a second time, from further away (``inference/multiscale.py``); None for
            yes, but for networks imported from StarDist and those that do not know objects 1.5 times smaller.
        normalisation: of grey values, "percentile", "minmax", "anystar" or "clipped"; None for the network's own.
    """

    def __init__(  # noqa: PLR0913 - one argument per option
        self,
        network: StarDist,
        config: ModelConfig,
        max_memory: float | int | None = None,
        halo: Sequence[int] | None = None,
        batch: int | None = None,
        flips: bool = False,
        averaged: bool | None = None,
        multiscale: bool | None = None,
        normalisation: str | None = None,
    ) -> None:
        if network.channels != 1:
            raise ValueError(f"volumes have one channel, and the network wants {network.channels}")
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self.network = copy.deepcopy(network).eval() if network.training else network
        self.config = config if normalisation is None else replace(config, normalisation=normalisation)
        self.max_memory, self.batch, self.flips = max_memory, batch, flips
        self.averaged = not config.imported if averaged is None else averaged
        known = not config.imported and stands(config.diameter_band)
        self.multiscale = known if multiscale is None else multiscale
        around = halo if halo is not None else config.receptive_field
        self._halo: Triple | None = (around[0], around[1], around[2]) if around is not None else None
        self._eyes: dict[torch.device, Eye] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None, **options: Any) -> "AnyStar":
        """The shipped network, or one from a folder.

        Args:
            path: a folder of weights, a run folder of a training, or a StarDist model's folder; None for the
                shipped weights.
            options: ``max_memory``, ``halo``, ``batch``, ``flips``, ``averaged``, ``multiscale`` and
                ``normalisation``, as for the class.

        Raises:
            ValueError: no such model, or one that cannot be read.
        """
        return cls(*loading.load_model(path), **options)

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
                unit ("8um"); None to estimate it.
            prob_thresh: candidates need a score above it; None for the model's.
            nms_thresh: overlap above which the lesser of two candidates goes; None for the model's.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            progress: whether to draw progress bars (on the error stream).

        Returns:
            The objects in the volume's own voxels.

        Raises:
            ValueError: the volume or an argument is not what is wanted, objects smaller than a voxel included; says
                what is.
        """
        used = checked_overlap(self.config.nms_thresh if nms_thresh is None else nms_thresh)
        found, notes = self.candidates(volume, spacing, diameter, prob_thresh, device, progress)
        return self.objects(found, used, progress=progress, notes=notes)

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
        shape = self.network.rays.anisotropy if spacing is None else checked_spacing(spacing)
        given = None if diameter is None else voxels(diameter, spacing)
        if given is not None and given < 1:
            raise ValueError(
                f"objects of {given:.3g} voxels cannot be seen: a diameter is at least 1 voxel of the finest axis; "
                "is the unit, or the voxel size, another one?"
            )
        eye = self._eye(resolve(device))
        grey = intensity_range(array, self.config.normalisation)
        if given is not None:
            assumed, notes = given, size.doubts(array.shape, shape, given)
        else:
            most = room(array.shape, eye, self.max_memory)
            with bar("estimating the size of objects", progress) as tick:
                assumed, notes = size.assumed(
                    size.Question(array, shape, grey, most), replace(eye, flips=False), self.config, tick
                )
        near, far = (
            Scaling.of(array.shape, shape, assumed, self.config.diameter_band[1] / further, self.network.rays)
            for further in (1.0, FURTHER)
        )
        parts: list[Found] = []
        if grey.high > grey.low:  # a constant volume holds nothing
            views = View(array, near, grey), View(array, far, grey)
            parts, said = self._seen(eye, *views, prob_thresh, progress)
            notes = (*notes, *said)
        return merge(parts, self.network.rays.to("cpu"), near, assumed, prob_thresh), notes

    def _seen(
        self, eye: Eye, near: View, far: View, prob_thresh: float | int, progress: bool
    ) -> tuple[list[Found], tuple[str, ...]]:
        """The candidates of all tiles, and notes on what did not go as planned."""
        kept = SecondLook.size(far.scaling, self.network.grid) if self.multiscale else 0
        most = room(near.volume.shape, eye, self.max_memory, kept)
        passes = Passes(eye, lambda: self._around(eye))
        tiles, second = self._plan(near.scaling, eye, most), None
        if self.multiscale:
            coarse = self._plan(far.scaling, eye, most)
            with bar("looking from further away", progress) as tick:
                probability = passes.probability(far, coarse, tick)
            second = SecondLook(probability, far.scaling, near.scaling, self.network.grid)
        with bar("predicting", progress) as tick:
            parts = passes.candidates(near, tiles, prob_thresh, second, tick)
        return parts, passes.events.notes(eye.kind)

    def objects(
        self,
        candidates: Candidates,
        nms_thresh: float | int,
        *,
        progress: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Instances:
        """Suppresses and renders; warns where what is found has not the size that the network knows."""
        if self.max_memory is not None and all(place.type == "cpu" for place in list(self._eyes)):
            check_room_for(len(candidates.scores), candidates.scaling.source, self.max_memory)
        found = instances(candidates, nms_thresh, averaged=self.averaged, progress=progress, notes=notes)
        doubt = size.surprise(found, candidates.scaling, self.config)
        return replace(found, notes=(*notes, doubt)) if doubt and not _warned(notes) else found

    def _plan(self, scaling: Scaling, eye: Eye, most: float | int) -> Plan:
        return plan(scaling, eye, most, lambda: self._around(eye), self.batch)

    def _around(self, eye: Eye) -> Triple:
        if self._halo is None:
            self._halo = measure(eye)
        return self._halo

    def _eye(self, device: torch.device) -> Eye:
        """The network on ``device``; the one that was given stays where it is."""
        with self._lock:
            if device not in self._eyes:
                here = next(self.network.parameters()).device == device
                network = self.network if here else copy.deepcopy(self.network).to(device)
                self._eyes[device] = Eye(network, device, self.flips)
            return self._eyes[device]


def _warned(notes: Sequence[str]) -> bool:
    return any(note.startswith("warning") for note in notes)


def checked(volume: NDArray[Any] | Tensor) -> NDArray[Any]:
    """The volume as an array, if it is one.

    Raises:
        TypeError: no array, or not of real numbers.
        ValueError: not ``[D, H, W]``, or empty.
    """
    if isinstance(volume, Tensor):
        volume = volume.detach().cpu()
        array = (volume.float() if volume.dtype == torch.bfloat16 else volume).numpy()
    else:
        array = volume
    if not isinstance(array, np.ndarray):
        raise TypeError(f"volume must be a NumPy array or a torch tensor, got {type(volume).__name__}")
    if array.dtype.kind not in "uifb":
        raise TypeError(f"volume must hold real numbers, got {array.dtype}")
    if array.ndim != 3:
        raise ValueError(not_a_volume("the volume", array.shape))
    if not array.size:
        raise ValueError(f"the volume holds no voxels: its shape is {array.shape}")
    return array
