"""Run the blocks of docs/tutorial.md in their order, and write what they print and the picture into the page.

    python -m docs.make_tutorial

Sentences that repeat a figure are changed by hand; tests/pages/test_tutorial.py says which.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

from anystar_torch.cli import main

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "tutorial.md"
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TIME = re.compile(r" in [\d.]+ s$")
CELL = re.compile(r"[│┃]")


def printed(text: str) -> list[str]:
    """What the blocks of text of a page should hold: what the block of code before each of them prints.

    Args:
        text: of the page. Its blocks of Python and its ``anystar`` commands run in the present folder.
    """
    outputs, names, stream = [], {}, io.StringIO()
    for language, block in BLOCK.findall(text):
        if language == "text":
            outputs.append(plain(stream.getvalue()))
            continue
        stream.seek(0)
        stream.truncate()
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            _run(language, block, names)
    return outputs


def _run(language: str, block: str, names: dict[str, Any]) -> None:
    if language == "python":
        exec(compile(block, PAGE.name, "exec"), names)
        return
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["anystar"]:
            continue
        try:
            main(words[1:])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{line}: exit status {end.code}") from end


def plain(output: str) -> str:
    """The lines of an output that a page shows: without times, and tables without frames and names of files.

    Args:
        output: what commands printed.
    """
    lines = []
    for line in output.splitlines():
        cells = [cell for cell in CELL.split(line) if cell.strip()]
        if len(cells) > 1:
            lines.append("".join(cells[1:]).rstrip())
        elif re.match(r"[\w.]+: \w|\d+ objects", line):
            lines.append(TIME.sub("", line.rstrip()))
    return "\n".join(lines) + "\n"


def shown(text: str) -> list[str]:
    """The blocks of text of a page, in their order."""
    return [block for language, block in BLOCK.findall(text) if language == "text"]


if __name__ == "__main__":
    os.environ["COLUMNS"] = "200"
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        outputs = iter(printed(page))
        shutil.copy("nuclei.png", DOCS / "pictures" / "tutorial.png")
    written = BLOCK.sub(lambda m: f"```text\n{next(outputs)}```" if m.group(1) == "text" else m.group(), page)
    PAGE.write_text(written, encoding="utf-8")
