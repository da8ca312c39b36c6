"""The reference page of the configurations: every file of ``configs/`` with its comments."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

INTRODUCTION = """\
# Configurations

Every file of the folder `configs/` as it is, with its comments. `anystar train` composes them with
[Hydra](https://hydra.cc): `train.yaml` is the beginning, and a choice such as `hardware=laptop` adds the file
`hardware/laptop.yaml`. `anystar train +experiment=mix --cfg job` prints the result. [Training](training.md) explains
the choices.
"""

# The folders in the order of a reader, each with what it holds.
GROUPS = {
    "": "The beginning of every training",
    "experiment": "Recipes: `+experiment=NAME`",
    "hardware": "Hardware: `hardware=NAME`",
    "model": "Networks: `model=NAME`",
    "synth": "Generators: `synth=NAME`, and `load_synthesizer(NAME)`",
    "synth/surface": "Surfaces of objects",
    "augment": "Effects in their order",
    "augment/part": "Parts of lists of effects",
    "callbacks": "Callbacks of the trainer",
    "logger": "Loggers: `logger=NAME`",
    "debug": "Short runs: `+debug=NAME`",
}


def anchor(path: str) -> str:
    """The anchor of a file on the page.

    Args:
        path: of the file below the repository, such as ``configs/synth/mix.yaml``.
    """
    return path.removeprefix("configs/").removesuffix(".yaml").replace("/", "-").replace("_", "-")


def files() -> dict[str, list[Path]]:
    """The configuration files of every folder.

    Raises:
        ValueError: a folder has no title in :data:`GROUPS`, or holds no file.
    """
    folder = ROOT / "configs"
    found: dict[str, list[Path]] = {group: [] for group in GROUPS}
    for path in sorted(folder.rglob("*.yaml")):
        group = path.parent.relative_to(folder).as_posix()
        found.setdefault("" if group == "." else group, []).append(path)
    if unknown := found.keys() - GROUPS.keys() | {group for group, paths in found.items() if not paths}:
        raise ValueError(f"docs/site/configs.py and configs/ differ: {', '.join(sorted(unknown))}")
    return found


def page() -> str:
    """Markdown of the page: a section for each folder, a heading and the text of each file."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for group, paths in files().items():
        yield from (f"## {GROUPS[group]}", "")
        for path in paths:
            name = path.relative_to(ROOT / "configs").as_posix()
            yield from (
                f"### {name} {{ #{anchor(name)} }}",
                "",
                "```yaml",
                path.read_text(encoding="utf-8").rstrip(),
                "```",
                "",
            )
