"""What is read of an annotated volume, and what is refused before a training."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from anystar_torch.training.annotation import UNKNOWN, Annotation, read_annotations, without_cut_objects
from anystar_torch.training.held_out import LEAST_OBJECTS, divide

SHAPE = (24, 40, 40)


def ball(labels, label, centre, radius=4.0, lengths=(1.0, 1.0, 1.0)):
    grid = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1)
    labels[(((grid - centre) / np.array(lengths)) ** 2).sum(-1) <= radius**2] = label


def labels_of_balls():
    labels = np.zeros(SHAPE, np.int16)
    for number, centre in enumerate(
        [(6, 8, 8), (6, 8, 30), (16, 20, 20), (17, 32, 8), (12, 31, 31)], start=1
    ):
        ball(labels, number, centre)
    return labels


@pytest.fixture
def files(tmp_path):
    """Paths of an image and of its labels, and a function that replaces the labels."""
    labels = labels_of_balls()
    image = (labels > 0) * 100.0 + np.random.default_rng(0).normal(10, 1, SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", image.astype(np.float32))

    def write(array, name="a_labels.tif"):
        tifffile.imwrite(tmp_path / name, array)
        return {"image": str(tmp_path / "a.tif"), "labels": str(tmp_path / name), "spacing": [1, 1, 1]}

    return write


def test_a_whole_annotation_is_read_as_it_is(files):
    read = Annotation.read(**files(labels_of_balls()))
    assert np.array_equal(read.labels, labels_of_balls())
    assert read.objects == [1, 2, 3, 4, 5]
    assert read.name == "a"
    volume = np.bincount(labels_of_balls().ravel())[1:]
    assert read.diameter == pytest.approx((6 / np.pi * np.median(volume)) ** (1 / 3))


def test_ids_of_any_size_become_dense(files):
    given = labels_of_balls().astype(np.int64)
    read = Annotation.read(**files((given * 3_000_000_000).astype(np.uint64)))
    assert np.array_equal(read.labels, labels_of_balls())


def test_boxes_and_slices_keep_whole_objects_only(files):
    """Against a loop over objects: those outside or cut are not annotated, nor is what lies outside of the boxes."""
    boxes, slices = [[[0, 24], [0, 40], [0, 20]]], [[12, 24]]
    inside = np.zeros(SHAPE, bool)
    inside[:, :, :20] = inside[12:] = True
    given = labels_of_balls()
    expected = np.where(inside, given, UNKNOWN)
    for label in range(1, 6):
        grown = ndimage.binary_dilation(given == label, ndimage.generate_binary_structure(3, 1))
        if not inside[grown].all():
            expected[given == label] = UNKNOWN
    read = Annotation.read(**files(given), boxes=boxes, slices=slices)
    assert np.array_equal(read.labels, expected)
    assert set(read.objects) == {1, 4}


@pytest.mark.parametrize("unknown", [-1, 99])
def test_objects_that_touch_what_is_not_annotated_do_not_count(files, unknown):
    given = labels_of_balls()
    given[:, 34:] = unknown  # through the fourth ball; the fifth one touches it
    read = Annotation.read(**files(given), unknown=unknown)
    assert read.objects == [1, 2, 3]
    assert (read.labels[(given == 4) | (given == 5)] == UNKNOWN).all()
    assert (read.labels[:, 34:] == UNKNOWN).all()
    untouched = (given != 4) & (given != 5) & (given != unknown)
    assert np.array_equal(read.labels[untouched], given[untouched])


def test_objects_alone_leave_the_background_open(files):
    read = Annotation.read(**files(labels_of_balls()), objects_only=True)
    assert np.array_equal(read.labels, np.where(labels_of_balls() > 0, labels_of_balls(), UNKNOWN))


@pytest.mark.parametrize("part", [{"boxes": [[[0, 24], [0, 40], [0, 20]]]}, {"slices": [[0, 16]]}])
@pytest.mark.parametrize("outside", ["known", "empty"])
def test_objects_alone_are_whole_inside_of_boxes(files, part, outside):
    """Objects that cross the face of the part do not count, whether or not the file has what lies outside."""
    given = labels_of_balls()
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(*side) for side in part["boxes"][0]) if "boxes" in part else slice(0, 16)] = True
    whole = {label for label in range(1, 6) if inside[given == label].all()}
    read = Annotation.read(
        **files(given if outside == "known" else np.where(inside, given, 0)), objects_only=True, **part
    )
    assert len(read.objects) == len(whole)
    assert np.array_equal(read.labels > 0, np.isin(given, list(whole)))
    assert not (read.labels == 0).any()


def test_the_label_of_what_is_not_annotated_cuts_no_object_that_is_outlined_alone(files):
    given = labels_of_balls()
    given[:, 34:] = -1
    assert Annotation.read(**files(given), objects_only=True).objects == [1, 2, 3, 4, 5]


def test_the_size_is_that_of_the_objects_that_count(files):
    """Two whole small balls; three larger ones are cut, outside of the box, or touch what is not annotated."""
    given = np.zeros(SHAPE, np.int16)
    for label, (centre, radius) in enumerate(
        [((8, 8, 8), 3.0), ((16, 20, 8), 3.0), ((12, 10, 20), 7.0), ((12, 10, 33), 6.0), ((12, 32, 8), 6.0)],
        1,
    ):
        ball(given, label, centre, radius)
    given[:, 34:, :20] = -1
    read = Annotation.read(**files(given), boxes=[[[0, 24], [0, 40], [0, 20]]])
    assert read.objects == [1, 2]
    volume = (given == 1).sum()
    assert read.diameter == pytest.approx((6 / np.pi * volume) ** (1 / 3))


def test_without_voxel_size_the_network_tells_the_shape_of_voxels(files):
    flat = np.zeros(SHAPE, np.uint8)
    ball(flat, 1, (8, 10, 10), 8, (0.5, 1, 1))
    ball(flat, 2, (16, 28, 28), 8, (0.5, 1, 1))
    given = {**files(flat), "spacing": None}
    (read,) = read_annotations([given], (2.0, 1.0, 1.0))
    assert read.spacing == (2, 1, 1)
    assert read.diameter == Annotation.read(**{**given, "spacing": [2, 1, 1]}).diameter
    with pytest.raises(ValueError, match=r"no voxel size.* 0.5\d* times .*\(1.0, 1.0, 1.0\); give spacing"):
        read_annotations([given])
    with pytest.raises(ValueError, match=r"no voxel size.* 2\S* times .*\(2.0, 1.0, 1.0\); give spacing"):
        read_annotations([{**files(labels_of_balls()), "spacing": None}], (2.0, 1.0, 1.0))


def test_nothing_is_cut_where_all_is_annotated():
    labels = labels_of_balls().astype(np.int32)
    assert without_cut_objects(labels, labels) is labels


def single_voxel():
    labels = labels_of_balls()
    labels[22, 1, 1] = 9
    return labels


def test_objects_of_one_voxel_that_do_not_count_are_not_refused(files):
    """A part of an automatic segmentation was corrected, and its remains lie elsewhere."""
    read = Annotation.read(**files(single_voxel()), boxes=[[[0, 20], [0, 40], [0, 40]]])
    assert read.objects
    assert 9 not in read.objects


def grey_values():
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint8)


def mask():
    return (np.random.default_rng(0).random(SHAPE) < 0.2).astype(np.uint8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (labels_of_balls()[:, :, 1:], r"must have the same shape, got \(24, 40, 40\) and \(24, 40, 39\)"),
        (labels_of_balls() + np.float32(0.5), "holds fractions, not labels"),
        (ndimage.gaussian_filter((labels_of_balls() > 0).astype(np.float32), 1), "as a probability map does"),
        (np.zeros(SHAPE, np.uint8), "has no objects: all labels are 0"),
        (np.full(SHAPE, -1, np.int16), "has no objects"),
        (single_voxel(), r"1 of 6 objects have one voxel, such as the one at \(22, 1, 1\)"),
        (grey_values(), "separate pieces, as a probability map or an image"),
        (mask(), r"has one label in \d+ separate pieces, as a mask"),
        ((labels_of_balls() > 0).astype(np.uint8), r"has one label in \d+ separate pieces, as a mask"),
        (labels_of_balls() - 5, "has negative labels"),
    ],
)
def test_wrong_labels_are_refused_in_one_line(files, labels, message):
    with pytest.raises(ValueError, match=message) as error:
        Annotation.read(**files(labels))
    assert "\n" not in str(error.value)


def test_a_missing_voxel_size_is_refused_where_voxels_are_no_cubes(files):
    flat = np.zeros(SHAPE, np.uint8)
    ball(flat, 1, (8, 10, 10), 8, (0.4, 1, 1))
    ball(flat, 2, (16, 28, 28), 8, (0.4, 1, 1))
    given = files(flat)
    assert Annotation.read(**given).spacing == (1, 1, 1)
    with pytest.raises(
        ValueError, match=r"has no voxel size, and its objects are 0.4\d* times .*give spacing"
    ):
        Annotation.read(**{**given, "spacing": None})
    assert Annotation.read(**{**files(labels_of_balls()), "spacing": None}).spacing == (1, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": [[[0, 9], [0, 9]]]}, r"a box must be \[\[z, z\], \[y, y\], \[x, x\]\]"),
        ({"slices": [[0, 25]]}, "inside of the volume of"),
        ({"slices": [3, 5]}, "a box must be"),
        ({"slices": [[5, 7]]}, "no object is whole inside of the annotated voxels"),
        ({"spacing": [1, 0, 1]}, "spacing must be three positive numbers"),
    ],
)
def test_wrong_options_are_refused_in_one_line(files, options, message):
    with pytest.raises(ValueError, match=message):
        Annotation.read(**{**files(labels_of_balls()), **options})


def test_an_image_with_one_value_is_refused(files, tmp_path):
    given = files(labels_of_balls())
    tifffile.imwrite(tmp_path / "a.tif", np.ones(SHAPE, np.uint8))
    with pytest.raises(ValueError, match="has the same value in all voxels"):
        Annotation.read(**given)


def test_lists_of_volumes_are_checked(files, tmp_path):
    given = files(labels_of_balls())
    tifffile.imwrite(tmp_path / "b.tif", grey_values())
    other = {**given, "image": str(tmp_path / "b.tif")}
    with pytest.raises(ValueError, match="is the labels of 2 volumes"):
        read_annotations([given, other])
    with pytest.raises(ValueError, match="needs an annotated volume"):
        read_annotations([])
    with pytest.raises(ValueError, match="a volume has no labels"):
        read_annotations([{"image": given["image"]}])
    with pytest.raises(ValueError, match="unknown key box; known: image, labels"):
        read_annotations([{**given, "box": []}])


def test_a_fifth_of_the_objects_is_held_out_at_one_end(files):
    labels = np.zeros((20, 20, 120), np.int16)
    rng = np.random.default_rng(0)
    for number in range(LEAST_OBJECTS):
        ball(labels, number + 1, (10 + rng.integers(-2, 3), 10 + rng.integers(-2, 3), 8 + 11 * number), 4.5)
    annotation = Annotation(
        name="", image=labels, labels=labels.astype(np.int32), spacing=(1.0, 1.0, 1.0), diameter=9.0
    )
    division = divide([annotation], 0.2)
    (trained,), (held,) = division.trained, division.held_out
    assert len(trained.objects) == 8
    assert len(held.objects) == 2
    assert not set(trained.objects) & set(held.objects)
    known = [part.labels != UNKNOWN for part in (trained, held)]
    assert not (known[0] & known[1]).any()  # nothing that is trained on is scored
    for part, place in zip((trained, held), known, strict=True):
        assert np.array_equal(part.labels[place], labels[place])
        for label in part.objects:  # objects stay whole
            assert (part.labels == label).sum() == (labels == label).sum()


def test_little_is_not_divided(files):
    annotation = Annotation.read(**files(labels_of_balls()))
    assert divide([annotation], 0.2).held_out == []
    with pytest.raises(ValueError, match=r"held_out must be from 0 to 0.5, got 0.7"):
        divide([annotation], 0.7)
