"""The record of a run survives its text, and the text of earlier programs is understood."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.io import RunRecord, SpatialImage, read, read_labels, read_record, write

# What version 0.1.0 wrote into a label volume before records had a version.
OLD = (
    '{"anystar_torch": "0.1.0", "model": "m", "normalisation": "minmax", "flips": true, "averaged": true, '
    '"multiscale": false, "size": "given", "device": "cpu", "precision": "float32", "source": "nuclei.tif", '
    '"spacing": [0.5, 0.5, 0.5], "unit": "um", "channel": null, "frame": null, "prob_thresh": 0.6, '
    '"nms_thresh": 0.3, "diameter": 13.0, "objects": 1}'
)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FIELDS = st.fixed_dictionaries(
    {
        "model": st.none() | st.text(),
        "tta": st.booleans(),
        "prob_thresh": st.none() | NUMBERS,
        "diameters": st.lists(NUMBERS).map(tuple),
        "diameter_source": st.sampled_from(["given", "estimated", "assumed", None]),
        "spacing": st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
        "frame": st.none() | st.integers(),
        "notes": st.lists(st.text()).map(tuple),
    }
)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(FIELDS)
def test_a_record_survives_its_text(fields):
    record = RunRecord(**fields)
    assert RunRecord.from_json(record.to_json()) == record
    assert RunRecord.from_json(record.to_json(indent=2)) == record
    assert len(record.to_json().splitlines()) == 1


def test_a_record_without_a_version_is_read():
    assert RunRecord.from_json(OLD) == RunRecord(
        anystar_torch="0.1.0",
        model="m",
        normalisation="minmax",
        tta=True,
        shape_averaging=True,
        coarse_pass=False,
        prob_thresh=0.6,
        nms_thresh=0.3,
        diameters=(13.0,),
        diameter_source="given",
        device="cpu",
        precision="float32",
        source="nuclei.tif",
        spacing=(0.5, 0.5, 0.5),
        unit="um",
        objects=1,
    )
    series = json.loads(OLD) | {"diameter": [13.0, 14.0], "notes": ["a note"], "later_dropped": 1}
    record = RunRecord.from_json(json.dumps(series))
    assert (record.diameters, record.notes) == ((13.0, 14.0), ("a note",))
    assert RunRecord.from_json("{}") == RunRecord(anystar_torch=None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "must be JSON"),
        ("[1, 2]", "must be a JSON object, got list"),
        ('{"run_record": 2, "objects": 3}', "version 2; .* update anystar_torch"),
        ('{"run_record": "1"}', "version '1'"),
        ('{"run_record": 1, "color": "red"}', "no field 'color'"),
        ('{"run_record": 1, "objects": "many"}', "objects of a run record cannot be 'many'"),
        ('{"run_record": 1, "objects": true}', "objects of a run record cannot be True"),
        ('{"run_record": 1, "spacing": [1, 2]}', "spacing of a run record cannot be"),
        ('{"run_record": 1, "diameters": [1, null]}', "diameters of a run record cannot be"),
        ('{"run_record": 1, "diameter_source": "guessed"}', "diameter_source of a run record cannot be"),
        ('{"flips": 7}', "tta of a run record cannot be 7"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(text, words):
    with pytest.raises(ValueError, match=words) as refused:
        RunRecord.from_json(text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["a.tif", "a.ome.tif", "a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.npy", "a.npz", "a.zarr", "slices"],
)
def test_every_format_stores_the_record(tmp_path, name):
    labels = np.arange(24).reshape(2, 3, 4)
    like = SpatialImage(labels, (2.0, 1.0, 1.0), "um")
    if name == "slices":
        source = tmp_path / "source"
        source.mkdir()
        for z in range(2):
            tifffile.imwrite(source / f"{z}.tif", labels[z].astype(np.uint16))
        like = read(source)
    elif name == "a.zarr":
        pytest.importorskip("zarr")
    record = RunRecord(source="µ <nuclei>.tif", diameters=(13.0, 14.5), notes=("one & two",))
    write(tmp_path / name, labels, like, record)
    assert read_record(tmp_path / name) == record
    write(tmp_path / name, labels, like)
    other = (
        tmp_path / f"{name}.json"
    ).is_file()  # of a NumPy file: the record of the labels that were replaced
    assert read_record(tmp_path / name) == (record if other else None)


def test_a_record_of_a_newer_program_names_the_file(tmp_path):
    labels = np.ones((2, 3, 4), int)
    write(tmp_path / "a.npy", labels, SpatialImage(labels))
    (tmp_path / "a.npy.json").write_text('{"run_record": 99}')
    with pytest.raises(ValueError, match=r"a\.npy .*version 99"):
        read_record(tmp_path / "a.npy")


@pytest.mark.parametrize("content", ['{"subject": 7}', "[1, 2]", "caf\u00e9"])
def test_a_json_file_of_another_program_stays(tmp_path, labels, content):
    path, other = tmp_path / "a.npy", tmp_path / "a.npy.json"
    other.write_text(content, encoding="latin-1")
    before = other.read_bytes()
    scan = SpatialImage(labels)
    write(path, labels, scan)
    assert read_record(path) is None
    with pytest.raises(ValueError, match=r"would replace .*a\.npy\.json"):
        write(path, labels + 1, scan, RunRecord(nms_thresh=0.3))
    assert other.read_bytes() == before
    assert np.array_equal(read_labels(path).array, labels)
    other.unlink()
    write(path, labels, scan, RunRecord(nms_thresh=0.3))
    write(path, labels, scan, RunRecord(nms_thresh=0.3))
    write(path, labels, scan)
    assert not other.exists(), "the record of earlier labels is removed"


def test_a_comment_of_another_program_is_no_run_record(tmp_path, image):
    volume = nibabel.Nifti1Image(image.transpose(2, 1, 0), np.eye(4))
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b'{"subject": 7}'))
    nibabel.save(volume, tmp_path / "a.nii")
    assert read_record(tmp_path / "a.nii") is None
    with pytest.raises(ValueError, match="would replace the input"):
        write(tmp_path / "a.nii", image.astype(int), read(tmp_path / "a.nii"))
