"""Two volumes of one object, stored with different directions of their axes: bring one to the axes of the other."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from anystar_torch.io.placement import sized_affine
from anystar_torch.io.spatial_image import SpatialImage

_TOLERANCE = (
    0.5  # voxels that corners of the same volume may be apart: affines are stored in single precision
)


def reoriented(image: SpatialImage, like: SpatialImage, *, resized: bool = False) -> SpatialImage:
    """``image`` with its axes permuted and mirrored so that they run as those of ``like``.

    Images without a place in space are returned as they are: nothing says how their axes run.

    Args:
        image: the volume to turn.
        like: a volume of the same object.
        resized: whether ``image`` may have another voxel size, as labels that were predicted with a given one.

    Raises:
        ValueError: after turning, the volumes differ in shape, or their corners lie at different places.
    """
    if image.affine is None or like.affine is None:
        _check_shapes(image, like)
        return image
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(image.affine), io_orientation(like.affine))
    shape = image.array.shape[::-1]  # x, y, z, as the affine counts
    array = apply_orientation(image.array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    affine = image.affine @ inv_ornt_aff(turn, shape)
    spacing = None
    if image.spacing is not None:
        # Row i of the turn says which axis of the result old axis i becomes; both count x, y, z.
        steps = dict(zip(turn[:, 0].astype(int).tolist(), image.spacing[::-1], strict=True))
        spacing = (steps[2], steps[1], steps[0])
    turned = replace(image, array=array, affine=affine, spacing=spacing)
    _check_shapes(turned, like)
    _check_place(turned, _with_voxels_of(turned, like) if resized else like)
    return turned


def _with_voxels_of(image: SpatialImage, like: SpatialImage) -> SpatialImage:
    """``like`` with the voxel size of ``image``; direction and origin stay."""
    sized = replace(like, spacing=image.spacing, unit=image.unit)
    return replace(sized, affine=sized_affine(sized))


def _check_shapes(image: SpatialImage, like: SpatialImage) -> None:
    if image.array.shape != like.array.shape:
        raise ValueError(
            f"{_names(like, image)} must have the same shape, got {like.array.shape} and {image.array.shape}"
        )


def _check_place(image: SpatialImage, like: SpatialImage) -> None:
    """Refuse volumes whose corners are further apart than rounding explains."""
    assert image.affine is not None
    assert like.affine is not None
    corners = _corners(image.array.shape[::-1])
    apart = np.linalg.norm((image.affine - like.affine) @ corners, axis=0).max()
    voxel = np.linalg.norm(like.affine[:3, :3], axis=0).min()
    if apart > _TOLERANCE * voxel:
        raise ValueError(
            f"{_names(like, image)} lie at different places: their corners are up to {apart:.4g} mm apart "
            f"({apart / voxel:.3g} voxels); give files of one volume"
        )


def _names(like: SpatialImage, image: SpatialImage) -> str:
    """What errors call two volumes; those of a URL have no path."""
    return f"{like.path or 'the first volume'} and {image.path or 'the second one'}"


def _corners(shape: tuple[int, ...]) -> Float[np.ndarray, "4 8"]:
    ends = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(shape) - 1)
    return np.concatenate([ends.T, np.ones((1, 8))]).astype(np.float64)
