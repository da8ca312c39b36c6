"""TIFF: ImageJ, OME and plain, read and written; tifffile is the witness."""

import numpy as np
import pytest
import tifffile

from anystar_torch import io

SPACING = (2.0, 0.5, 0.25)


def test_imagej_tiff_keeps_spacing_and_metadata(tmp_path, image, labels):
    path = tmp_path / "a.tif"
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "micron"}
    tifffile.imwrite(path, image, imagej=True, resolution=(4, 2), metadata=about)
    scan = io.read(path)
    assert np.array_equal(scan.array, image)
    assert (scan.spacing, scan.unit) == (SPACING, "um")
    io.write(tmp_path / "b.tif", labels, scan, io.RunRecord(prob_thresh=0.4))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_imagej
        assert file.series[0].axes == "ZYX"
        assert io.RunRecord.from_json(file.imagej_metadata["Info"]).prob_thresh == 0.4
        assert file.asarray().dtype == np.uint16
    assert io.read(tmp_path / "b.tif").spacing == pytest.approx(SPACING)
    assert np.array_equal(io.read_labels(tmp_path / "b.tif").array, labels)


def test_an_imagej_stack_without_spacing_has_slices_one_unit_apart(tmp_path, image):
    """ImageJ writes ``spacing`` only where it is not 1; no unit, or no slices, and it says nothing along z."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, image, imagej=True, resolution=(5, 4), metadata={"axes": "ZYX", "unit": "\\u00B5m"}
    )
    with tifffile.TiffFile(path) as file:
        assert "spacing" not in file.imagej_metadata
    assert (io.read(path).spacing, io.read(path).unit) == ((1.0, 0.25, 0.2), "um")
    tifffile.imwrite(path, image, imagej=True, resolution=(5, 4), metadata={"axes": "ZYX"})
    assert io.read(path).spacing is None


def test_ome_tiff_keeps_units_and_chooses_a_channel(tmp_path, image, labels):
    path = tmp_path / "a.ome.tif"
    sizes = {"PhysicalSizeZ": 2000.0, "PhysicalSizeY": 500.0, "PhysicalSizeX": 250.0}
    units = {f"{name}Unit": "nm" for name in sizes}
    two = np.stack([image // 2, image])
    tifffile.imwrite(path, two, ome=True, metadata={"axes": "CZYX", **sizes, **units})
    with pytest.raises(ValueError, match=r"2 channels; choose one with channel= \(0 to 1\)"):
        io.read(path)
    scan = io.read(path, channel=1)
    assert np.array_equal(scan.array, image)
    assert scan.spacing == pytest.approx(SPACING)
    io.write(tmp_path / "b.ome.tif", labels, scan, io.RunRecord(nms_thresh=0.3))
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert 'PhysicalSizeZ="2.0"' in file.ome_metadata
        assert "nms_thresh" in file.ome_metadata
    assert io.read(tmp_path / "b.ome.tif").spacing == pytest.approx(SPACING)


def test_every_axis_of_an_ome_tiff_has_its_own_unit(tmp_path, image):
    about = {"axes": "ZYX", "PhysicalSizeZ": 2.0, "PhysicalSizeY": 500.0, "PhysicalSizeX": 250.0}
    units = {"PhysicalSizeZUnit": "µm", "PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, metadata={**about, **units})
    scan = io.read(tmp_path / "a.ome.tif")
    assert (scan.spacing, scan.unit) == (pytest.approx(SPACING), "um")
    units["PhysicalSizeZUnit"] = "pixel"
    tifffile.imwrite(tmp_path / "b.ome.tif", image, ome=True, metadata={**about, **units})
    assert io.read(tmp_path / "b.ome.tif").spacing is None


def test_plain_stacks_are_zyx_without_spacing(tmp_path, image):
    tifffile.imwrite(tmp_path / "shaped.tif", image)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for plane in image:
            file.write(plane, metadata=None, contiguous=False)
    for name in ("shaped.tif", "pages.tif"):
        scan = io.read(tmp_path / name)
        assert np.array_equal(scan.array, image)
        assert scan.spacing is None


@pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
def test_a_single_slice_is_a_volume_again(tmp_path, labels, ending):
    made = io.RunRecord()
    io.write(tmp_path / f"a{ending}", labels[:1], io.SpatialImage(labels, SPACING, "um"), made)
    with tifffile.TiffFile(tmp_path / f"a{ending}") as file:
        assert file.series[0].axes == "YX"
    back = io.read_labels(tmp_path / f"a{ending}")
    assert np.array_equal(back.array, labels[:1])
    assert back.spacing == pytest.approx(SPACING)
    series = np.stack([labels[:1], labels[1:2]])
    io.write(tmp_path / f"b{ending}", series, io.SpatialImage(labels), made)
    assert io.frames(tmp_path / f"b{ending}") == 2
    assert np.array_equal(io.read(tmp_path / f"b{ending}", frame=1).array, labels[1:2])


def test_a_tiff_of_one_slice_with_a_spacing_is_a_volume_and_an_image_is_none(tmp_path, image):
    tifffile.imwrite(tmp_path / "a.tif", image[:1], imagej=True, metadata={"axes": "ZYX", "spacing": 2.0})
    assert np.array_equal(io.read(tmp_path / "a.tif").array, image[:1])
    for kind in ("imagej", "ome"):
        tifffile.imwrite(tmp_path / f"{kind}.tif", image[0], **{kind: True})
        with pytest.raises(ValueError, match="2D image"):
            io.read(tmp_path / f"{kind}.tif")


def test_of_several_positions_none_is_taken_silently(tmp_path, image):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(image, metadata={"axes": "ZYX"})
        file.write(image + 1, metadata={"axes": "ZYX"})
    for read in (io.read, io.frames):
        with pytest.raises(ValueError, match=r"a\.ome\.tif has 2 scenes .*; choose one with scene="):
            read(path)


def test_of_several_positions_one_is_chosen_with_its_own_voxel_size(tmp_path, image):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(3):
            sizes = {f"PhysicalSize{axis}": 0.5 + number for axis in "ZYX"}
            file.write(image + number, metadata={"axes": "ZYX", "Name": f"position {number}", **sizes})
    for number in range(3):
        for scene in (str(number), f"position {number}"):
            found = io.read(path, scene=scene)
            assert np.array_equal(found.array, image + number)
            assert found.spacing == (0.5 + number,) * 3
    with pytest.raises(ValueError, match="no scene 3; it has position 0, position 1, position 2"):
        io.read(path, scene="3")
    tifffile.imwrite(tmp_path / "b.tif", image)
    assert np.array_equal(io.read(tmp_path / "b.tif", scene="0").array, image)
    with pytest.raises(ValueError, match="has one scene, got scene=1"):
        io.read(tmp_path / "b.tif", scene="1")


def test_time_points_are_chosen_by_frame(tmp_path, image):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.stack([image, image + 1, image]), imagej=True, metadata={"axes": "TZYX"})
    assert np.array_equal(io.read(path, frame=1).array, image + 1)
    with pytest.raises(ValueError, match="choose 0 to 2"):
        io.read(path, frame=3)


@pytest.mark.parametrize("spacing", [None, SPACING])
def test_labels_of_one_slice_are_a_volume_again(tmp_path, spacing):
    labels = np.eye(6, dtype=np.uint16)[None]
    for name in ("a.tif", "a.ome.tif"):
        like = io.SpatialImage(labels, spacing, "um" if spacing else "")
        io.write(tmp_path / name, labels, like, io.RunRecord() if "ome" in name else None)
        found = io.read_labels(tmp_path / name)
        assert np.array_equal(found.array, labels)
        assert found.spacing == (None if spacing is None else pytest.approx(spacing))


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits", "lzma"])
def test_compressions_of_other_programs(tmp_path, image, compression):
    tifffile.imwrite(tmp_path / "a.tif", image, compression=compression, photometric="minisblack")
    assert np.array_equal(io.read(tmp_path / "a.tif").array, image)


@pytest.mark.parametrize("ome", [True, False])
def test_of_a_pyramid_the_finest_level_is_read(tmp_path, ome):
    image = np.random.default_rng(0).integers(0, 60000, (4, 20, 24)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=ome) as file:
        file.write(image, subifds=1, photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(image[:, ::2, ::2], subfiletype=1, photometric="minisblack")
    assert np.array_equal(io.read(tmp_path / "a.tif").array, image)
