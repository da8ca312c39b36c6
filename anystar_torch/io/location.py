"""Places of Zarr stores and files: paths, and URLs of object storage or of a web server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from anystar_torch.system.errors import last_line

Location = Path | str  # a path, or a URL as text

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_READ_ONLY = ("http://", "https://")


def is_url(location: Location) -> bool:
    """Whether a location is a URL such as ``s3://bucket/image.ome.zarr``, and not a path.

    Args:
        location: a path, or text that a user gave.
    """
    return isinstance(location, str) and _URL.match(location) is not None


def checked(location: Location) -> Location:
    """A path, or a URL without a slash at its end.

    Args:
        location: a path or a URL, as text or as a path.
    """
    if isinstance(location, str) and is_url(location):
        return location.rstrip("/")
    return Path(location)


def inner(location: Location, *names: str) -> Location:
    """A location below another one.

    Args:
        location: a path or a URL.
        names: folders below it.
    """
    if is_url(location):
        return "/".join([str(location).rstrip("/"), *names])
    return Path(location, *names)


def store(location: Location, read_only: bool = True) -> Any:
    """A Zarr store in a folder or at a URL.

    Options of a service, such as the endpoint of S3, are read by fsspec from its configuration: the environment
    variable ``FSSPEC_S3_ENDPOINT_URL``, or files in ``~/.config/fsspec``.

    Args:
        location: a path or a URL.
        read_only: whether nothing will be written.

    Raises:
        ImportError: the package for the service is not installed.
        ValueError: no package knows this kind of URL.
    """
    from zarr.storage import FsspecStore, LocalStore

    if not is_url(location):
        return LocalStore(location, read_only=read_only)
    with _package(location):
        return FsspecStore.from_url(str(location), read_only=read_only)


@contextmanager
def open_file(location: Location) -> Iterator[IO[bytes]]:
    """Open a file for reading. One at a URL is read in blocks.

    Args:
        location: a path or a URL.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the package for the service is not installed.
        ValueError: no package knows this kind of URL.
    """
    if not is_url(location):
        with open(location, "rb") as stream:
            yield stream
        return
    import fsspec

    with _package(location):
        remote = fsspec.open(str(location), "rb")
    with remote as stream:
        yield stream


@contextmanager
def writable(location: Location) -> Iterator[None]:
    """Turn an error of a disk or of a service into a ValueError of one line.

    Args:
        location: what is written.

    Raises:
        ValueError: names the location and the reason, or the location is on a web server.
    """
    if str(location).startswith(_READ_ONLY):
        raise ValueError(f"cannot write {location}: a web server is only read; write to a folder or to s3://")
    try:
        yield
    except (ValueError, ImportError, MemoryError):
        raise
    except OSError as error:
        raise ValueError(f"cannot write {location}: {error.strerror or last_line(error)}") from error
    except Exception as error:  # services raise errors of their own packages
        raise ValueError(f"cannot write {location}: {last_line(error)}") from error


@contextmanager
def _package(location: Location) -> Iterator[None]:
    """Say how to install the package of a service.

    Raises:
        ImportError: names the extra.
        ValueError: no package knows the kind of URL.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{location} needs an extra package: pip install 'anystar_torch[remote]' ({last_line(error)})"
        ) from error
    except ValueError as error:
        raise ValueError(f"{location} is of an unknown kind: {last_line(error)}") from error


class Files:
    """The small files of a store: markers and metadata, beside the arrays that Zarr writes.

    Args:
        location: a path or a URL.
    """

    def __init__(self, location: Location) -> None:
        from fsspec.core import url_to_fs

        # other processes write too, so what was listed before may be out of date
        options = {"use_listings_cache": False} if is_url(location) else {}
        with _package(location):
            self._fs, self._root = url_to_fs(str(location), **options)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none.

        Args:
            name: of the file, below the location.
        """
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file. In a folder it gets its name when it is complete.

        Args:
            name: of the file, below the location.
            content: of the file.
        """
        path = f"{self._root}/{name}"
        if "file" not in self._protocols():
            self._fs.pipe_file(path, content)
            return
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(f"{path}.partial", content)
        Path(f"{path}.partial").replace(path)

    def remove(self, name: str = "") -> None:
        """Remove a file, or everything; nothing happens where there is nothing.

        Args:
            name: of a file or folder below the location; "" for the location itself.
        """
        path = f"{self._root}/{name}".rstrip("/")
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def _protocols(self) -> tuple[str, ...]:
        protocol = self._fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)
