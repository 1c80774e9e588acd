"""The wings of the house as their `__init__` files state them: `python -m docs.tools.wings` prints the table of them.

`docs/architecture.md` holds that table; with `--write` it is written there anew, and a test compares the two. The
site's API pages are made from the same reading. Files are read as text; nothing of the packages is imported.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("store_schema", "pipelines", "flux4d", "evaluation", "training")
"""From the ground up."""
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
_PLACE = re.compile(r"(?<=<!-- wings -->\n\n).*?(?=\n\n<!-- end of wings -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wing:
    """A package, or a folder in it."""

    name: str
    """Dotted."""
    sentence: str
    """First line of its docstring."""
    face: tuple[str, ...]
    """What it exports: dotted names of where they are defined."""
    rooms: tuple[str, ...]
    """Dotted names of the modules directly in it."""

    @property
    def depth(self) -> int:
        """0 for a package."""
        return self.name.count(".")


def wings(repository: Path = REPOSITORY) -> list[Wing]:
    """Every package, each followed by its wings in the order of their names."""
    return [
        _wing(repository, init.parent)
        for package in PACKAGES
        for init in sorted((repository / package).rglob("__init__.py"), key=lambda path: path.parent)
    ]


def table(found: list[Wing]) -> str:
    """Markdown: a row a wing, packages in bold."""
    rows = ["| folder | is |", "|---|---|"]
    for wing in found:
        path = f"`{wing.name.replace('.', '/')}/`"
        rows.append(f"| {path if wing.depth else f'**{path}**'} | {wing.sentence} |")
    return "\n".join(rows)


def table_in(text: str) -> str:
    """The table that the text of `docs/architecture.md` holds.

    Raises:
        ValueError: its two comments are not there.
    """
    found = _PLACE.search(text)
    if found is None:
        raise ValueError("docs/architecture.md has no table between <!-- wings --> and <!-- end of wings -->")
    return found[0]


def _wing(repository: Path, folder: Path) -> Wing:
    name = ".".join(folder.relative_to(repository).parts)
    init = folder / "__init__.py"
    sentence = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n")[0]
    rooms = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
    return Wing(name, sentence, _face(init, name), tuple(f"{name}.{room}" for room in rooms))


def _face(init: Path, name: str) -> tuple[str, ...]:
    """What the stub beside an `__init__` re-exports; without a stub, what the `__init__` itself does."""
    stub = init.with_suffix(".pyi")
    tree = ast.parse((stub if stub.is_file() else init).read_text())
    exported = [
        f"{f'{name}.' if node.level else ''}{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    ]
    names = None if stub.is_file() else set(listed[0] if listed else ())
    return tuple(sorted(one for one in exported if names is None or one.rpartition(".")[2] in names))


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        text = ARCHITECTURE.read_text()
        ARCHITECTURE.write_text(text.replace(table_in(text), table(wings())))
    else:
        print(table(wings()))
