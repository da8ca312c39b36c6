"""Of a large file only what is asked for is read, and no more is planned with than there is."""

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.io import scan

SERIES = np.random.default_rng(0).integers(0, 60000, (3, 4, 2, 16, 17)).astype(np.uint16)  # T Z C Y X


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{"ome": True, "compression": "zlib"}, {"ome": True}, {"imagej": True}])
def test_a_frame_of_a_tiff_is_read_without_the_others(tmp_path, monkeypatch, options, byteorder):
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    order = byteorder if "ome" in options else ">"
    tifffile.imwrite(path, SERIES, metadata={"axes": "TZCYX"}, byteorder=order, **options)
    whole = io.read(path, channel=1, frame=2)

    def all_of_it(*args, **kwargs):
        raise AssertionError("the whole series was read")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", all_of_it)
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2)  # one volume, and no more
    for channel in (0, 1):
        for frame in range(3):
            found = io.read(path, channel=channel, frame=frame).array
            assert np.array_equal(found, SERIES[frame, :, channel])
    assert np.array_equal(whole.array, SERIES[2, :, 1])
    monkeypatch.setattr(scan, "available_memory", lambda: 4 * 16 * 17 * 2 - 1)
    with pytest.raises(ValueError, match="of memory are free"):
        io.read(path, channel=0, frame=0)


def test_a_series_that_cannot_be_cut_is_read_whole(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        SERIES[:, :, 0],
        tile=(16, 16),
        volumetric=True,
        photometric="minisblack",
        metadata={"axes": "TZYX"},
    )
    assert np.array_equal(io.read(path, frame=1).array, SERIES[1, :, 0])


def test_memory_is_what_the_control_group_leaves(tmp_path, monkeypatch):
    outer, inner = tmp_path / "job", tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    for group, limit, taken, cached in ((outer, "1000000", 700000, 200000), (inner, "max", 600000, 0)):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{taken}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 7\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    monkeypatch.setattr(scan, "_GROUP", own)
    assert scan._group_memory(tmp_path) == 500000  # files that were merely read give way
    (inner / "memory.max").write_text("600100\n")
    assert scan._group_memory(tmp_path) == 100
    own.write_text("0::/nowhere\n")
    assert scan._group_memory(tmp_path) > 1 << 60


def test_a_plain_zarr_array_gives_a_plain_zarr_array(tmp_path):
    zarr = pytest.importorskip("zarr")
    image = SERIES[0, :, 0]
    for name in ("a.zarr", "store"):  # it is known by what lies in it, whatever its name
        plain = zarr.open_array(tmp_path / name, mode="w", shape=image.shape, dtype="u2")
        plain[...] = image
        plain.attrs["spacing"] = [2.0, 1.0, 1.0]
        result = io.beside(tmp_path / name)
        io.write(result, image // 2, io.read(tmp_path / name), {"objects": 3})
        back = zarr.open_array(result, mode="r")
        assert np.array_equal(back[...], image // 2)
        assert back.attrs["anystar"] == {"objects": 3}
        assert io.read_labels(result).spacing == (2.0, 1.0, 1.0)
