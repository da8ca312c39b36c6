"""Files of the repository that pages link to, as pages of the site."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from docs.site.configs import ROOT, anchor

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")  # a link of a page to a file that is not beside it
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cpp": "cpp", ".hpp": "cpp", ".sh": "bash", ".toml": "toml"}
FOLDER = "source"
# Folders of the repository, and the pages of the site that describe their files.
DESCRIBED = {"anystar_torch/cli": "cli.md", "configs": "configs.md"}
# Pages of the repository's first folder, and where they are on the site.
PROJECT = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}


def linked(pages: list[Path]) -> list[Path]:
    """The files outside of ``docs/`` that pages link to, without the configurations and :data:`DESCRIBED`.

    Args:
        pages: Markdown files in ``docs/``.
    """
    targets = {
        (page.parent / match.group(1)).resolve()
        for page in pages
        for match in LINK.finditer(page.read_text(encoding="utf-8"))
    }
    folders = {ROOT / name for name in DESCRIBED}
    outside = (path for path in targets if not path.is_relative_to(DOCS) and path not in folders)
    return sorted(path for path in outside if path.suffix != ".yaml")


def with_links(markdown: str, page: Path, up: str = "") -> str:
    """The text of a page, with its links to files of the repository led to pages of the site.

    Args:
        markdown: the text.
        page: the file it is from.
        up: path from the page to the root of the site, such as ``../``; empty at the root.
    """

    def target(match: re.Match[str]) -> str:
        file = (page.parent / match.group(1)).resolve()
        if file.is_relative_to(DOCS):
            return match.group()
        path = file.relative_to(ROOT).as_posix()
        if path in DESCRIBED:
            return f"]({up}{DESCRIBED[path]})"
        if path.startswith("configs/"):
            return f"]({up}configs.md#{anchor(path)})"
        return f"]({up}{address(path)}{match.group(2) or ''})"

    return LINK.sub(target, markdown)


def project_pages() -> dict[str, str]:
    """Path on the site -> Markdown of the pages of :data:`PROJECT`, with links that lead to pages of the site."""

    def target(match: re.Match[str]) -> str:
        link, anchored = match.groups()
        return f"](../{PROJECT.get(link, link.removeprefix('docs/'))}{anchored or ''})"

    inside = re.compile(r"\]\(([\w/]+\.md)(#[^)\s]*)?\)")
    return {
        place: inside.sub(target, (ROOT / name).read_text(encoding="utf-8"))
        for name, place in PROJECT.items()
    }


def address(path: str) -> str:
    """Where the page of a file is on the site, relative to its root."""
    return f"{FOLDER}/{path}.md"


def page(path: Path) -> str:
    """Markdown of the page of a file: a notebook with its outputs, or the text of the file.

    Args:
        path: of the file.
    """
    name = path.relative_to(ROOT).as_posix()
    head = "---\nsearch:\n  exclude: true\n---\n\n"
    if path.suffix == ".ipynb":
        return head + "\n\n".join(_cells(path)) + "\n"
    text = path.read_text(encoding="utf-8").rstrip()
    return f"{head}# {name}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{text}\n````\n"


def _cells(path: Path) -> Iterator[str]:
    for cell in json.loads(path.read_bytes())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield re.sub(r"\]\(\.\./docs/", "](../../", text)
            continue
        yield f"```python\n{text}\n```"
        shown = ""  # printed text comes in pieces
        for output in [*cell["outputs"], {}]:
            data = output.get("data", {})
            if "text" in output:
                shown += "".join(output["text"])
                continue
            if shown:
                yield f"```text\n{shown.rstrip()}\n```"
                shown = ""
            if "image/png" in data:
                yield f"![output](data:image/png;base64,{''.join(''.join(data['image/png']).split())})"
            elif "text/plain" in data:
                yield f"```text\n{''.join(data['text/plain']).rstrip()}\n```"
