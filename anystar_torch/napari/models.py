"""Models that the user can choose, and those that were used last."""

import json
from pathlib import Path

from anystar_torch.inference.predictor import AnyStar
from anystar_torch.io import atomic_write

SHIPPED = "shipped"
_REMEMBERED = 8


class Models:
    """Networks by the name of their folder. Each is loaded once.

    Args:
        memory: file in which recent folders are kept; None to keep none. Where it cannot be written, they are kept for
            this session only.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self._loaded: dict[str, AnyStar] = {}
        self._unsaved: list[str] = []  # recent folders, where the file cannot be written

    @property
    def recent(self) -> list[str]:
        """Folders that were used before and still exist, latest first."""
        known = self._unsaved
        if self.memory is not None and not known:
            try:
                known = json.loads(self.memory.read_bytes())
            except (OSError, ValueError):  # no file yet, or one that another program has damaged
                return []
        return [name for name in known if isinstance(name, str) and Path(name).is_dir()]

    def load(self, name: str) -> AnyStar:
        """The network of a name.

        Args:
            name: :data:`SHIPPED`, or a folder of weights, a run folder, or a folder of a StarDist model.

        Raises:
            ValueError: there is no such model, or it cannot be read.
        """
        if name not in self._loaded:
            self._loaded[name] = AnyStar.from_pretrained(None if name == SHIPPED else name)
        if name != SHIPPED:
            self._remember(name)
        return self._loaded[name]

    def _remember(self, name: str) -> None:
        if self.memory is None:
            return
        names = [name, *(other for other in self.recent if other != name)][:_REMEMBERED]
        try:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.memory, True) as temporary:
                temporary.write_text(json.dumps(names), encoding="utf-8")
            self._unsaved = []
        except (OSError, ValueError):  # a home that is read-only: remember them for this session only
            self._unsaved = names
