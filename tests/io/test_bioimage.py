"""Microscope formats through bioio, tested on CZI and LIF files that are written here."""

import logging
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.bioimage import scene_number

SERIES = np.random.default_rng(0).integers(0, 60000, (2, 3, 5, 16, 32)).astype(np.uint16)  # T C Z Y X


def write_czi(path, series=SERIES, scenes=1):
    """A CZI file, T C Z Y X; every scene is one grey value brighter."""
    pytest.importorskip("bioio_czi")
    writer = pytest.importorskip("pylibCZIrw").czi
    with writer.create_czi(str(path)) as file:
        for scene in range(scenes):
            for t, c, z in np.ndindex(series.shape[:3]):
                plane = series[t, c, z][..., None] + np.uint16(scene)
                file.write(plane, plane={"T": t, "C": c, "Z": z}, scene=scene, location=(100 * scene, 0))
        file.write_metadata(document_name="a", scale_x=0.25e-6, scale_y=0.5e-6, scale_z=2e-6)
    return path


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of bioio's libraries, about themselves
def test_a_czi_is_read_with_its_axes_and_voxel_size(tmp_path):
    path = write_czi(tmp_path / "a.czi")
    assert io.frames(path) == 2
    for frame in range(2):
        for channel in range(3):
            found = io.read(path, frame=frame, channel=channel)
            assert np.array_equal(found.array, SERIES[frame, channel])
            assert (found.spacing, found.unit) == (pytest.approx((2.0, 0.5, 0.25)), "um")
    with pytest.raises(ValueError, match="3 channels"):
        io.read(path, frame=0)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_scenes_of_a_czi_that_its_metadata_do_not_describe_are_not_dropped(tmp_path):
    path = write_czi(tmp_path / "a.czi", scenes=2)
    with pytest.raises(ValueError, match=r"a\.czi holds 2 scenes, and its metadata describe 1"):
        io.read(path, frame=0, channel=0)


def _described(path, scenes):
    """A CZI file with new metadata behind it that name its scenes, as those of ZEN do."""
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<q", content, 92)
    (size,) = struct.unpack_from("<i", content, at + 32)
    listed = "".join(f'<Scene Index="{number}" Name="{name}"/>' for number, name in enumerate(scenes))
    listed = f"<Dimensions><S><Scenes>{listed}</Scenes></S></Dimensions></Image>"
    xml = re.sub("</Image>", listed, content[at + 288 : at + 288 + size].decode(), count=1).encode()
    allocated = -(-(256 + len(xml)) // 32) * 32
    segment = b"ZISRAWMETADATA".ljust(16, b"\0") + struct.pack("<qq", allocated, 256 + len(xml))
    segment += struct.pack("<ii", len(xml), 0).ljust(256, b"\0") + xml
    content += b"\0" * (-len(content) % 32)
    struct.pack_into("<q", content, 92, len(content))
    path.write_bytes(content + segment.ljust(32 + allocated, b"\0"))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_scenes_of_a_czi_are_chosen_by_name_and_number(tmp_path):
    path = write_czi(tmp_path / "a.czi", SERIES[:, :1], scenes=2)
    _described(path, ["left", "right"])
    with pytest.raises(ValueError, match=r"2 scenes \(left, right\); choose one with scene="):
        io.read(path, frame=0)
    for scene, number in (("left", 0), ("right", 1), ("0", 0), ("1", 1)):
        assert np.array_equal(io.read(path, frame=1, scene=scene).array, SERIES[1, 0] + number)
        assert io.frames(path, scene=scene) == 2
    with pytest.raises(ValueError, match="no scene middle"):
        io.read(path, frame=0, scene="middle")


def _lif_image(name, series):
    """The XML element of an image [T, C, Z, Y, X] in a LIF file. Lengths are from the first voxel to the last."""
    t, c, z, y, x = series.shape
    plane = 2 * x * y
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" '
        f'Max="65535" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{number * plane}" BitInc="0"/>'
        for number in range(c)
    )
    sides = [
        (1, x, 0.25e-6, 2, "m"),
        (2, y, 0.5e-6, 2 * x, "m"),
        (3, z, 2e-6, c * plane, "m"),
        (4, t, 1, z * c * plane, "s"),
    ]
    dimensions = "".join(
        f'<DimensionDescription DimID="{which}" NumberOfElements="{size}" Origin="0" Length="{(size - 1) * step!r}" '
        f'Unit="{unit}" BytesInc="{increment}" BitInc="0"/>'
        for which, size, step, increment, unit in sides
    )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{series.nbytes}" MemoryBlockID="MemBlock_{name}"/></Element>'
    )


def write_lif(path, images):
    """A LIF file of version 2 by Leica's description: a block of XML, then a block of voxels for every image."""
    inner = "".join(_lif_image(name, series) for name, series in images.items())
    xml = (
        f'<LMSDataContainerHeader Version="2"><Element Name="a"><Data/><Memory Size="0" MemoryBlockID="MemBlock_0"/>'
        f"<Children>{inner}</Children></Element></LMSDataContainerHeader>"
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
    for name, series in {"0": np.empty((0, 0, 0, 0, 0), np.uint16), **images}.items():
        block = f"MemBlock_{name}"
        content += struct.pack("<IIBQBI", 0x70, 2 * len(block) + 14, 0x2A, series.nbytes, 0x2A, len(block))
        content += block.encode("utf-16-le") + series.transpose(0, 2, 1, 3, 4).astype("<u2").tobytes()
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore")
def test_a_lif_is_read_with_its_axes_voxel_size_and_scenes(tmp_path):
    pytest.importorskip("bioio_lif")
    path = tmp_path / "a.lif"
    write_lif(path, {"left": SERIES, "right": SERIES[:1, :1] + 1})
    with pytest.raises(ValueError, match=r"2 scenes \(left, right\)"):
        io.read(path, frame=0, channel=0)
    assert io.scenes(path) == ("left", "right")
    assert io.frames(path, scene="left") == 2
    for frame, channel in np.ndindex(2, 3):
        found = io.read(path, frame=frame, channel=channel, scene="left")
        assert np.array_equal(found.array, SERIES[frame, channel])
        assert (found.spacing, found.unit) == (pytest.approx((2.0, 0.5, 0.25)), "um")
    assert np.array_equal(io.read(path, scene="right").array, SERIES[0, 0] + 1)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"a\.lif"):
        io.read(path, scene="right")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", [".czi", ".lif", ".nd2", ".oir"])
def test_what_is_no_microscope_file_is_one_line(tmp_path, capsys, monkeypatch, ending):
    pytest.importorskip("bioio")
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program that does not set up logging
    path = tmp_path / f"a{ending}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match=f"a{ending}") as refused:
        io.read(path)
    assert len(str(refused.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(ImportError, match=r"pip install 'anystar_torch\[formats\]'"):
        io.read(tmp_path / "a.czi")


def test_labels_of_microscope_files_are_ome_tiffs(tmp_path):
    assert io.beside(Path("x/a.czi")) == Path("x/a.labels.ome.tif")
    with pytest.raises(ValueError, match=r"\.czi is only read; name it \.ome\.tif"):
        io.writer(tmp_path / "b.czi", None)


@pytest.mark.parametrize(("scene", "number"), [("b", 1), ("2", 2), ("0", 0), ("1", 1)])
def test_scenes_by_name_and_number(scene, number):
    assert scene_number(scene, ["a", "b", "c"], Path("x")) == number
