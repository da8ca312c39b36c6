"""The images among the DICOM files of a folder, and their tags."""

from pathlib import Path
from typing import Any, NamedTuple

_HEADER = 4096  # bytes at the start of a file that hold its class
_CLASS = (
    b"\x02\x00\x02\x00UI"  # MediaStorageSOPClassUID (0002,0002), always of explicit type and little-endian
)


class Image(NamedTuple):
    """A DICOM file with an image.

    Attributes:
        path: the file.
        reader: an ITK reader that has read the header.
        tags: values as text, by names such as "0020|000e".
    """

    path: Path
    reader: Any
    tags: dict[str, str]


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, or a folder holds a file that is, by the mark at byte 128.

    Args:
        path: file or folder; of a folder, the first 20 entries by name are looked at.
    """
    try:
        if path.is_dir():
            return any(is_dicom(file) for file in sorted(path.iterdir())[:20] if file.is_file())
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def images_in(folder: Path) -> list[Image]:
    """The images of a folder. Objects of other kinds, such as contours, reports and display settings, are left out.

    Args:
        folder: its inner folders are not searched.

    Raises:
        ValueError: a file is damaged, so that a slice could be missing.
    """
    found: list[Image] = []
    refused: dict[Path, ValueError] = {}
    for path in _files(folder):
        try:
            found.append(image_of(path))
        except ValueError as error:
            refused[path] = error
    kinds = {_class_of(image.path) for image in found}
    for path, reason in refused.items():
        kind = _class_of(path)
        if not found or not kind or kind in kinds:
            raise reason
    return found


def image_of(path: Path) -> Image:
    """The image of a file.

    Args:
        path: a DICOM file.

    Raises:
        ValueError: the file is damaged, or holds no image.
    """
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as DICOM: it is damaged or holds no image") from error
    return Image(path, reader, {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()})


def _files(folder: Path) -> list[Path]:
    """The DICOM files of a folder.

    Raises:
        ValueError: a file is named like them and is not one: it is damaged, and its slice would be missing.
    """
    files = sorted(
        f for f in folder.iterdir() if f.is_file() and f.name.upper() != "DICOMDIR" and f.name[0] != "."
    )
    found = [file for file in files if is_dicom(file)]
    endings = {file.suffix.lower() for file in found}
    for file in files:
        alike = file.suffix.lower() in endings and (file.suffix or any(map(str.isdigit, file.name)))
        if alike and not is_dicom(file):
            raise ValueError(f"{file} is no DICOM file, but is named like those beside it; is it damaged?")
    return found


def _class_of(path: Path) -> bytes:
    """What a DICOM file is (its SOP class), by its first bytes; empty where they do not tell."""
    with open(path, "rb") as file:
        header = file.read(_HEADER)
    at = header.find(_CLASS)
    if at < 0:
        return b""
    begin = at + len(_CLASS) + 2
    return header[begin : begin + int.from_bytes(header[begin - 2 : begin], "little")].rstrip(b"\0 ")
