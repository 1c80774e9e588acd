"""A hook of MkDocs that adds the pages which are not files of `docs/`: README, CONTRIBUTING, CHANGELOG and the API.

An API page is a package: the modules that stand directly in it, then each wing with the names of its face. What is
written there are instructions for mkdocstrings, which reads the sources without importing them.
"""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from wings import PACKAGES, REPOSITORY, Wing, wings

ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files beside `docs/`, and what they are called in the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs with the files of `docs/`."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=in_site((REPOSITORY / name).read_text())))
    found = wings()
    for package in PACKAGES:
        own = [wing for wing in found if wing.name.split(".")[0] == package]
        files.append(File.generated(config, f"api/{package}.md", content=api_page(own)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links of pages in `docs/` to the files beside it lead to their pages."""
    for name, page in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return markdown


def in_site(markdown: str) -> str:
    """A file beside `docs/` with the links it has in the site."""
    for name, page in ROOT_PAGES.items():
        markdown = markdown.replace(f"]({name}", f"]({page}")
    return re.sub(r"\]\(docs/", "](", markdown)


def api_page(own: list[Wing]) -> str:
    """Markdown of a package: `own` is the package, then its wings."""
    package, *below = own
    parts = [f"# {package.name}", package.sentence, *(f"::: {room}" for room in package.rooms)]
    for wing in below:
        if wing.face:
            parts += [f"## {wing.name}", wing.sentence]
            parts += [f"::: {name}\n    options:\n      heading_level: 3" for name in wing.face]
    return "\n\n".join(parts) + "\n"
