"""The stages of a large prediction, in their order: those of :mod:`anystar_torch.inference.stages`, block by block.

1. intensity range: from histograms of all boxes.
2. size: given, or estimated by one task.
3. plan: tiles that fit into the memory of a worker, in blocks.
4. coarse pass: probabilities of each block, in files.
5. candidates of each block, in files.
6. suppression, in rounds over the blocks.
7. objects of each block: averaged shapes, scaled to input voxels.
8. ids: 1 to N over all blocks, without the objects that are covered everywhere.
9. labels: one whole shard per task, then the coarser levels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from anystar_torch.distributed import drawing, numbering, objects, passes, suppression
from anystar_torch.distributed.blocks import Index
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.preparation import prepare
from anystar_torch.distributed.run import Run
from anystar_torch.distributed.work_folder import Item
from anystar_torch.inference.object_size import ObjectSize, check_found_volumes
from anystar_torch.inference.pipeline import Events
from anystar_torch.inference.warnings import ConstantVolumeWarning, PredictionWarning, SizeWarning
from anystar_torch.io import LabelStore

_MEASURED = 50_000_000  # objects whose volumes are compared with those of training, about


@dataclass(frozen=True)
class Found:
    """The objects of one volume, in files.

    Attributes:
        job: the prediction, with what was found on the way.
        objects: objects by block.
        ids: their ids by block.
        count: number of objects.
        size: the object size, and how it was found.
        warnings: reasons to check the result.
    """

    job: Job
    objects: dict[str, Item]
    ids: dict[str, Item]
    count: int
    size: ObjectSize
    warnings: tuple[PredictionWarning, ...]


def find_objects(job: Job, run: Run) -> Found:
    """Find and number the objects of a volume. What an earlier run has done is not done again.

    Args:
        job: the prediction.
        run: runs the tasks.

    Raises:
        ValueError: the volume has no finite value, an argument is not valid, or the memory is too small.
    """
    job, size = prepare(job, run)
    if job.volume.intensity_range.constant:
        return Found(job, {}, {}, 0, size, (*size.warnings, ConstantVolumeWarning()))
    coarse, candidates = _candidates(job, run)
    states = suppression.survivors(job, run, candidates)
    shaped = _objects(job, run, candidates, states)
    visible = _visible(job, run, shaped)
    ids = numbering.number_objects(job, shaped, visible)
    events = _events([*coarse.values(), *candidates.values()])
    planned = job.work.complete("plan") or {}
    precision = getattr(torch, planned["all"].facts["precision"])
    warnings = (*size.warnings, *events.warnings(precision))
    if not any(isinstance(warning, SizeWarning) for warning in warnings):
        doubt = _size_doubt(job, shaped, ids)
        warnings += () if doubt is None else (doubt,)
    return Found(job, shaped, ids, sum(item.facts["count"] for item in ids.values()), size, warnings)


def draw_labels(found: Found, run: Run, target: LabelStore, frame: int | None = None) -> None:
    """Write the labels of a volume, one whole shard per task.

    Shards without objects are not written: they are background.

    Args:
        found: the objects.
        run: runs the tasks.
        target: the label image.
        frame: time point of the label image; None for an image without a time axis.
    """
    job = found.job
    index = Index({name: item.facts["box"] for name, item in found.objects.items()})
    for level in range(len(target.levels)):
        scale = target.levels[level].scale[-3:]
        boxes, near = {}, {}
        for number, box in enumerate(target.shards(level)):
            if frame is not None and box[0].start != frame:
                continue
            extent = [(one.start * s, one.stop * s) for one, s in zip(box[-3:], scale, strict=True)]
            some = index.meeting(tuple(zip(*extent, strict=True)))
            if some:
                boxes[str(number)], near[str(number)] = box, some
        if level:
            run.stage(
                job.work,
                f"{drawing.PYRAMID}.{level}",
                partial(drawing.coarser_shard, job, target, level),
                boxes,
                partial(_box_alone, boxes),
            )
        else:
            more = partial(_box_with_objects, found, boxes, near)
            run.stage(job.work, drawing.LABELS, partial(drawing.label_shard, job, target), boxes, more)


def _box_alone(boxes: dict[str, Any], name: str) -> tuple[Any, ...]:
    return (boxes[name],)


def _box_with_objects(
    found: Found, boxes: dict[str, Any], near: dict[str, list[str]], name: str
) -> tuple[Any, ...]:
    return boxes[name], [found.objects[one] for one in near[name]], [found.ids[one] for one in near[name]]


def _candidates(job: Job, run: Run) -> tuple[dict[str, Item], dict[str, Item]]:
    """The coarse pass and the candidates, by block. Blocks outside of the mask are left out."""
    shape = job.scaling().shape
    names = [
        name for name in job.blocks.names() if job.mask is None or job.mask.meets(job.blocks.box(name), shape)
    ]
    if not job.options.coarse_pass:
        found = run.stage(
            job.work, passes.CANDIDATES, partial(passes.candidates_of_block, job), names, lambda name: (None,)
        )
        return {}, found

    def needed(name: str) -> list[str]:
        return job.coarse_blocks.meeting(passes.coarse_box(job, name))

    wanted = dict.fromkeys(one for name in names for one in needed(name))
    coarse = run.stage(job.work, passes.COARSE, partial(passes.coarse_block, job), wanted)
    found = run.stage(
        job.work,
        passes.CANDIDATES,
        partial(passes.candidates_of_block, job),
        names,
        lambda name: ({one: coarse[one] for one in needed(name)},),
    )
    return coarse, found


def _objects(job: Job, run: Run, candidates: dict[str, Item], states: dict[str, Item]) -> dict[str, Item]:
    index = Index({name: item.facts["centres"] for name, item in candidates.items()})

    def more(name: str) -> tuple[Any, ...]:
        near = index.meeting(objects.around(candidates[name])) if job.options.shape_averaging else []
        return candidates[name], states[name], [candidates[one] for one in near if one != name]

    names = [name for name, item in states.items() if item.facts["kept"]]
    return run.stage(job.work, objects.STAGE, partial(objects.objects_of_block, job), names, more)


def _visible(job: Job, run: Run, shaped: dict[str, Item]) -> dict[str, Item]:
    near = _near(job, shaped)
    task = partial(drawing.visible_in_box, job)
    return run.stage(
        job.work, drawing.VISIBLE, task, near, lambda name: ([shaped[one] for one in near[name]],)
    )


def reaching(found: Found) -> dict[str, list[str]]:
    """The boxes of the labels that objects can reach into, each with the blocks of these objects.

    Args:
        found: the objects.
    """
    return _near(found.job, found.objects)


def _near(job: Job, shaped: dict[str, Item]) -> dict[str, list[str]]:
    index, boxes = Index({name: item.facts["box"] for name, item in shaped.items()}), drawing.label_boxes(job)
    near = {name: index.meeting(boxes.box(name)) for name in boxes.names()}
    return {name: some for name, some in near.items() if some}


def _events(items: Iterable[Item]) -> Events:
    """What did not go as planned, in all blocks."""
    total = Events()
    for item in items:
        total.recomputed += item.facts["recomputed"]
        total.non_finite += item.facts["non_finite"]
        if item.facts["reduced"] is not None:
            (z, y, x), batch = item.facts["reduced"]
            total.reduced = (z, y, x), batch
    return total


def _size_doubt(job: Job, shaped: dict[str, Item], ids: dict[str, Item]) -> SizeWarning | None:
    """A warning if the objects do not have the sizes of training; of very many, every k-th is measured."""
    every = max(1, sum(item.facts["count"] for item in ids.values()) // _MEASURED)
    volumes = [np.empty(0)]
    for name, item in shaped.items():
        visible = np.flatnonzero(job.work.read(ids[name])["ids"])
        volumes.append(np.asarray(job.work.read(item)["volumes"])[visible[::every]])
    return check_found_volumes(np.concatenate(volumes), job.scaling(), job.found.diameter, job.config)
