"""AnyStar: a trained network with its options, applied to volumes in memory."""

import copy
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference import stages
from anystar_torch.inference.candidates import Candidates, checked_overlap, checked_probability
from anystar_torch.inference.coarse_pass import knows_coarse_objects
from anystar_torch.inference.input_volume import diameter_in_voxels, validated_spacing
from anystar_torch.inference.instances import Instances
from anystar_torch.inference.plan import TileOptions, check_suppression_memory
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network import loading
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import made_on_cpu, resolve
from anystar_torch.system.memory import resident


class AnyStar:
    """A trained network with its options.

    One object can be used by several threads at once.

    :meth:`predict` shows an example.

    Args:
        network: a network with one input channel. A network in training mode is copied, so that its training is not
            disturbed.
        config: its configuration.
        tta: whether predictions are means over the eight mirror images of the volume (test-time augmentation). This
            takes eight times as long.
        coarse_pass: whether scores are combined with those of a second pass at a coarser scale
            (:mod:`anystar_torch.inference.coarse_pass`). None for yes, except for networks imported from StarDist and
            those that were not trained on objects 1.5 times smaller than the median.
        shape_averaging: whether an object's shape is the mean over the candidates around its centre, or that of the
            best candidate, as in StarDist. None for the mean, except for networks imported from StarDist.
        normalisation: a name of :data:`~anystar_torch.network.normalisation.NORMALISATIONS`; None for that of the
            configuration.
        max_memory: bytes that the whole process may take, including the volume and its labels, or on a GPU that tensors
            may take. None for half of the free memory of the machine, or most of the free memory of a GPU.
        tile_options: how tiles are chosen and computed; None for the default.

    Raises:
        ValueError: the network has several input channels, or the normalisation is unknown.
    """

    def __init__(
        self,
        network: StarDist,
        config: ModelConfig,
        tta: bool = False,
        coarse_pass: bool | None = None,
        shape_averaging: bool | None = None,
        normalisation: str | None = None,
        max_memory: float | int | None = None,
        tile_options: TileOptions | None = None,
    ) -> None:
        if network.channels != 1:
            raise ValueError(f"the network must have one input channel, got {network.channels}")
        if max_memory is not None and not 0 < max_memory < math.inf:
            raise ValueError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
        self.network = copy.deepcopy(network).eval() if network.training else network
        self.config = config if normalisation is None else replace(config, normalisation=normalisation)
        self.tta, self.max_memory, self.tile_options = tta, max_memory, tile_options or TileOptions()
        self.shape_averaging = not config.imported if shape_averaging is None else shape_averaging
        known = not config.imported and knows_coarse_objects(config.diameter_band)
        self.coarse_pass = known if coarse_pass is None else coarse_pass
        self._begin()

    def _begin(self) -> None:
        """What this process makes on its own: the networks on their devices, and the lock of the threads."""
        self._tile_networks: dict[torch.device, TileNetwork] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to this process, for copies and other processes."""
        return {name: value for name, value in vars(self).items() if name not in ("_tile_networks", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy."""
        self.__dict__.update(state)
        self._begin()

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None, **options: Any) -> "AnyStar":
        """The shipped network, or that of a folder.

        Args:
            path: folder of weights, run folder of a training, or folder of a StarDist model; None for the shipped
                weights.
            options: ``tta``, ``coarse_pass``, ``shape_averaging``, ``normalisation``, ``max_memory`` and
                ``tile_options``, as for the class.

        Raises:
            ValueError: there is no such model, or it cannot be read.
        """
        return cls(*loading.load_model(path), **options)

    def predict(
        self,
        volume: NDArray[Any] | Tensor,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        prob_thresh: float | int | None = None,
        nms_thresh: float | int | None = None,
        device: str | torch.device = "auto",
        progress: bool = True,
    ) -> Instances:
        """Find the objects of a volume.

        Args:
            volume: ``[D, H, W]`` (z, y, x), any real type; NumPy or torch.
            spacing: voxel size (z, y, x), in micrometres if ``diameter`` has a unit; otherwise only its ratios matter.
                None if the voxels have the shape that the network was trained on.
            diameter: volume-equivalent diameter of the median object, in voxels of the finest axis or with a unit
                ("8um"); None to estimate it.
            prob_thresh: candidates have a higher score; None for the model's threshold.
            nms_thresh: overlap above which the worse of two candidates is removed; None for the model's threshold.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps", or a device of torch.
            progress: whether progress bars are drawn, on the error stream.

        Returns:
            The objects in input voxels. Its ``warnings`` are reasons to check them.

        Raises:
            TypeError: the volume is no array of real numbers.
            ValueError: the volume or an argument is not valid, or the memory is too small.

        Examples:
            Two balls of 12 voxels in noise:

            >>> import numpy as np
            >>> from anystar_torch import AnyStar, matching
            >>> z, y, x = np.mgrid[:32, :32, :32]
            >>> truth = 1 * ((z - 10) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 < 36)
            >>> truth += 2 * ((z - 22) ** 2 + (y - 22) ** 2 + (x - 20) ** 2 < 36)
            >>> volume = (truth > 0) + np.random.default_rng(0).normal(0.0, 0.1, truth.shape)
            >>> model = AnyStar.from_pretrained()
            >>> found = model.predict(volume, diameter=12, device="cpu", progress=False)
            >>> len(found)
            2
            >>> found.labels.shape, found.points.shape, found.distances.shape
            ((32, 32, 32), (2, 3), (2, 96))
            >>> matching(truth, found.labels).f1
            1.0
        """
        used = checked_overlap(self.config.nms_thresh if nms_thresh is None else nms_thresh)
        found = self.candidates(volume, spacing, diameter, prob_thresh, device, progress, used)
        return self.instances(found, used, progress=progress)

    def candidates(
        self,
        volume: NDArray[Any] | Tensor,
        spacing: Sequence[float | int] | None = None,
        diameter: float | int | str | None = None,
        prob_thresh: float | int | None = None,
        device: str | torch.device = "auto",
        progress: bool = True,
        nms_thresh: float | int | None = None,
    ) -> Candidates:
        """The candidates of a volume, from which :meth:`instances` makes objects.

        Arguments are those of :meth:`predict`, and errors are the same. On a GPU candidates are suppressed at
        ``nms_thresh`` while the network runs, if it is given; :meth:`instances` with this threshold then takes the
        result.
        """
        prob_thresh = checked_probability(self.config.prob_thresh if prob_thresh is None else prob_thresh)
        spacing = None if spacing is None else validated_spacing(spacing)
        given = None if diameter is None else diameter_in_voxels(diameter, spacing)
        overlap = None if nms_thresh is None else checked_overlap(nms_thresh)
        with made_on_cpu():
            settings = self.settings(device, progress, overlap)
            opened = stages.open_volume(volume, spacing, self.config.normalisation, self.network.rays)
            return stages.find_candidates(opened, given, prob_thresh, settings)

    def instances(
        self, candidates: Candidates, nms_thresh: float | int | None = None, *, progress: bool = False
    ) -> Instances:
        """The objects that remain of candidates, with a warning if they do not have the expected size.

        Args:
            candidates: candidates of one volume.
            nms_thresh: overlap above which the worse of two candidates is removed; None for the model's threshold.
            progress: whether a progress bar is drawn.

        Raises:
            ValueError: the threshold is not in [0, 1], or the memory is too small for so many candidates.
        """
        if self.max_memory is not None and all(place.type == "cpu" for place in list(self._tile_networks)):
            check_suppression_memory(
                len(candidates.scores), candidates.scaling.source, self.max_memory, resident()
            )
        with made_on_cpu():
            return stages.find_instances(
                candidates,
                self.config.nms_thresh if nms_thresh is None else nms_thresh,
                shape_averaging=self.shape_averaging,
                config=self.config,
                progress=progress,
            )

    def settings(
        self, device: str | torch.device = "auto", progress: bool = True, nms_thresh: float | None = None
    ) -> stages.Settings:
        """The settings with which this object calls the stages of prediction.

        Args:
            device: "auto", "cpu", "cuda", "cuda:1" or "mps", or a device of torch.
            progress: whether progress bars are drawn.
            nms_thresh: overlap threshold of a suppression during the prediction; None for no such suppression.
        """
        return stages.Settings(
            tile_network=self.tile_network(device),
            config=self.config,
            coarse_pass=self.coarse_pass,
            options=self.tile_options,
            max_memory=self.max_memory,
            progress=progress,
            nms_thresh=nms_thresh,
        )

    def tile_network(self, device: str | torch.device) -> TileNetwork:
        """The network on a device. The network of this object stays where it is.

        Args:
            device: "auto", or a device or name that torch knows.

        Raises:
            ValueError: torch does not know the device, or it is not available.
        """
        return self._tile_network(resolve(device))

    def _tile_network(self, device: torch.device) -> TileNetwork:
        with self._lock:
            if device not in self._tile_networks:
                here = next(self.network.parameters()).device == device
                network = self.network if here else copy.deepcopy(self.network).to(device)
                self._tile_networks[device] = TileNetwork(
                    network,
                    device,
                    tta=self.tta,
                    chosen_precision=self.tile_options.precision,
                    receptive_field=self.config.receptive_field,
                    smallest_tile=self.config.smallest_tile,
                )
            return self._tile_networks[device]
