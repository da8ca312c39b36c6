"""Spatial effects against MONAI, numpy and each other's inverses."""

import math

import numpy as np
import pytest
import torch
from monai.transforms.utils import create_rotate
from scipy import stats
from scipy.ndimage import gaussian_filter, map_coordinates

from anystar_torch.generator.spatial.affine import RandomAffine, rotate_and_shift, rotation
from anystar_torch.generator.spatial.coordinates import NEVER, Coordinates
from anystar_torch.generator.spatial.crop import RandomCrop
from anystar_torch.generator.spatial.elastic import RandomElastic, elastic, smooth_displacement
from anystar_torch.generator.spatial.orientation import ORDERS, RandomOrientation, orient
from anystar_torch.generator.spatial.zoom import zoom
from anystar_torch.kernels.coordinates import matrix_product
from anystar_torch.random.source import Source


def source(count: int = 2) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


def grid(batch: int = 2, shape: tuple[int, int, int] = (10, 12, 14), size: float = 12.0) -> Coordinates:
    return Coordinates.of_grid(shape, torch.full((batch, 3), size))


def test_reflection_is_numpys() -> None:
    start = Coordinates.of_grid((29, 1, 1), torch.full((1, 3), 11.0))
    out = start.reflected(torch.full((1, 3), 5.0))
    expected = np.pad(np.arange(11), 9, mode="reflect")
    assert torch.equal(out.position[0, 0, :, 0, 0] + 5.0, torch.from_numpy(expected).float())
    pieces = out.piece[0, 0, :, 0, 0]
    assert len(pieces.unique()) == 3
    assert torch.equal(start.reflected(torch.full((1, 3), NEVER)).position, start.position)


def test_matrix_products_are_matrix_products() -> None:
    matrix, position = source().normal("m", 3, 3), source().normal("p", 3, 4, 5, 6)
    expected = torch.einsum("bij,bjzyx->bizyx", matrix.double(), position.double())
    assert matrix_product(matrix, position).double() == pytest.approx(expected, abs=1e-5)


def test_rotation_is_monais() -> None:
    angles = source(4).uniform("a", -math.pi, math.pi, 3)
    for b in range(4):
        expected = create_rotate(3, angles[b].tolist())[:3, :3]
        assert rotation(angles)[b].numpy() == pytest.approx(np.asarray(expected), abs=1e-6)


def test_no_angle_and_no_shift_change_nothing() -> None:
    start = grid()
    out = rotate_and_shift(start, torch.zeros(2, 3), torch.zeros(2, 3))
    inside = start.position.abs().amax(1) <= 5.5
    assert torch.equal(out.position.movedim(1, 0)[:, inside], start.position.movedim(1, 0)[:, inside])


def test_zoom_equals_half_pixel_resizing_and_reflect_padding() -> None:
    for factor, size in ((0.5, 40), (0.75, 40), (1.25, 40)):
        start = Coordinates.of_grid((size, 1, 1), torch.full((1, 3), float(size)))
        out = zoom(start, torch.tensor([factor])).position[0, 0, :, 0, 0].numpy() + (size - 1) / 2
        zoomed = int(size * factor)
        place = (np.arange(zoomed) + 0.5) / factor - 0.5
        pad = (size - zoomed) // 2
        expected = np.pad(place, pad, mode="reflect") if pad > 0 else place[-pad : -pad + size]
        assert out == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("number", range(6))
def test_orientation_is_a_transposition_and_flips(number: int) -> None:
    size = (9, 9, 9)
    volume = np.random.default_rng(0).normal(size=size)
    order = torch.nn.functional.one_hot(torch.tensor([number]), 6).float()
    sign = torch.tensor([[1.0, -1.0, 1.0]])
    out = orient(Coordinates.of_grid(size, torch.tensor([[9.0, 9.0, 9.0]])), order, sign)
    seen = map_coordinates(volume, out.position[0].numpy() + 4.0, order=1)
    # axis a of the volume is read along axis ORDERS[number][a] of the sample
    inverse = np.argsort(ORDERS[number])
    assert seen == pytest.approx(np.flip(volume, 1).transpose(inverse), abs=1e-6)


def test_all_48_orientations_occur_but_unequal_axes_stay() -> None:
    effect = RandomOrientation(flip=0.5, turn=1.0)
    corner = effect(grid(900, (5, 5, 5)), source(900)).position[:, :, 0, 1, 4]  # at (-2, -1, 2)
    kinds, counts = torch.unique(corner, dim=0, return_counts=True)
    assert len(kinds) == 48 - 24  # two of the three distances are equal
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    out = effect(grid(50, (3, 4, 4)), source(50)).position
    assert (out[:, 0].abs().amax((1, 2, 3)) == 1.0).all()


def test_scale_and_shear_are_monai_1_1s_and_the_outside_is_not_covered() -> None:
    scale, shear = source().uniform("s", 0.7, 1.3, 3), source().uniform("h", -0.5, 0.5, 3)
    start = grid()
    out = elastic(start, torch.zeros_like(start.position), scale, shear)
    for b in range(2):
        zy, zx, yz = shear[b].tolist()  # MONAI 1.1.0 fills a matrix; later ones multiply three
        matrix = np.array([[1, zy, zx], [yz, 1, 0], [0, 0, 1]]) @ np.diag(scale[b].numpy())
        expected = np.einsum("ij,jzyx->izyx", matrix, start.position[b].numpy())
        inside = np.abs(expected).max(0) <= 5.5
        assert out.position[b].numpy()[:, inside] == pytest.approx(expected[:, inside], abs=1e-4)
        cover = np.clip(6.5 - np.abs(expected), 0, 1).prod(0)
        assert out.cover[b, 0].numpy() == pytest.approx(cover, abs=1e-4)
        fraction = out.fraction[b].numpy()
        assert np.abs((expected + 5.5 - fraction + 0.5) % 1.0 - 0.5).max() < 1e-4
        assert fraction.min() >= 0.0
        assert fraction.max() < 1.0


@pytest.mark.parametrize("sigma", [2.0, 3.5, 5.0])
def test_displacement_is_filtered_noise(sigma: float) -> None:
    n = 48
    nodes = source(4).normal("nodes", 3, n // 4 + 9, n // 4 + 9, n // 4 + 9)
    ours = smooth_displacement(nodes, torch.full((4,), sigma), torch.ones(4), (n, n, n)).numpy()
    noise = np.random.default_rng(0).uniform(-1, 1, (4, 96, 96, 96))
    theirs = np.stack([gaussian_filter(v, sigma, truncate=3)[24:72, 24:72, 24:72] for v in noise])
    theirs /= 1 / math.sqrt(3) / (2 * math.sqrt(math.pi) * sigma) ** 1.5

    def statistics(field: np.ndarray) -> list[float]:
        return [field.std(), np.diff(field, axis=-1).std()]

    assert statistics(ours) == pytest.approx(statistics(theirs), rel=0.3)


def test_crops_are_inside_of_the_scene_and_have_their_sizes() -> None:
    crop = RandomCrop(share=(0.5, 1.0))
    sizes = crop.size((128, 128, 128), source(4000))
    assert (sizes == sizes.round()).all()
    assert sizes.min() == 64.0
    assert sizes.max() == 128.0
    start = Coordinates.of_grid((1, 1, 1), sizes)
    out = crop(start, (128, 128, 128), source(4000))
    centre = out.position[:, :, 0, 0, 0] + 63.5
    first = centre - (sizes - 1) / 2
    assert torch.equal(first, first.round())
    assert first.min() == 0.0
    assert (first + sizes).max() == 128.0
    assert torch.equal(out.size, torch.full_like(sizes, 128.0))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="angle"):
        RandomAffine(angle=(-400.0, 0.0), shift=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"shift .* from -64\.0 to 64\.0"):
        RandomAffine(angle=(0.0, 0.0), shift=(-100.0, 0.0))
    with pytest.raises(ValueError, match="sigma"):
        RandomElastic(sigma=(0.1, 1.0), magnitude=(0.0, 1.0), scale=(1.0, 1.0), shear=(0.0, 0.0))
