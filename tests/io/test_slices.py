"""Folders of 2D images: the volume in the order of its numbers, or one line."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from anystar_torch import io

VOLUME = np.random.default_rng(0).integers(0, 60000, (12, 8, 9)).astype(np.uint16)


def _folder(path, names, planes=VOLUME):
    path.mkdir()
    for name, plane in zip(names, planes, strict=False):
        if name.endswith(".png"):
            Image.fromarray(plane).save(path / name)
        else:
            tifffile.imwrite(path / name, plane)
    return path


@pytest.mark.parametrize(
    "pattern",
    [
        "{}.tif",
        "z{}.tif",
        "z{:03}.tif",
        "im.{}.png",
        "2024-05-01_s2_{}.TIF",
        "img_{}.tiff",
        "plane{}_488nm.tif",
    ],
)
def test_slices_are_sorted_by_their_numbers(tmp_path, pattern):
    numbers = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    folder = _folder(tmp_path / "a", [pattern.format(number) for number in numbers])
    assert io.is_volume(folder)
    assert np.array_equal(io.read(folder).array, VOLUME)


def test_numbers_may_count_in_equal_steps(tmp_path):
    folder = _folder(tmp_path / "a", [f"{50 * z}um.tif" for z in range(12)])
    assert np.array_equal(io.read(folder).array, VOLUME)


def test_numbers_may_count_channels_and_time_points_as_well(tmp_path):
    names = [f"t{t}_z{z}_ch{c}.tif" for t in range(2) for c in range(2) for z in range(3)]
    folder = _folder(tmp_path / "a", names)
    volume = VOLUME.reshape(2, 2, 3, 8, 9)
    assert io.frames(folder) == 2
    for t in range(2):
        for c in range(2):
            assert np.array_equal(io.read(folder, frame=t, channel=c).array, volume[t, c])
    with pytest.raises(ValueError, match="a has 2 channels"):
        io.read(folder, frame=0)
    (folder / "t1_z2_ch0.tif").unlink()
    with pytest.raises(ValueError, match="no image of t 1, z 2, c 0; 1 of 12 images are missing"):
        io.read(folder, frame=0, channel=0)


def test_numbers_that_do_not_say_what_they_count_are_asked_for(tmp_path):
    folder = _folder(tmp_path / "a", [f"{a}-{b}.tif" for a in range(3) for b in range(4)])
    with pytest.raises(ValueError, match="axes="):
        io.read(folder)
    assert np.array_equal(io.read(folder, axes="CZYX", channel=2).array, VOLUME[8:])
    assert np.array_equal(io.read(folder, axes="ZTYX", frame=1).array, VOLUME[1::4])
    movie = _folder(tmp_path / "b", [f"frame{t}.tif" for t in range(12)])
    with pytest.raises(ValueError, match='set axes="ZYX"'):
        io.read(movie)
    assert np.array_equal(io.read(movie, axes="ZYX").array, VOLUME)


REFUSED = {
    "a gap": ([f"z{z}.tif" for z in range(12) if z != 5], "no image of z 5"),
    "a large gap": ([*(f"z{z}.tif" for z in range(11)), "z40.tif"], "no image of z 11"),
    "a projection": ([*(f"z{z}.tif" for z in range(11)), "MAX_z.tif"], "1 like MAX_z.tif"),
    "channels by name": ([f"{c}_{z}.tif" for z in range(6) for c in ("DAPI", "GFP")], "6 like GFP_0.tif"),
    "no numbers": ([f"{letter}.tif" for letter in "abcdefghijkl"], "differ in more than a number"),
    "one number twice": ([*(f"z{z}.tif" for z in range(11)), "z03.tif"], "have the same number"),
    "two formats": ([*(f"z{z}.tif" for z in range(11)), "z10.png"], "have the same number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_folders_without_one_order_are_refused(tmp_path, kind):
    names, words = REFUSED[kind]
    folder = _folder(tmp_path / "a", names)
    with pytest.raises(ValueError, match=words) as refused:
        io.read(folder)
    assert len(str(refused.value).splitlines()) == 1
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    "odd", [VOLUME[0, 1:], VOLUME[0].astype(np.uint8), VOLUME[:2], np.zeros((8, 9, 3), np.uint8)]
)
def test_images_of_other_sizes_and_kinds_are_refused(tmp_path, odd):
    for number in (1, 5, 10):
        folder = _folder(tmp_path / str(number), [f"z{z:02}.tif" for z in range(12)])
        tifffile.imwrite(folder / f"z{number:02}.tif", odd)
        with pytest.raises(ValueError, match=f"z{number:02}.tif"):
            io.read(folder)


def test_hidden_files_are_no_slices(tmp_path):
    folder = _folder(tmp_path / "a", [f"z{z}.tif" for z in range(12)])
    (folder / "._z3.tif").write_bytes(b"what macOS leaves")
    assert np.array_equal(io.read(folder).array, VOLUME)


def test_volumes_of_a_folder_are_sorted_by_their_numbers(tmp_path):
    for number in (1, 2, 10):
        tifffile.imwrite(tmp_path / f"cell{number}.tif", VOLUME)
    assert [path.name for path in io.volumes(tmp_path)] == ["cell1.tif", "cell2.tif", "cell10.tif"]


SERIES = VOLUME.reshape(2, 6, 8, 9) % 7
NAMED = {
    "time first": ("img_t{t:02d}_z{z:03d}.tif", ""),
    "z first": ("img_z{z:03d}_t{t:02d}.png", ""),
    "channels as well": ("t{t}_z{z}_ch{c}.tif", "own"),
    "numbers without words": ("{t}-{z}.tif", "own"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_labels_of_a_time_series_are_one_image_per_time_point_and_slice(tmp_path, kind):
    pattern, own = NAMED[kind]
    channels = 2 if "{c}" in pattern else 1
    images = {
        pattern.format(t=t, z=z, c=c): plane
        for t, volume in enumerate(SERIES)
        for z, plane in enumerate(volume)
        for c in range(channels)
    }
    folder = _folder(tmp_path / "a", images, list(images.values()))
    axes = "TZYX" if kind == "numbers without words" else None
    found = io.read(folder, frame=1, channel=0 if channels > 1 else None, axes=axes)
    assert np.array_equal(found.array, SERIES[1])
    io.write(tmp_path / "b", SERIES, found, io.RunRecord(prob_thresh=0.5))
    names = [f"t{t:03d}_z{z:05d}" for t in range(2) for z in range(6)] if own else [n[:-4] for n in images]
    written = sorted(path.name for path in (tmp_path / "b").iterdir() if path.suffix == ".tif")
    assert written == sorted(f"{name}.tif" for name in names)
    assert io.frames(tmp_path / "b") == 2
    for t in range(2):
        assert np.array_equal(io.read_labels(tmp_path / "b", frame=t).array, SERIES[t])
    assert io.read_record(tmp_path / "b").prob_thresh == 0.5


@pytest.mark.parametrize("slices", [3, 4])
def test_labels_of_few_slices_and_rows_do_not_become_colours(tmp_path, slices):
    series = np.random.default_rng(0).integers(0, 9, (2, slices, 3, 4)).astype(np.uint16)
    io.write(tmp_path / "b", series, _source(tmp_path, series))
    for t in range(2):
        assert np.array_equal(io.read_labels(tmp_path / "b", frame=t).array, series[t])


def _source(folder, series):
    names = [f"t{t}_z{z}.tif" for t in range(len(series)) for z in range(series.shape[1])]
    return io.read(_folder(folder / "a", names, series.reshape(-1, *series.shape[2:])), frame=0)


def _colour(path, image):
    if path.suffix == ".tif":
        tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack")
    else:
        Image.fromarray(image).save(path)


@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg", ".JPEG"])
@pytest.mark.parametrize("samples", [3, 4])
def test_slices_in_colour_are_refused_as_such(tmp_path, ending, samples):
    if samples == 4 and ending.lower().startswith(".jp"):
        pytest.skip("JPEG holds no fourth number")
    for z in range(4):
        _colour(tmp_path / f"z{z}{ending}", np.full((40, 50, samples), 9, np.uint8))
    assert not io.is_volume(tmp_path), "labels would replace the folder"
    with pytest.raises(ValueError, match="colour") as refused:
        io.read(tmp_path)
    message = str(refused.value)
    assert str(tmp_path) in message
    assert "one number per pixel" in message
    assert len(message.splitlines()) == 1


def test_grey_jpegs_are_refused_as_what_they_are(tmp_path):
    for z in range(4):
        _colour(tmp_path / f"z{z}.jpg", np.full((40, 50), 9, np.uint8))
    with pytest.raises(ValueError, match="JPEG") as refused:
        io.read(tmp_path)
    assert "colour" not in str(refused.value)
    assert "TIFF or PNG" in str(refused.value)


def test_a_folder_of_volumes_with_pictures_beside_them_is_no_volume(tmp_path):
    for name in ("a", "b"):
        planes = {
            "photometric": "rgb",
            "planarconfig": "separate",
        }  # as tifffile stores three slices by default
        tifffile.imwrite(tmp_path / f"{name}.tif", VOLUME[:3], **planes)
        _colour(tmp_path / f"{name}.jpg", np.full((40, 50, 3), 9, np.uint8))
    assert not io.is_volume(tmp_path)


@pytest.mark.parametrize("names", [("figure.jpg", "scheme.jpg"), ("fig1.jpg", "fig3.jpg", "fig4.jpg")])
def test_pictures_that_are_no_slices_are_no_volume(tmp_path, names):
    for name in names:
        _colour(tmp_path / name, np.full((40, 50, 3), 9, np.uint8))
    assert not io.is_volume(tmp_path)
