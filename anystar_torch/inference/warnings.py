"""Typed warnings of a prediction.

Predictions return their warnings with the result and do not issue them through :mod:`warnings`. The filters of that
module are shared by all threads, and a batch of volumes must know which volume a warning belongs to. To issue them:
``for warning in found.warnings: warnings.warn(warning)``.
"""


class PredictionWarning(UserWarning):
    """A reason to check the result of a prediction.

    Attributes:
        arguments: names of the arguments of :meth:`anystar_torch.AnyStar.predict` or of the constructor of
            :class:`anystar_torch.AnyStar` that may resolve it.

    Args:
        message: what happened, in one sentence.
        arguments: see above.
    """

    def __init__(self, message: str, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.arguments = arguments

    @property
    def line(self) -> str:
        """The warning in one line, with the arguments that may resolve it."""
        hint = f"; check {' and '.join(self.arguments)}" if self.arguments else ""
        return f"warning: {self}{hint}"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class SizeWarning(PredictionWarning):
    """The object size is missing, implausible, uncertain, or not the size of the objects that were found."""


class ConstantVolumeWarning(PredictionWarning):
    """All voxels have the same value, so that there are no objects."""

    def __init__(self) -> None:
        super().__init__("all voxels have the same value: the volume holds no objects")


class MemoryWarning(PredictionWarning):
    """The memory of the device was full, and the prediction went on with smaller tiles."""


class PrecisionWarning(PredictionWarning):
    """The network's output was not finite in the chosen precision, and tiles were computed again in float32."""


class NonFiniteWarning(PredictionWarning):
    """The network's output is not finite in float32 either, so that objects may be missing."""
