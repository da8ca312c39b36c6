"""Pages that are made when the site is built."""

from collections.abc import Callable

from docs.site import commands, configs, sources

REFERENCES: dict[str, Callable[[], str]] = {"cli.md": commands.page, "configs.md": configs.page}


def pages() -> dict[str, str]:
    """Path of each page below the root of the site -> its Markdown."""
    made = {name: page() for name, page in REFERENCES.items()} | sources.project_pages()
    for path in sources.linked(sorted(sources.DOCS.rglob("*.md"))):
        made[sources.address(path.relative_to(sources.ROOT).as_posix())] = sources.page(path)
    return made
