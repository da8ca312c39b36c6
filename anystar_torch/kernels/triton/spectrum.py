"""Effects in k-space on a GPU: a wave added to volumes, high frequencies removed from spectra (as in ``csrc/``)."""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from anystar_torch.kernels.triton.lanes import voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = 1024


@triton.jit
def _turns(frequency, index, size):
    """Turns of a wave of ``frequency`` periods an axis, at voxel ``index``, in [0, 1); the angle is reduced exactly."""
    wrapped = (frequency % size + size) % size
    return (wrapped * index.to(tl.int64) % size).to(tl.float32) / (size * 1.0)


@triton.jit
def _circle(turns):
    """Cosine and sine of ``2 pi turns`` by their Taylor series on [-pi/4, pi/4], to 1e-7.

    The library's cosine needs a stack to reduce large arguments; these are small.
    """
    quarter = tl.floor(turns * 4.0 + 0.5)
    angle = (turns - quarter * 0.25) * 6.283185307179586
    square = angle * angle
    sine = (square * (1.0 / 362880.0) - 1.0 / 5040.0) * square + 1.0 / 120.0
    sine = ((sine * square - 1.0 / 6.0) * square + 1.0) * angle
    cosine = (square * (1.0 / 40320.0) - 1.0 / 720.0) * square + 1.0 / 24.0
    cosine = (cosine * square - 0.5) * square + 1.0
    quadrant = quarter.to(tl.int32) & 3
    odd = (quadrant & 1) == 1
    real, imaginary = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    return (
        tl.where((quadrant == 1) | (quadrant == 2), -real, real),
        tl.where(quadrant >= 2, -imaginary, imaginary),
    )


@triton.jit
def _add_wave(image, frequency, cosine, sine, out, count, depth, height, width, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    turns = _turns(tl.load(frequency + row * 3), index // (width * height), depth)
    turns += _turns(tl.load(frequency + row * 3 + 1), index // width % height, height)
    turns += _turns(tl.load(frequency + row * 3 + 2), index % width, width)
    real, imaginary = _circle(turns)
    wave = tl.load(cosine + row) * real - tl.load(sine + row) * imaginary
    tl.store(out + place, tl.load(image + place, mask=inside, other=0.0) + wave, mask=inside)


@triton.jit
def _squared_frequency(index, size, recorded):
    bin = ((index + size // 2) % size).to(tl.float32) - (size - 1) * 0.5
    return recorded * recorded * (bin * bin)


@triton.jit
def _cut_spectrum(spectrum, alpha, recorded, out, count, depth, height, width, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    rz, ry, rx = tl.load(recorded + row * 3), tl.load(recorded + row * 3 + 1), tl.load(recorded + row * 3 + 2)
    x = _squared_frequency(index // 2 % width, width, rx)
    y = _squared_frequency(index // (2 * width) % height, height, ry)
    z = _squared_frequency(index // (2 * width * height), depth, rz)
    longest = tl.maximum(tl.maximum(rz * depth, ry * height), rx * width)
    radius = (1.0 - tl.load(alpha + row)) * longest * 0.70710678
    kept = tl.where(z + (y + x) > radius * radius, 0.0, tl.load(spectrum + place, mask=inside, other=0.0))
    tl.store(out + place, kept, mask=inside)


def add_wave(image: Tensor, frequency: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Add a wave to each contiguous ``[B, 1, D, H, W]``; ``frequency`` int64 ``[B, 3]``, amplitudes ``[B]``.

    Arguments are those of :func:`anystar_torch.kernels.spectrum.add_wave`.
    """
    out, count = empty(image.shape, dtype=float32, device=image.device), elements(image)
    with on_device_of(image):
        _add_wave[programs(len(image), count, BLOCK)](
            image, frequency, cosine, sine, out, count, *image.shape[2:], BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def cut_spectrum(spectrum: Tensor, alpha: Tensor, recorded: Tensor) -> Tensor:
    """Set contiguous ``[B, D, H, W, 2]`` to 0 outside of a ball; ``alpha`` ``[B]``, ``recorded`` ``[B, 3]``.

    Args:
        spectrum: ``[B, D, H, W, 2]``, real and imaginary parts, contiguous.
        alpha: ``[B]`` in [0, 1], as in :func:`anystar_torch.kernels.spectrum.cut_spectrum`.
        recorded: ``[B, 3]``, size along z, y, x of the volume whose spectrum is cut, in sizes of this one.
    """
    out, count = empty(spectrum.shape, dtype=float32, device=spectrum.device), elements(spectrum)
    with on_device_of(spectrum):
        _cut_spectrum[programs(len(spectrum), count, BLOCK)](
            spectrum, alpha, recorded, out, count, *spectrum.shape[1:4], BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


_SIZES = dict.fromkeys(("count", "depth", "height", "width"), "i32")
SPECIALISATIONS = {
    "spectrum.add_wave": Specialisation(
        _add_wave,
        {"image": "*fp32", "frequency": "*i64", "cosine": "*fp32", "sine": "*fp32", "out": "*fp32"} | _SIZES,
        {"BLOCK": BLOCK},
    ),
    "spectrum.cut_spectrum": Specialisation(
        _cut_spectrum,
        {"spectrum": "*fp32", "alpha": "*fp32", "recorded": "*fp32", "out": "*fp32"} | _SIZES,
        {"BLOCK": BLOCK},
    ),
}
