"""The folder in which a large prediction keeps what is done, so that a killed run continues where it was.

Every task writes one file: arrays and facts in the format of safetensors, under a name that ends in a checksum of its
content. The file gets its name when it is complete, so it is there as a whole or not at all, and a task that runs twice
writes the same file again. When all files of a stage are there, a list of them is written. Later stages read only files
of the list.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from anystar_torch.system.errors import last_line

_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_ENDING = ".safetensors"
_DAMAGED = "damaged.json"  # names the stage of a file that was damaged or missing
_PIECE = 1 << 24  # bytes read at a time for a checksum

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Item:
    """The result of a task.

    Attributes:
        stage: name of the stage.
        name: name of the task in it.
        file: name of the file, with the checksum of its content.
        facts: small results, as JSON values.
    """

    stage: str
    name: str
    file: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkFolder:
    """A folder with a subfolder for each stage.

    Attributes:
        path: the folder. All workers see it under this path.
    """

    path: Path

    def write(
        self, stage: str, name: str, arrays: Mapping[str, NDArray[Any]], facts: dict[str, Any] | None = None
    ) -> Item:
        """Store the result of a task.

        Args:
            stage: name of the stage.
            name: name of the task.
            arrays: arrays by name.
            facts: small results, as JSON values.

        Raises:
            OSError: the disk is full, or nothing can be written.
        """
        folder = self.path / stage
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid4().hex}.part"
        digest = blake2b(digest_size=8)
        try:
            with open(temporary, "xb") as file:
                for piece in _pieces(arrays, facts or {}):
                    digest.update(piece)
                    file.write(piece)
            item = Item(stage, name, f"{name}.{digest.hexdigest()}{_ENDING}", facts or {})
            os.replace(temporary, folder / item.file)
        finally:
            temporary.unlink(missing_ok=True)
        return item

    def read(self, item: Item) -> Arrays:
        """The arrays of a file. They are mapped into memory, not read.

        Args:
            item: what :meth:`write` returned.

        Raises:
            ValueError: the file cannot be read; or it is missing or broken, and is made again by the next run.
        """
        path = self.path / item.stage / item.file
        try:
            header, start = _header(path)
            whole = np.memmap(path, np.uint8, "r")
            return {name: _view(whole, one, start) for name, one in header.items() if name != "__metadata__"}
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise self._damaged(item) from error
        except OSError as error:
            raise ValueError(
                f"{path} cannot be read ({last_line(error)}); start the same command again"
            ) from error

    def holds(self, item: Item) -> bool:
        """Whether the file of a result is there.

        Args:
            item: what :meth:`write` returned.
        """
        return (self.path / item.stage / item.file).is_file()

    def check(self, item: Item) -> None:
        """Compare a file with the checksum in its name.

        Args:
            item: what :meth:`write` returned.

        Raises:
            ValueError: the content has changed, or the file is missing; it is made again by the next run.
        """
        digest = blake2b(digest_size=8)
        try:
            with open(self.path / item.stage / item.file, "rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
        except FileNotFoundError as error:
            raise self._damaged(item) from error
        if not item.file.endswith(f".{digest.hexdigest()}{_ENDING}"):
            raise self._damaged(item)

    def _damaged(self, item: Item) -> ValueError:
        """Remove a file, and note its stage for :meth:`repair`."""
        path = self.path / item.stage / item.file
        path.unlink(missing_ok=True)
        self.note(_DAMAGED, item.stage)
        return ValueError(f"{path} was damaged or missing; start the same command again, which makes it anew")

    def repair(self) -> bool:
        """Forget what a damaged or missing file makes doubtful: that its stage is complete, and all later stages.

        A file that is made again may differ by rounding, so results that were made from the old one do not fit it.

        Returns:
            Whether there was such a file.
        """
        stage = self.noted(_DAMAGED)
        if stage is None:
            return False
        folders = {path.name for path in self.path.iterdir() if path.is_dir()}
        completed = {path.stem: path.stat().st_mtime_ns for path in self.path.glob("*.json")}
        if stage in completed:
            open_ = folders - set(completed)
            self.forget({one for one, time in completed.items() if time > completed[stage]} | open_)
            self._list(stage).unlink()
        else:
            self.forget([stage])
        (self.path / _DAMAGED).unlink(missing_ok=True)
        return True

    def found(self, stage: str) -> dict[str, Item]:
        """The results of a stage that is not complete, by task.

        Args:
            stage: name of the stage.
        """
        folder = self.path / stage
        items: dict[str, Item] = {}
        for path in sorted(folder.glob(f"*{_ENDING}")):
            name = path.name.split(".")[0]
            if name in items:  # of several results of one task, any is right
                continue
            try:
                header, _ = _header(path)
                items[name] = Item(stage, name, path.name, json.loads(header["__metadata__"]["facts"]))
            except (ValueError, KeyError):  # cut off when the machine stopped: the task runs again
                path.unlink(missing_ok=True)
        return items

    def complete(self, stage: str) -> dict[str, Item] | None:
        """The results of a stage, by task; None if it is not complete.

        Args:
            stage: name of the stage.
        """
        items = self.noted(self._list(stage).name)
        return None if items is None else {one["name"]: Item(**one) for one in items}

    def close(self, stage: str, items: Iterable[Item]) -> None:
        """Note that a stage is complete.

        Args:
            stage: name of the stage.
            items: all of its results.
        """
        self.note(self._list(stage).name, [asdict(item) for item in items])

    def note(self, name: str, content: Any) -> None:
        """Write a JSON file under a temporary name, and rename it.

        Args:
            name: of the file.
            content: JSON values.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{uuid4().hex}.part"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(content))
            file.flush()
            os.fsync(file.fileno())  # it says that other files are complete
        os.replace(temporary, self.path / name)

    @staticmethod
    def plain(content: Any) -> Any:
        """The content as it is after a way through JSON, to compare it with :meth:`noted`.

        Args:
            content: JSON values; tuples become lists.
        """
        return json.loads(json.dumps(content))

    def forget(self, stages: Iterable[str]) -> None:
        """Remove the results of stages, and of those whose names begin with theirs and a point.

        Args:
            stages: names of stages.
        """
        for stage in stages:
            for path in (*self.path.glob(f"{stage}.json"), *self.path.glob(f"{stage}.*.json")):
                path.unlink(missing_ok=True)
            for folder in (*self.path.glob(stage), *self.path.glob(f"{stage}.*")):
                if folder.is_dir():
                    shutil.rmtree(folder)

    def noted(self, name: str) -> Any:
        """The content of a JSON file that :meth:`note` wrote; None where there is none or a part of it.

        Args:
            name: of the file.
        """
        path = self.path / name
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def _list(self, stage: str) -> Path:
        return self.path / f"{stage}.json"


def _pieces(arrays: Mapping[str, NDArray[Any]], facts: dict[str, Any]) -> Iterable[Any]:
    """The bytes of a file: length of the header, header, arrays."""
    header: dict[str, Any] = {"__metadata__": {"facts": json.dumps(facts)}}
    place, parts = 0, []
    for name, array in sorted(arrays.items(), key=lambda one: (-one[1].itemsize, one[0])):  # aligned so
        contiguous = np.ascontiguousarray(array)
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + contiguous.nbytes],
        }
        place += contiguous.nbytes
        parts.append(contiguous)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *(part.reshape(-1).view(np.uint8) for part in parts)]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a file, and where its arrays begin."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _view(whole: NDArray[np.uint8], entry: dict[str, Any], start: int) -> NDArray[Any]:
    """One array of a mapped file."""
    first, last = entry["data_offsets"]
    part: NDArray[Any] = whole[start + first : start + last].view(_TYPES[entry["dtype"]])
    return part.reshape(entry["shape"])
