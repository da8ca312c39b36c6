"""Hooks of MkDocs: pages that are made when the site is built, and links to files outside of ``docs/``."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site import generated, sources


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made: references, and the files that pages link to."""
    for place, text in generated.pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their pages on the site; hide a navigation of one page."""
    if page.file.src_uri in ("index.md", "gallery.md"):
        page.meta["hide"] = ["navigation"]
    place = Path(page.file.src_uri)
    if page.file.generated_by is not None:
        return markdown
    return sources.with_links(markdown, sources.DOCS / place, "../" * (len(place.parts) - 1))
