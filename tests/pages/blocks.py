"""The blocks of code of the pages, and the commands in them."""

import re
import shlex
from dataclasses import dataclass

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: path of the page below the repository.
        line: of the page that the block begins in.
        language: behind the opening fence.
        text: between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(language=None, page=None):
    """The blocks of all pages, in their order.

    Args:
        language: of the blocks; None for all.
        page: path below the repository; None for all.
    """
    found = []
    for path in PAGES:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        if page in (None, name):
            found += [
                Block(name, text.count("\n", 0, m.start()) + 1, *m.groups()) for m in BLOCK.finditer(text)
            ]
    return [block for block in found if language in (None, block.language)]


def commands(text):
    """The commands of a block of shell, each as its words: loops once, variables as the number 1.

    Args:
        text: of the block.
    """
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&"):
                found.append(words)
                words = []
            elif not (word in ("do", "done") and not words):
                words.append(re.sub(r"\$\w+", "1", word))
    return [words for words in found if words and words[0] != "for"]
