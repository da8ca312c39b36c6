"""Opening of TIFF files, where what tifffile only logs is an error."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anystar_torch.io.reading import readable

#: Warnings of tifffile that say nothing of the voxels: about tags of other programs and about texts.
_HARMLESS = re.compile(
    r"TiffTag|read_tags|read_utf8|read_json|coercing|GDAL|GeoKey|uic|_tags>|STK Datetime|fluoview|imagej_metadata>"
    r"|read_colormap|lsm_|olympus_ini|get_resolution|eer_xml|subfiletype|MMStack file name|SonyRaw"
)


class _Complaints(logging.Handler):
    """Collects the errors and warnings that tifffile logs while it goes on with part of a broken file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.errors: list[str] = []  # those of ``lines`` that say that the file is broken
        self.reader = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.thread != self.reader:  # another thread's file is its own affair
            return
        if record.levelno >= logging.ERROR or not _HARMLESS.search(line):
            self.lines.append(re.sub(r"^<tifffile\.Tiff\w+ [^>]*> ", "", line))
            self.errors += self.lines[-1:] if record.levelno >= logging.ERROR else []


@contextmanager
def complained(path: Path) -> Iterator[Any]:
    """Open a TIFF file; what tifffile only logs (a truncated file, missing planes) is an error here.

    Args:
        path: the file.

    Yields:
        The file, opened by tifffile.

    Raises:
        ValueError: the file is no TIFF file, or part of it is not there; one line.
    """
    import tifffile

    log, complaints = logging.getLogger("tifffile"), _Complaints()
    log.addHandler(complaints)
    try:
        with readable(path, "TIFF"), tifffile.TiffFile(path) as file:
            if not len(file.pages):
                raise ValueError("it has no pages")
            try:
                yield file
            except ValueError as error:  # of a broken file, the rest is rarely a volume
                if complaints.errors:
                    raise ValueError(complaints.errors[0]) from error
                raise
            if complaints.lines:
                raise ValueError(complaints.lines[0])
    finally:
        log.removeHandler(complaints)
