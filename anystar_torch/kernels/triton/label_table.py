"""A hash table of the labels of each sample in device memory: one number for each label, for ids of any size.

Open addressing with linear probing. A sample has no more labels than voxels, and its table no fewer slots than voxels,
so that every label finds one. Which slot a label gets may differ from run to run; what is read from it does not.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, int32, zeros

from anystar_torch.kernels.triton.hashing import mix32
from anystar_torch.kernels.triton.lanes import any_of, lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, on_device_of, programs

BLOCK = lanes(128, 4096)
MOST_VOXELS = 1 << 30  # of a sample: voxels and slots are counted in 32 bits


@triton.jit
def slot_of(keys, label, wanted, slots):
    """Slot of each ``wanted`` positive label; a label without a slot gets one.

    A key is written once. Where a cached copy of it is still 0, the exchange reads the key itself.
    """
    slot = mix32(label.to(tl.uint32, bitcast=True)).to(tl.int32, bitcast=True) & (slots - 1)
    going = any_of(wanted)
    while going > 0:
        key = tl.load(keys + slot, mask=wanted, other=-1)
        free = wanted & (key == 0)
        if any_of(free) > 0:
            # the exchange has no mask: where no slot is needed, it compares with a value that no key has
            before = tl.atomic_cas(
                keys + slot, tl.where(free, 0, -1), tl.where(free, label, -1), sem="relaxed"
            )
            key = tl.where(free, tl.where(before == 0, label, before), key)
        wanted = wanted & (key != label)
        slot = tl.where(wanted, (slot + 1) & (slots - 1), slot)
        going = any_of(wanted)
    return slot


@triton.jit
def known_slot_of(keys, label, wanted, slots):
    """Slot of each ``wanted`` label that got one in an earlier launch."""
    slot = mix32(label.to(tl.uint32, bitcast=True)).to(tl.int32, bitcast=True) & (slots - 1)
    going = any_of(wanted)
    while going > 0:
        wanted = wanted & (tl.load(keys + slot, mask=wanted, other=0) != label)
        slot = tl.where(wanted, (slot + 1) & (slots - 1), slot)
        going = any_of(wanted)
    return slot


@triton.jit
def _count(labels, table, voxels, slots, BLOCK: tl.constexpr):
    sample, _, inside, place = voxels_of_program(voxels, BLOCK)
    own = tl.load(labels + place, mask=inside, other=0)
    keys = table + sample * 2 * slots
    slot = slot_of(keys, own, own > 0, slots)
    tl.atomic_add(keys + slots + slot, 1, mask=own > 0, sem="relaxed")


@triton.jit
def _keep(labels, table, out, voxels, slots, least, BLOCK: tl.constexpr):
    sample, _, inside, place = voxels_of_program(voxels, BLOCK)
    own = tl.load(labels + place, mask=inside, other=0)
    keys = table + sample * 2 * slots
    slot = known_slot_of(keys, own, own > 0, slots)
    count = tl.load(keys + slots + slot, mask=own > 0, other=0)
    kept = tl.where((own > 0) & (count >= least), own, 0)
    tl.store(out + place, kept, mask=inside)


def check_voxels(labels: Tensor) -> int:
    """Voxels of a sample of ``labels`` ``[B, 1, D, H, W]``; refuses more than :data:`MOST_VOXELS`.

    Args:
        labels: int32 ``[B, 1, D, H, W]``.

    Raises:
        ValueError: a sample has more than :data:`MOST_VOXELS` voxels.
    """
    voxels = labels[0].numel()
    if voxels > MOST_VOXELS:
        raise ValueError(f"labels must have at most {MOST_VOXELS} voxels a sample on a GPU, got {voxels}")
    return voxels


def slots_for(labels: Tensor) -> int:
    """Slots of the table of a sample of ``labels`` ``[B, 1, D, H, W]``: a power of two.

    Args:
        labels: int32 ``[B, 1, D, H, W]``.

    Raises:
        ValueError: a sample has more than :data:`MOST_VOXELS` voxels.
    """
    return 1 << (check_voxels(labels) - 1).bit_length()


def empty_table(labels: Tensor, slots: int) -> Tensor:
    """Keys (0: free) and numbers (0), int32 ``[B, 2, slots]``.

    Args:
        labels: ``[B, 1, D, H, W]``; the table has as many samples and lies on the same device.
        slots: slots per sample, a power of two.
    """
    return zeros(len(labels), 2, slots, dtype=int32, device=labels.device)


def remove_small(labels: Tensor, least: int) -> Tensor:
    """Contiguous int32 labels ``[B, 1, D, H, W]`` without those of fewer than ``least`` voxels in their sample.

    Args:
        labels: int32 ``[B, 1, D, H, W]``, contiguous; 0 (and below) is background.
        least: least number of voxels.
    """
    out = empty(labels.shape, dtype=int32, device=labels.device)
    if labels.numel() == 0:
        return out
    voxels, slots = check_voxels(labels), slots_for(labels)
    table = empty_table(labels, slots)
    grid = programs(len(labels), voxels, BLOCK)
    least = min(max(least, 0), 2**31 - 1)
    with on_device_of(labels):
        _count[grid](labels, table, voxels, slots, BLOCK=BLOCK, num_warps=1, enable_fp_fusion=False)
        _keep[grid](
            labels, table, out, voxels, slots, least, BLOCK=BLOCK, num_warps=1, enable_fp_fusion=False
        )
    return out


_TYPES = {"labels": "*i32", "table": "*i32", "voxels": "i32", "slots": "i32"}
SPECIALISATIONS = {
    "label_table.count": Specialisation(_count, _TYPES, {"BLOCK": BLOCK}, num_warps=1),
    "label_table.keep": Specialisation(
        _keep, {**_TYPES, "out": "*i32", "least": "i32"}, {"BLOCK": BLOCK}, num_warps=1
    ),
}
