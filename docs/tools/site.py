"""A hook of MkDocs that adds the pages which are not files of `docs/`: README, CONTRIBUTING, CHANGELOG, examples, API.

An API page is a package: the modules that stand directly in it, then each wing with the names of its face. What is
written there are instructions for mkdocstrings, which reads the sources without importing them. An example is shown as
sphinx-gallery would: its docstring, then the comment at the head of each cell as text and the rest as code.
"""

from __future__ import annotations

import ast
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from wings import PACKAGES, REPOSITORY, Wing, wings

ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files beside `docs/`, and what they are called in the site."""
EXAMPLES = {f"examples/{name}.py": f"examples/{name}.md" for name in ("read_a_store", "reconstruct_and_render")}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs with the files of `docs/`."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=in_site((REPOSITORY / name).read_text())))
    for name, page in EXAMPLES.items():
        files.append(File.generated(config, page, content=example_page((REPOSITORY / name).read_text())))
    found = wings()
    for package in PACKAGES:
        own = [wing for wing in found if wing.name.split(".")[0] == package]
        files.append(File.generated(config, f"api/{package}.md", content=api_page(own)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links of pages in `docs/` to the files beside it lead to their pages."""
    for name, page in {**ROOT_PAGES, **EXAMPLES}.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return markdown


def in_site(markdown: str) -> str:
    """A file beside `docs/` with the links it has in the site."""
    for name, page in {**ROOT_PAGES, **EXAMPLES}.items():
        markdown = markdown.replace(f"]({name}", f"]({page}")
    return re.sub(r"\]\(docs/", "](", markdown)


def example_page(source: str) -> str:
    """Markdown of a script with `# %%` cells."""
    head, *cells = source.split("# %%\n")
    docstring = ast.get_docstring(ast.parse(head)) or ""
    parts = [docstring, _code(head.split('"""\n', 1)[1])]
    for cell in cells:
        text = re.match(r"(?:#.*\n)*", cell)
        assert text is not None
        parts += [re.sub(r"^# ?", "", text[0], flags=re.MULTILINE), _code(cell[text.end() :])]
    return "\n\n".join(parts)


def _code(lines: str) -> str:
    return f"```python\n{lines.strip()}\n```"


def api_page(own: list[Wing]) -> str:
    """Markdown of a package: `own` is the package, then its wings."""
    package, *below = own
    parts = [f"# {package.name}", package.sentence, *(f"::: {room}" for room in package.rooms)]
    for wing in below:
        if wing.face:
            parts += [f"## {wing.name}", wing.sentence]
            parts += [f"::: {name}\n    options:\n      heading_level: 3" for name in wing.face]
    return "\n\n".join(parts) + "\n"
