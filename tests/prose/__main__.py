"""Print the faults of language in files, and exit with 1 if there are any.

It reads docstrings, comments, messages, pages and names. Faults are words that the project does not use
(tests/prose/words.py), sentences of more than 40 words, and words of a diary on reference pages.

    python -m tests.prose              the whole repository
    python -m tests.prose docs cli.py  the given files and folders
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.prose.texts import Name, of_file
from tests.prose.words import DIARY, PROSE, Fault, banned, banned_names, long_sentences

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = {".py", ".yaml", ".yml", ".md", ".hpp", ".cpp", ".h", ".toml", ".sh"}

# What is held to the rules: the whole repository.
HELD = (
    ".ci/docker",
    ".ci/python",
    ".ci/run",
    ".ci/wheel",
    ".github",
    "CHANGELOG.md",
    "CMakeLists.txt",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "anystar_torch",
    "benchmarks",
    "conda",
    "configs",
    "docs",
    "examples",
    "export",
    "pyproject.toml",
    "tests",
    "train.py",
)

# What the rules do not hold for, each with the reason.
EXCEPT = {
    "tests/configuration/stored_config.yaml": "a configuration as an earlier version stored it",
    "tests/prose/words.py": "it lists the words",
    "tests/prose/test_prose.py": "it plants the faults",
}
NO_REFERENCE = {"docs/history.md", "CHANGELOG.md"}  # they say what was tried and what changed
OLD_NAMES = NO_REFERENCE | {"docs/model_card.md"}  # they name commands and parts of earlier commits


def files(paths: list[Path]) -> Iterator[Path]:
    """The files below ``paths`` that have texts to check."""
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix in KINDS and p.is_file())
        else:
            raise SystemExit(f"prose: there is no {path}")


def faults(path: Path) -> list[Fault]:
    """The faults of one file, in the order of its lines."""
    name = (
        path.resolve().relative_to(ROOT).as_posix()
        if path.resolve().is_relative_to(ROOT)
        else path.as_posix()
    )
    if name in EXCEPT:
        return []
    history = name in NO_REFERENCE
    rules = PROSE if history or path.suffix != ".md" else PROSE + DIARY
    found = []
    for piece in of_file(path):
        if isinstance(piece, Name):
            for word, instead in () if name in OLD_NAMES else banned_names(piece.name, name):
                found.append(Fault(name, piece.line, f"name '{piece.name}': '{word}' -> {instead}"))
            continue

        def line_of(offset: int, text: str = piece.text, line: int = piece.line) -> int:
            return line + text.count("\n", 0, offset)

        for offset, word, instead in banned(piece.text, name, rules):
            found.append(Fault(name, line_of(offset), f"'{' '.join(word.split())}' -> {instead}"))
        for offset, words in long_sentences(piece.text):
            found.append(
                Fault(name, line_of(offset), f"a sentence of {words} words: split it (25 is enough)")
            )
    return sorted(set(found), key=lambda fault: (fault.line, fault.message))


def main(arguments: list[str]) -> int:
    """Print the faults of the given paths, or of the whole repository (:data:`HELD`); 1 if there are any."""
    paths = [Path(a) for a in arguments] or [ROOT / name for name in HELD]
    found = [fault for path in files(paths) for fault in faults(path)]
    print(*found, sep="\n", end="\n" if found else "")
    if found:
        print(f"{len(found)} faults of language (tests/prose/words.py has the words)", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
