"""Round trips through every format, read back with the format's own library."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

from anystar_torch import io
from anystar_torch.geometry.rays import Rays
from tests.io.conftest import SHAPE

SPACING = (2.0, 0.5, 0.25)
RECORD = io.RunRecord(nms_thresh=0.3)


def _write_nifti(path, image, affine, unit="mm"):
    nifti = nibabel.Nifti1Image(image.transpose(2, 1, 0), affine)
    nifti.header.set_xyzt_units(unit)
    nibabel.save(nifti, path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_keeps_affine_and_orientation(tmp_path, image, labels, ending):
    affine = np.array([[0, 0.25, 0, -3], [-0.5, 0, 0, 4], [0, 0, 2.0, 5], [0, 0, 0, 1.0]])
    _write_nifti(tmp_path / f"a{ending}", image.astype(np.int16), affine)
    scan = io.read(tmp_path / f"a{ending}")
    assert np.array_equal(scan.array, image.astype(np.int16))
    assert scan.spacing == pytest.approx((2000, 250, 500))
    io.write(
        tmp_path / f"b{ending}", labels, scan, io.RunRecord(prob_thresh=0.4, nms_thresh=0.3, diameters=(9.0,))
    )
    back = nibabel.load(tmp_path / f"b{ending}")
    assert np.array_equal(back.affine, affine)
    assert np.array_equal(np.asanyarray(back.dataobj), labels.transpose(2, 1, 0))
    assert b"prob 0.4 nms 0.3" in back.header["descrip"].tobytes()
    assert json.loads(back.header.extensions[0].text)["diameters"] == [9]
    assert back.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("unit", "size", "factor"), [("micron", 1, 1), ("unknown", 1, 1000), ("meter", 1e-3, 1e6)]
)
def test_nifti_units(tmp_path, image, unit, size, factor):
    _write_nifti(tmp_path / "a.nii", image, np.diag([0.25 * size, 0.5 * size, 2 * size, 1]), unit)
    assert io.read(tmp_path / "a.nii").spacing == pytest.approx([s * size * factor for s in SPACING])


def test_scaled_nifti_is_read_in_its_units(tmp_path):
    values = np.linspace(-3, 5, 27, dtype=np.float32).reshape(3, 3, 3)
    nifti = nibabel.Nifti1Image(values, np.eye(4))
    nifti.set_data_dtype(np.int16)
    nibabel.save(nifti, tmp_path / "a.nii.gz")
    assert io.read(tmp_path / "a.nii.gz").array.transpose(2, 1, 0) == pytest.approx(values, abs=1e-3)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_formats_keep_direction(tmp_path, image, labels, ending):
    source = SimpleITK.GetImageFromArray(image)
    source.SetSpacing(SPACING[::-1])
    source.SetOrigin((1, 2, 3))
    source.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(source, str(tmp_path / f"a{ending}"))
    scan = io.read(tmp_path / f"a{ending}")
    assert np.array_equal(scan.array, image)
    assert scan.spacing == pytest.approx([s * 1000 for s in SPACING])
    io.write(tmp_path / f"b{ending}", labels, scan, RECORD)
    back = SimpleITK.ReadImage(str(tmp_path / f"b{ending}"))
    assert back.GetDirection() == source.GetDirection()
    assert back.GetOrigin() == source.GetOrigin()
    assert back.GetMetaData("anystar") == RECORD.to_json()
    assert np.array_equal(SimpleITK.GetArrayFromImage(back), labels)


def _lies_as(path, other):
    """Whether ITK, which reads both formats, puts two volumes at one place."""
    here, there = SimpleITK.ReadImage(str(path)), SimpleITK.ReadImage(str(other))
    assert here.GetSpacing() == pytest.approx(there.GetSpacing())
    assert here.GetOrigin() == pytest.approx(there.GetOrigin(), abs=1e-5)
    assert here.GetDirection() == pytest.approx(there.GetDirection(), abs=1e-5)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("unit", ["mm", "micron"])
def test_place_and_direction_survive_from_nifti_to_itk_and_back(tmp_path, image, labels, ending, unit):
    angle = np.pi / 6
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned * SPACING[::-1], (-3, 4, 5)
    _write_nifti(tmp_path / "a.nii", image, affine, unit)
    scan = io.read(tmp_path / "a.nii")
    io.write(tmp_path / f"b{ending}", labels, scan)
    _lies_as(tmp_path / f"b{ending}", tmp_path / "a.nii")
    io.write(tmp_path / "c.nii.gz", labels, io.read(tmp_path / f"b{ending}"))
    _lies_as(tmp_path / "c.nii.gz", tmp_path / "a.nii")


def test_a_frame_lies_where_its_series_does(tmp_path, image, labels):
    one = SimpleITK.GetImageFromArray(image)
    one.SetSpacing(SPACING[::-1])
    one.SetOrigin((1, 2, 3))
    one.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(one, str(tmp_path / "one.nrrd"))
    series = SimpleITK.JoinSeries([one, one])
    SimpleITK.WriteImage(series, str(tmp_path / "series.nrrd"))
    scan = io.read(tmp_path / "series.nrrd", frame=1)
    io.write(tmp_path / "frame.nrrd", labels, scan)
    _lies_as(tmp_path / "frame.nrrd", tmp_path / "one.nrrd")
    io.write(tmp_path / "both.nrrd", np.stack([labels, labels]), scan)
    _lies_as(tmp_path / "both.nrrd", tmp_path / "series.nrrd")


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_numpy_and_its_sidecar(tmp_path, image, labels, ending):
    source = tmp_path / f"a{ending}"
    np.save(source, image) if ending == ".npy" else np.savez(source, image)
    scan = io.read(source)
    assert np.array_equal(scan.array, image)
    io.write(tmp_path / f"b{ending}", labels, scan, RECORD)
    assert io.RunRecord.from_json((tmp_path / f"b{ending}.json").read_text()) == RECORD
    assert np.array_equal(io.read_labels(tmp_path / f"b{ending}").array, labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [None, (3.0, 2.0, 1.0)])
def test_axes_beyond_nifti_1_are_written_as_nifti_2(tmp_path, axis, spacing):
    shape = [1, 1, 1]
    shape[axis] = 32768
    labels = np.arange(32768, dtype=np.uint16).reshape(shape)
    like = io.SpatialImage(labels, spacing, "um" if spacing else "")
    io.write(tmp_path / "a.nii.gz", labels, like)
    stored = nibabel.load(tmp_path / "a.nii.gz")
    assert isinstance(stored, nibabel.Nifti2Image)
    assert np.array_equal(np.asarray(stored.dataobj).transpose(2, 1, 0), labels)
    assert io.read(tmp_path / "a.nii.gz").spacing == (spacing and pytest.approx(spacing))


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz"])
def test_endings_may_be_upper_case(tmp_path, labels, ending):
    scan = io.SpatialImage(labels, SPACING, "um")
    io.write(tmp_path / f"lower{ending}", labels, scan)
    path = (tmp_path / f"lower{ending}").rename(tmp_path / f"A{ending.upper()}")
    assert np.array_equal(io.read(path).array, labels)
    io.write(io.beside(path), labels, scan)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"A.labels{ending.upper()}"]
    (tmp_path / f"A.labels{ending.upper()}").rename(tmp_path / f"back{ending}")
    back = io.read_labels(tmp_path / f"back{ending}")
    assert np.array_equal(back.array, labels)
    assert back.spacing == (None if ending in (".npy", ".npz") else pytest.approx(SPACING))


@pytest.mark.parametrize("ending", [".tif", ".nii.gz", ".nrrd", ".npy"])
def test_many_labels_survive(tmp_path, ending):
    labels = np.arange(70000, dtype=np.int32).reshape(7, 100, 100)
    path = tmp_path / f"many{ending}"
    io.write(path, labels, io.SpatialImage(labels, SPACING, "um"))
    assert np.array_equal(io.read_labels(path).array, labels)


def test_every_format_can_become_every_other(tmp_path, labels):
    scan = io.SpatialImage(labels, SPACING, "um")
    for first in (".tif", ".ome.tif", ".nii.gz", ".nrrd", ".mha"):
        io.write(tmp_path / f"a{first}", labels, scan)
        for second in (".tif", ".ome.tif", ".nii", ".nrrd", ".mha", ".npy"):
            io.write(tmp_path / f"b{second}", labels, io.read(tmp_path / f"a{first}"))
            back = io.read_labels(tmp_path / f"b{second}")
            assert np.array_equal(back.array, labels)
            if second != ".npy":
                assert back.spacing == pytest.approx(SPACING), (first, second)


def test_names_of_results():
    assert io.beside(Path("x/nuclei.ome.tif")) == Path("x/nuclei.labels.ome.tif")
    assert io.beside(Path("big.ome.zarr")) == Path("big.labels.ome.zarr")
    assert io.beside(Path("scan.nii.gz"), "points") == Path("scan.points.nii.gz")
    assert io.kind_of(Path("a.b.TIFF")) == ".tiff"
    assert io.kind_of(Path(".tif")) is None
    assert io.beside(Path("scan.MHD")) == Path("scan.labels.mha")


def test_a_header_with_its_data_beside_it_is_read_and_never_written(tmp_path, image, labels):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image), str(tmp_path / "a.mhd"))
    scan = io.read(tmp_path / "a.mhd")
    assert np.array_equal(scan.array, image)
    with pytest.raises(ValueError, match=r"b\.mhd: \.mhd is only read; name it \.mha"):
        io.write(tmp_path / "b.mhd", labels, scan)
    io.write(io.beside(tmp_path / "a.mhd"), labels, scan)
    back = SimpleITK.ReadImage(str(tmp_path / "a.labels.mha"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(back), labels)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.labels.mha", "a.mhd", "a.raw"]


def test_zarr_arrays_and_ome_images(tmp_path, image, labels):
    zarr = pytest.importorskip("zarr")
    plain = zarr.open_array(tmp_path / "plain.zarr", mode="w", shape=SHAPE, chunks=(2, 3, 4), dtype="u2")
    plain[...] = image
    assert np.array_equal(io.read(tmp_path / "plain.zarr").array, image)
    io.write(tmp_path / "labels.zarr", labels, io.SpatialImage(image, SPACING, "um"), RECORD)
    back = io.read_labels(tmp_path / "labels.zarr")
    assert np.array_equal(back.array, labels)
    assert (back.spacing, back.unit) == (SPACING, "um")
    group = zarr.open_group(tmp_path / "labels.zarr", mode="r")
    assert group.attrs["anystar"] == json.loads(RECORD.to_json())
    assert [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]] == ["z", "y", "x"]
    io.write(tmp_path / "labels.zarr", labels + 1, back)
    assert io.read_labels(tmp_path / "labels.zarr").array.min() == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.zarr", "plain.zarr"]


def test_an_ome_zarr_with_channels_and_time(tmp_path, image):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    array = group.create_array("s0", shape=(3, 2, *SHAPE), chunks=(1, 1, *SHAPE), dtype="u2")
    array[1, 1] = image
    axes = [{"name": n, "unit": "nanometer"} if n in "zyx" else {"name": n} for n in "tczyx"]
    scale = {"type": "scale", "scale": [1, 1, 2000, 500, 250]}
    datasets = [{"path": "s0", "coordinateTransformations": [scale]}]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    scan = io.read(tmp_path / "a.zarr", channel=1, frame=1)
    assert np.array_equal(scan.array, image)
    assert scan.spacing == pytest.approx(SPACING)
    assert io.frames(tmp_path / "a.zarr") == 3
    with pytest.raises(ValueError, match="2 channels"):
        io.read(tmp_path / "a.zarr", frame=0)


def test_scales_of_an_ome_zarr_are_multiplied_and_every_axis_has_its_own_unit(tmp_path, image):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=image)
    units = {"z": "micrometer", "y": "nanometer", "x": "nanometer"}
    axes = [{"name": name, "type": "space", "unit": unit} for name, unit in units.items()]
    own = [{"type": "scale", "scale": [1, 250, 250]}, {"type": "translation", "translation": [7, 7, 7]}]
    image_wide = [{"type": "scale", "scale": [2, 2, 1]}]
    datasets = [{"path": "0", "coordinateTransformations": own}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": datasets, "coordinateTransformations": image_wide}
    ]
    scan = io.read(tmp_path / "a.zarr")
    assert (scan.spacing, scan.unit) == (pytest.approx(SPACING), "um")


def test_a_folder_of_slices_is_a_volume_in_the_order_of_its_numbers(tmp_path, image):
    folder = tmp_path / "slices"
    folder.mkdir()
    big = np.concatenate([image, image + 1, image + 2])
    for z, plane in enumerate(big):
        tifffile.imwrite(folder / f"z{z}.tif", plane)
    assert io.is_volume(folder)
    assert np.array_equal(io.read(folder).array, big)
    tifffile.imwrite(folder / "z15.tif", big[0, 1:])
    with pytest.raises(ValueError, match=r"z15\.tif is 6 x 9"):
        io.read(folder)
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in "ab":
        tifffile.imwrite(volumes / f"{name}.tif", image)
    assert not io.is_volume(volumes)


def test_meshes_are_closed_and_lie_where_the_object_is(tmp_path):
    rays = Rays.golden_spiral(96)
    corners = [(5 * rays.vertices.numpy() + [10, 20, 30])[:, ::-1].astype(np.float32) for _ in range(2)]
    io.write_meshes(tmp_path / "scene.ply", corners, rays.faces.numpy())
    io.write_meshes(tmp_path / "each", corners, rays.faces.numpy())
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == ["00001.ply", "00002.ply"]
    io.write_meshes(tmp_path / "each", corners[:1], rays.faces.numpy())
    assert [p.name for p in (tmp_path / "each").iterdir()] == ["00001.ply"]
    (tmp_path / "each" / "notes.txt").touch()
    with pytest.raises(ValueError, match="it is a folder with other content"):
        io.write_meshes(tmp_path / "each", corners, rays.faces.numpy())
    content = (tmp_path / "scene.ply").read_bytes()
    header, _, body = content.partition(b"end_header\n")
    assert b"element vertex 192" in header
    assert b"element face 376" in header
    points = np.frombuffer(body, "<f4", 192 * 3).reshape(-1, 3)
    assert points.mean(0) == pytest.approx([30, 20, 10], abs=0.2)
    records = np.frombuffer(body, [("n", "u1"), ("c", "<i4", 3)], offset=192 * 12)
    assert (records["n"] == 3).all()
    a, b, c = (points[records["c"][:, i]].astype(float) for i in range(3))
    volume = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6  # positive: outward in (x, y, z)
    assert volume == pytest.approx(2 * 4 / 3 * np.pi * 125, rel=0.08)
