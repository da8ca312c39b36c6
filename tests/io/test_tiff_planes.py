"""Planes of a TIFF stack that are not alike, or not there: the planes as each page gives them, or one line."""

import re

import numpy as np
import pytest
import tifffile

from anystar_torch import io

VOLUME = np.random.default_rng(0).integers(0, 60000, (6, 16, 32)).astype(np.uint16)
STYLES = {
    "plain": {},
    "zlib": {"compression": "zlib"},
    "predictor": {"compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 4},
    "tiles": {"tile": (16, 16), "compression": "zlib"},
    "other tiles": {"tile": (16, 32), "compression": "zlib"},
}


def _write(path, volume, styles, **options):
    """Every plane as a page of its own, stored as its style says."""
    with tifffile.TiffWriter(path, **options) as file:
        for plane, style in zip(volume, styles, strict=True):
            file.write(plane, contiguous=False, metadata=None, photometric="minisblack", **STYLES[style])


def _page_by_page(path):
    """The oracle: every page parsed and decoded by itself."""
    with tifffile.TiffFile(path) as file:
        return np.stack([tifffile.TiffPage.asarray(page) for page in file.pages])


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("number", [0, 1, 3, 5])
@pytest.mark.parametrize("style", list(STYLES)[1:])
@pytest.mark.parametrize("others", ["plain", "zlib"])
def test_a_plane_that_is_stored_otherwise_is_read_as_it_is_stored(tmp_path, number, style, others, options):
    styles = [others] * len(VOLUME)
    styles[number] = style
    _write(tmp_path / "a.tif", VOLUME, styles, **options)
    assert np.array_equal(_page_by_page(tmp_path / "a.tif"), VOLUME)
    assert np.array_equal(io.read(tmp_path / "a.tif").array, VOLUME)


def test_half_of_the_planes_may_be_stored_otherwise(tmp_path):
    for name, styles in {"halves": ["plain"] * 3 + ["zlib"] * 3, "in turn": ["plain", "tiles"] * 3}.items():
        _write(tmp_path / f"{name}.tif", VOLUME, styles)
        assert np.array_equal(io.read(tmp_path / f"{name}.tif").array, VOLUME), name


@pytest.mark.parametrize("style", list(STYLES)[1:])
def test_a_plane_of_an_ome_tiff_that_is_stored_otherwise_is_read_as_it_is_stored(tmp_path, style):
    about = (
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="16" SizeZ="3" SizeC="2"'
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0">{about} SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<Channel ID="Channel:0:1" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(VOLUME):
            kept = STYLES[style if number == 4 else "plain"]
            file.write(
                plane, contiguous=False, metadata=None, description=xml if number == 0 else None, **kept
            )
    assert np.array_equal(io.read(path, channel=0).array, VOLUME[:3])
    assert np.array_equal(io.read(path, channel=1).array, VOLUME[3:])


@pytest.mark.parametrize("style", ["strips", "tiles"])
def test_a_plane_of_an_imagej_hyperstack_may_have_other_strips(tmp_path, style):
    path = tmp_path / "a.tif"
    about = "ImageJ=1.53t\nimages=6\nchannels=2\nslices=3\nhyperstack=true\nspacing=2.0\nunit=um\n"
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(VOLUME):
            kept = STYLES[style if number == 4 else "plain"]
            description = about if number == 0 else None
            file.write(plane, contiguous=False, metadata=None, description=description, **kept)
    assert np.array_equal(io.read(path, channel=0).array, VOLUME[::2])
    assert np.array_equal(io.read(path, channel=1).array, VOLUME[1::2])


@pytest.mark.parametrize("style", STYLES)
def test_planes_that_were_appended_are_planes_of_the_stack(tmp_path, style):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[:5], photometric="minisblack")
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[5], append=True, **STYLES[style])
    assert np.array_equal(io.read(tmp_path / "a.tif").array, VOLUME)
    for plane in VOLUME:
        tifffile.imwrite(tmp_path / "b.tif", plane, append=True, **STYLES[style])
    assert np.array_equal(io.read(tmp_path / "b.tif").array, VOLUME)


def test_planes_of_other_sizes_and_number_types_are_refused(tmp_path):
    others = {
        "size": (VOLUME[3, 1:], {}, "15 x 32 uint16"),
        "transposed": (VOLUME[3].T, {}, "32 x 16 uint16"),
        "bits": (VOLUME[3].astype(np.uint8), {}, "16 x 32 uint8"),
        "floats": (VOLUME[3].astype(np.float32), {}, "16 x 32 float32"),
        "colours": (np.zeros((16, 32, 3), np.uint16), {"photometric": "rgb"}, "16 x 32 x 3 uint16"),
        "inverted": (VOLUME[3], {"photometric": "miniswhite"}, "MINISWHITE"),
    }
    for name, (plane, options, words) in others.items():
        for number in (1, 3, 5):
            path = tmp_path / f"{name} {number}.tif"
            with tifffile.TiffWriter(path) as file:
                for z in range(len(VOLUME)):
                    kept = options if z == number else {"photometric": "minisblack"}
                    file.write(plane if z == number else VOLUME[z], contiguous=False, metadata=None, **kept)
            with pytest.raises(ValueError, match=re.escape(path.name)) as refused:
                io.read(path)
            assert words in str(refused.value), name
            assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("announced", [5, 6, 7])
def test_pages_beside_those_of_an_imagej_stack_are_not_dropped(tmp_path, announced):
    about = f"ImageJ=1.53t\nimages={announced}\nslices={announced}\n"
    _write_described(tmp_path / "a.tif", VOLUME, about)
    if announced == len(VOLUME):
        assert np.array_equal(io.read(tmp_path / "a.tif").array, VOLUME)
        return
    words = "announces 5 planes and holds 6" if announced == 5 else "ImageJ series metadata invalid"
    with pytest.raises(ValueError, match=rf"a\.tif .*{words}"):
        io.read(tmp_path / "a.tif")


def test_an_imagej_stack_of_one_page_is_whole(tmp_path):
    """ImageJ writes stacks above 4 GB with tags for the first plane only."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOLUME, imagej=True, truncate=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    assert np.array_equal(io.read(path).array, VOLUME)
    path.write_bytes(path.read_bytes()[: -VOLUME[0].nbytes])
    with pytest.raises(ValueError, match=r"a\.tif"):
        io.read(path)


def _ome(planes, announced, files=None):
    """An OME description of ``announced`` planes; of a set where ``files`` names the file of every plane."""
    data = "".join(f'<TiffData IFD="{z}" FirstZ="{z}" PlaneCount="1"/>' for z in range(planes))
    if files:
        data = "".join(
            f'<TiffData IFD="{i}" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
            for z, (name, i) in enumerate(files)
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        f'{" UUID=" + chr(34) + "urn:uuid:a.ome.tif" + chr(34) if files else ""}><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="16" SizeZ="{announced}" '
        f'SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


def _write_described(path, volume, description):
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(volume):
            about = description if number == 0 else None
            file.write(plane, contiguous=False, metadata=None, description=about)


@pytest.mark.parametrize(("planes", "announced"), [(6, 8), (4, 6), (6, 5), (8, 8), (7, 6)])
def test_planes_that_an_ome_tiff_announces_and_does_not_hold_are_refused(tmp_path, planes, announced):
    path = tmp_path / "a.ome.tif"
    _write_described(path, VOLUME, _ome(planes, announced))
    with pytest.raises(ValueError, match=r"a\.ome\.tif") as refused:
        io.read(path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # tifffile leaves b.ome.tif open
def test_a_set_of_ome_tiffs_is_read_whole_or_refused(tmp_path):
    files = [("a.ome.tif", 0), ("a.ome.tif", 1), ("a.ome.tif", 2)] + [("b.ome.tif", z) for z in range(3)]
    _write_described(tmp_path / "a.ome.tif", VOLUME[:3], _ome(3, 6, files))
    _write_described(tmp_path / "b.ome.tif", VOLUME[3:], _ome(3, 6, files).replace("uuid:a.", "uuid:b.", 1))
    assert np.array_equal(io.read(tmp_path / "a.ome.tif").array, VOLUME)
    whole = (tmp_path / "b.ome.tif").read_bytes()
    for damage in (None, b"", whole[: len(whole) // 2]):
        (tmp_path / "b.ome.tif").unlink()
        if damage is not None:
            (tmp_path / "b.ome.tif").write_bytes(damage)
        with pytest.raises(ValueError, match=r"a\.ome\.tif") as refused:
            io.read(tmp_path / "a.ome.tif")
        assert len(str(refused.value).splitlines()) == 1
        (tmp_path / "b.ome.tif").touch()
    (tmp_path / "b.ome.tif").write_bytes(whole)
    (tmp_path / "b.ome.tif").rename(tmp_path / "c.ome.tif")
    with pytest.raises(
        ValueError,
        match=r"a\.ome\.tif is one file of a set: .*b\.ome\.tif .* is not there",
    ):
        io.read(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    "styles", [("plain", "zlib", "predictor"), ("plain", "strips", "zlib")], ids=" ".join
)
def test_a_plane_of_a_set_that_is_stored_otherwise_is_read_as_it_is_stored(tmp_path, styles):
    files = [("a.ome.tif", 0), ("a.ome.tif", 1), ("a.ome.tif", 2)] + [("b.ome.tif", z) for z in range(3)]
    _write_described(tmp_path / "a.ome.tif", VOLUME[:3], _ome(3, 6, files))
    with tifffile.TiffWriter(tmp_path / "b.ome.tif") as file:
        for style, plane in zip(styles, VOLUME[3:], strict=True):
            file.write(plane, contiguous=False, metadata=None, **STYLES[style])
    assert np.array_equal(io.read(tmp_path / "a.ome.tif").array, VOLUME)


def _whole_or_refused(path, length):
    """The planes that tags of a shortened file still describe are read, where their data are there; else one line."""
    try:
        found = io.read(path).array
    except ValueError as error:
        line = str(error)
    else:
        assert np.array_equal(found, VOLUME), length
        return
    assert path.name in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}], ids=str)
def test_a_file_that_ends_within_its_planes_is_refused(tmp_path, options):
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(path, VOLUME, photometric="minisblack", **options)
    whole = path.read_bytes()
    for length in range(1000, len(whole), 1000):
        path.write_bytes(whole[:length])
        _whole_or_refused(path, length)


def test_warnings_about_tags_do_not_refuse_a_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, photometric="minisblack", metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    at = content.find(b"tifffile.py")
    content[at : at + 4] = b"\xff\xfe\x80\x81"  # no text in any encoding that TIFF allows
    (tmp_path / "a.tif").write_bytes(content)
    assert np.array_equal(io.read(tmp_path / "a.tif").array, VOLUME)


@pytest.mark.parametrize(("planes", "announced"), [(4, 6), (6, 8), (8, 8)])
def test_planes_in_other_strips_that_are_not_there_are_refused(tmp_path, planes, announced):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(VOLUME):
            kept = STYLES["strips" if number == 4 else "plain"]
            about = _ome(planes, announced) if number == 0 else None
            file.write(plane, contiguous=False, metadata=None, description=about, **kept)
    with pytest.raises(ValueError, match=r"a\.ome\.tif") as refused:
        io.read(path)
    assert len(str(refused.value).splitlines()) == 1


def _only(path, planes, described):
    """A file of a set whose description lies in another file."""
    about = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:{path.name}"><BinaryOnly MetadataFile="{described}" UUID="urn:uuid:{described}"/></OME>'
    )
    _write_described(path, planes, about)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tifffile leaves a file open
@pytest.mark.parametrize("described", ["a.companion.ome", "a.ome.tif"])
def test_a_set_that_another_file_describes_is_read_whole_or_refused(tmp_path, described):
    """The planes of two files take turns, so that neither file alone is a volume. The third has the other channel."""
    files = [("b.ome.tif" if z % 2 else "a.ome.tif", z // 2) for z in range(6)] + [
        ("c.ome.tif", z) for z in range(6)
    ]
    xml = _ome(6, 6, files).replace('SizeC="1"', 'SizeC="2"').replace('FirstZ="6"', 'FirstC="1"')
    for z in range(7, 12):
        xml = xml.replace(f'FirstZ="{z}"', f'FirstC="1" FirstZ="{z - 6}"')
    xml = xml.replace("</Channel>", "").replace("<TiffData", '<Channel ID="Channel:0:1"/><TiffData', 1)
    for name, planes in (
        ("a.ome.tif", VOLUME[::2]),
        ("b.ome.tif", VOLUME[1::2]),
        ("c.ome.tif", VOLUME[::-1]),
    ):
        if name == described:
            _write_described(tmp_path / name, planes, xml)
        else:
            _only(tmp_path / name, planes, described)
    if described == "a.companion.ome":
        (tmp_path / described).write_text(xml.replace("urn:uuid:a.ome.tif", "urn:uuid:companion", 1))
    for name in ("a.ome.tif", "b.ome.tif", "c.ome.tif"):
        assert np.array_equal(io.read(tmp_path / name, channel=0).array, VOLUME), name
        assert np.array_equal(io.read(tmp_path / name, channel=1).array, VOLUME[::-1]), name
    for gone in ("b.ome.tif", described):
        (tmp_path / gone).rename(tmp_path / "elsewhere")
        with pytest.raises(
            ValueError, match=f"c.ome.tif is one file of a set: .*{gone} .*is not there"
        ) as refused:
            io.read(tmp_path / "c.ome.tif", channel=0)
        assert len(str(refused.value).splitlines()) == 1
        (tmp_path / "elsewhere").rename(tmp_path / gone)
