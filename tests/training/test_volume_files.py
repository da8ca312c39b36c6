"""Files of annotated, validated and reported volumes: their place, voxel size, channels and time points."""

from io import StringIO
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import tifffile
from rich.console import Console

from anystar_torch import AnyStar, io
from anystar_torch.training import report as reports
from anystar_torch.training.annotation import Annotation, read_annotations
from anystar_torch.training.validation import AnnotatedVolume
from tests.inference.scenes import Sees, config
from tests.io.test_orientation import TURNS, oblique, stored_otherwise
from tests.training.test_annotation import SHAPE, labels_of_balls

LABELS = labels_of_balls()
IMAGE = ((LABELS > 0) * 100 + np.random.default_rng(0).normal(10, 1, SHAPE)).astype(np.float32)


def annotated(image, labels, **keys):
    found = Annotation.read(image=str(image), labels=str(labels), **keys)
    return found.labels, found.spacing


def validated(image, labels, **keys):
    found = AnnotatedVolume.read(image=str(image), truth=str(labels), **keys)
    return found.truth, found.spacing


def reported(image, labels, **keys):
    """The labels and the voxel size with which the report of a training scores a model."""
    seen = []
    settings = {"folder": ".", "export": {"weights": "last"}, "samples": 1, "min_f1": 0.0}
    made = reports.Report(
        **settings, image=str(image), truth=str(labels), **{"spacing": None, "diameter": None, **keys}
    )
    made.console = Console(file=StringIO())

    class Found(SimpleNamespace):
        def __len__(self):
            return 0

    def predict(model, volume, spacing, diameter, device):
        seen.append(spacing)
        return Found(labels=None, diameter=1.0)

    model = AnyStar(Sees(anisotropy=(2.0, 1.0, 1.0)), config())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnyStar, "predict", predict)
        patch.setattr(reports, "scores_of", lambda truth, labels: seen.append(truth) or {})
        patch.setattr(reports.picture, "planes", lambda *args, **kwargs: None)
        made._segment_real(model)
    spacing, truth = seen
    return truth, spacing


everywhere = pytest.mark.parametrize("read", [annotated, validated, reported])


def nifti(path, array, affine):
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    return path


@everywhere
@pytest.mark.parametrize(("order", "signs"), [TURNS[1], TURNS[5], TURNS[12]])
def test_labels_that_are_stored_along_other_axes_are_turned(tmp_path, read, order, signs):
    image = nifti(tmp_path / "a.nii", IMAGE, oblique())
    turned, affine = stored_otherwise(LABELS.transpose(2, 1, 0), oblique(), order, signs)
    labels = nifti(tmp_path / "b.nii", turned.transpose(2, 1, 0), affine)
    assert np.array_equal(read(image, labels)[0], LABELS)


@everywhere
def test_labels_of_another_place_are_refused(tmp_path, read):
    image = nifti(tmp_path / "a.nii", IMAGE, oblique())
    labels = nifti(tmp_path / "b.nii", LABELS, oblique(origin=(10, -20, 36)))
    with pytest.raises(ValueError, match=r"lie at different places.*give files of one volume") as caught:
        read(image, labels)
    assert "\n" not in str(caught.value)


@everywhere
def test_a_given_voxel_size_replaces_those_of_the_files(tmp_path, read):
    wrong = np.diag([1.0, 1.0, 100.0, 1.0])  # more than 50 times as long as wide
    image = nifti(tmp_path / "a.nii", IMAGE, wrong)
    sized = tmp_path / "sized.nii"
    io.write(sized, LABELS, io.read(image, spacing=(2, 1, 1)))
    for labels in (nifti(tmp_path / "b.nii", LABELS, wrong), sized):
        found, spacing = read(image, labels, spacing=[2, 1, 1])
        assert np.array_equal(found, LABELS)
        assert tuple(spacing) == (2, 1, 1)
        with pytest.raises(ValueError, match="more than 50 times as long as wide"):
            read(image, labels)


def test_labels_below_zero_may_have_any_voxel_size(tmp_path):
    given = LABELS.copy()
    given[23:] = -1
    sizes = {"axes": "ZYX", "PhysicalSizeZ": 100, "PhysicalSizeY": 1, "PhysicalSizeX": 1}
    tifffile.imwrite(tmp_path / "l.ome.tif", given, metadata=sizes)
    np.save(tmp_path / "a.npy", IMAGE)
    assert np.array_equal(annotated(tmp_path / "a.npy", tmp_path / "l.ome.tif")[0], given)


@everywhere
def test_a_length_without_a_voxel_size_is_refused(tmp_path, read):
    labels, image, ratios = tmp_path / "labels.npy", tmp_path / "a.npy", tmp_path / "ratios.nii"
    np.save(labels, LABELS)
    np.save(image, IMAGE)
    io.write(ratios, LABELS, io.SpatialImage(LABELS, (1.0, 1.0, 1.0), ""))
    for path in (image, ratios):
        with pytest.raises(
            ValueError, match="has a unit, and the voxel size is unknown: give spacing"
        ) as line:
            read(path, labels, diameter="8um")
        assert str(path) in str(line.value)
        assert "\n" not in str(line.value)
        read(path, labels, diameter="8um", spacing=[1, 1, 1])
    assert Annotation.read(
        image=str(image), labels=str(labels), diameter="8um", spacing=[2, 1, 1]
    ).diameter == ("8um")


def test_a_report_of_a_volume_without_voxel_size_predicts_as_the_command_does(tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "a.npy", IMAGE)
    assert reported(tmp_path / "a.npy", tmp_path / "labels.npy")[1] == (2, 1, 1)


def test_a_validated_volume_without_voxel_size_has_the_voxel_shape_of_the_network(tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "a.npy", IMAGE)
    volume = AnnotatedVolume.read(image=str(tmp_path / "a.npy"), truth=str(tmp_path / "labels.npy"))
    (spacing, diameter), (_, cubic) = (volume.sized(shape) for shape in ((2.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    assert spacing == (2, 1, 1)
    assert diameter == pytest.approx(cubic * 2 ** (1 / 3))


@pytest.fixture
def series(tmp_path):
    """An image of two time points and two channels, and labels of two time points, with names of their axes."""
    later = np.roll(LABELS, 2, axis=1)
    image = np.stack([np.stack([IMAGE[::-1], IMAGE]), np.stack([IMAGE[:, ::-1], np.roll(IMAGE, 2, axis=1)])])
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "TCZYX"})
    tifffile.imwrite(tmp_path / "l.ome.tif", np.stack([LABELS, later]), metadata={"axes": "TZYX"})
    return tmp_path / "a.ome.tif", tmp_path / "l.ome.tif", image, np.stack([LABELS, later])


@pytest.mark.parametrize("frame", [0, 1])
def test_a_channel_of_a_time_point_is_read_with_its_labels(series, frame):
    image, labels, grey, truth = series
    found = Annotation.read(image=str(image), labels=str(labels), channel=1, frame=frame)
    assert np.array_equal(found.image, grey[frame, 1])
    assert np.array_equal(found.labels, truth[frame])
    other = AnnotatedVolume.read(image=str(image), truth=str(labels), channel=1, frame=frame)
    assert np.array_equal(other.image, grey[frame, 1])
    assert np.array_equal(other.truth, truth[frame])


def test_labels_of_one_time_point_need_no_key(series, tmp_path):
    np.save(tmp_path / "b.npy", LABELS)
    assert np.array_equal(annotated(series[0], tmp_path / "b.npy", channel=1, frame=0)[0], LABELS)


def test_labels_have_keys_of_their_own(series, tmp_path):
    np.save(tmp_path / "a.npy", IMAGE.transpose(1, 2, 0))
    np.save(tmp_path / "b.npy", np.stack([LABELS, LABELS[::-1]]))
    keys = {"axes": "YXZ", "labels_axes": "CZYX", "labels_channel": 1}
    found = Annotation.read(image=str(tmp_path / "a.npy"), labels=str(tmp_path / "b.npy"), **keys)
    assert np.array_equal(found.image, IMAGE)
    assert np.array_equal(found.labels, LABELS[::-1])
    found, _ = annotated(series[0], series[1], channel=0, frame=0, labels_frame=1, scene=0)
    assert np.array_equal(found, series[3][1])


def test_dimensions_without_names_are_time_where_a_time_point_is_chosen(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([IMAGE[::-1], IMAGE]))
    np.save(tmp_path / "b.npy", np.stack([LABELS[::-1], LABELS]))
    assert np.array_equal(annotated(tmp_path / "a.npy", tmp_path / "b.npy", frame=1)[0], LABELS)


def test_time_series_of_other_lengths_and_wrong_indices_are_refused(series, tmp_path):
    np.save(tmp_path / "b.npy", np.stack([LABELS] * 3))
    with pytest.raises(ValueError, match=r"3 time points and .* has 2; .*labels_frame= \(0 to 2\)"):
        annotated(series[0], tmp_path / "b.npy", channel=1, frame=0, labels_axes="TZYX")
    with pytest.raises(ValueError, match=r"choose one with channel= \(0 to 1\)"):
        annotated(series[0], series[1], frame=0)
    np.save(tmp_path / "c.npy", IMAGE)
    with pytest.raises(ValueError, match=r"choose one with labels_frame= \(0 to 1\)"):
        annotated(tmp_path / "c.npy", series[1])
    with pytest.raises(ValueError, match=r"labels_channel must be a whole number from 0, got 0\.5"):
        annotated(tmp_path / "c.npy", series[1], labels_channel=0.5)
    with pytest.raises(ValueError, match=r"unknown key truth_frame; known: image, labels, .*labels_scene"):
        annotated(tmp_path / "c.npy", series[1], truth_frame=0)


def test_a_volume_is_given_once(series, tmp_path):
    """Time points of a series are volumes of their own, and channels of a volume may share their labels."""
    first = {"image": str(series[0]), "labels": str(series[1]), "channel": 1, "frame": 0}
    others = [{**first, "frame": 1}, {**first, "channel": 0}]
    assert len(read_annotations([first, *others])) == 3
    with pytest.raises(ValueError, match=r"a\.ome\.tif is the image of 2 volumes"):
        read_annotations([first, *others, first])
    with pytest.raises(ValueError, match=r"l\.ome\.tif is the labels of 2 volumes"):
        read_annotations([first, {**first, "frame": 1, "labels_frame": 0}])


def report_of(**keys):
    settings = {"folder": ".", "export": {"weights": "last"}, "samples": 1, "min_f1": 0.0}
    nothing = dict.fromkeys(("image", "truth", "diameter", "spacing"))
    return reports.Report(**settings, **{**nothing, **keys}).real


@pytest.mark.parametrize("frame", [0, 1])
def test_a_report_reads_a_channel_of_a_time_point_with_its_labels(series, frame):
    image, labels, grey, truth = series
    found = report_of(image=str(image), truth=str(labels), channel=1, frame=frame)
    assert np.array_equal(found.scan.array, grey[frame, 1])
    assert np.array_equal(found.truth, truth[frame])
    alone = report_of(image=str(image), channel=0, frame=frame, scene="0")
    assert np.array_equal(alone.scan.array, grey[frame, 0])
    assert alone.truth is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image": "a", "frame": 0}, r"choose one with report\.channel= \(0 to 1\)"),
        (
            {"image": "a", "truth": "l", "channel": 1, "truth_frame": 0},
            r"choose one with report\.frame= \(0 to 1\)",
        ),
        ({"image": "c", "truth": "l"}, r"choose one with report\.truth_frame= \(0 to 1\)"),
        ({"image": "c", "channel": "x"}, r"report\.channel must be a whole number from 0, got 'x'"),
        ({"image": "c", "truth_channel": 1}, r"report\.truth_channel needs report\.truth$"),
        ({"channel": 1}, r"report\.channel needs report\.image"),
        ({"image": "c", "chanel": 1}, r"report: unknown key chanel; known: channel, "),
    ],
)
def test_a_volume_of_a_report_is_refused_by_the_names_of_its_settings(series, tmp_path, keys, message):
    np.save(tmp_path / "c.npy", IMAGE)
    paths = {"a": series[0], "l": series[1], "c": tmp_path / "c.npy"}
    given = {name: str(paths[value]) if name in ("image", "truth") else value for name, value in keys.items()}
    with pytest.raises(ValueError, match=message) as line:
        report_of(**given)
    assert "\n" not in str(line.value)


@pytest.mark.parametrize("reader", [validated, reported])
def test_labels_without_objects_are_refused_where_their_diameter_is_needed(tmp_path, reader):
    """A run would otherwise end with the diameter "nan", at its first validation or in its report."""
    np.save(tmp_path / "image.npy", IMAGE)
    np.save(tmp_path / "truth.npy", np.zeros_like(LABELS))
    with pytest.raises(ValueError, match=r"truth\.npy has no objects, .* or its diameter$"):
        reader(tmp_path / "image.npy", tmp_path / "truth.npy")
    assert not validated(tmp_path / "image.npy", tmp_path / "truth.npy", diameter=8)[0].any()
