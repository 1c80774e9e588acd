"""The written pages, and what is code in them: spans in backticks and fenced blocks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("store_schema", "pipelines", "flux4d", "training", "evaluation", "benchmarks", "tests", "docs", "examples")
"""Top-level folders that pages name things of."""
_DOTTED = re.compile(r"(?<![\w./-])(?:store_schema|pipelines|flux4d|training|evaluation|benchmarks)(?:\.[A-Za-z_]\w*)+")
_FILE_ENDINGS = ("md", "json", "jsonl", "jpg", "html", "toml", "yml")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(REPOSITORY))

    @property
    def spans(self) -> list[str]:
        """What stands in backticks outside blocks."""
        return _SPAN.findall(_FENCE.sub("", self.text))

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Language and text of every block."""
        return _FENCE.findall(self.text)

    @property
    def code(self) -> list[str]:
        """Spans, and the lines of blocks with continued ones joined."""
        lines = [line for _, block in self.blocks for line in block.replace("\\\n", " ").splitlines()]
        return [*self.spans, *lines]


def pages() -> list[Page]:
    """All pages that say how things are; of the changelog only what is not history."""
    paths = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    found = [Page(path, path.read_text()) for path in paths]
    changelog = REPOSITORY / "CHANGELOG.md"
    newest = re.split(r"^(?=## )", changelog.read_text(), flags=re.MULTILINE)[:2]
    return [*found, Page(changelog, "".join(newest))]


def stale_paths(text: str, *folders_before: Path) -> list[str]:
    """Paths that a text names and that do not exist.

    A path begins with a folder at the top of the repository. A file of Python that is named by less, `kernels.py` or
    `cpu/blend.py`, must be in a folder that the text has named before, or in one of `folders_before`.
    """
    stale, folders = list[str](), set(folders_before)
    for token in re.findall(r"(?<![\w/.:-])\.?[\w*][\w.*/-]*", text):
        name = token.rstrip(".,:")
        if name.split("/")[0] in PACKAGES and "/" in name:
            found = sorted(REPOSITORY.glob(name.rstrip("/")))
            folders |= {path if path.is_dir() else path.parent for path in found}
        elif name.endswith((".py", ".pyi")) and not name.startswith("__init__"):
            found = [path for folder in (REPOSITORY, *folders) if (path := folder / name).is_file()]
            folders |= {path.parent for path in found}
        else:
            continue
        if not found:
            stale.append(name)
    return stale


def docstrings(file: Path) -> Iterator[str]:
    """Every string that stands for itself in a module: docstrings, and those under fields and constants."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def undefined_names(text: str) -> set[str]:
    """Dotted names below the packages that a text names and that nothing defines."""
    named = {name for name in _DOTTED.findall(text) if name.rpartition(".")[2] not in _FILE_ENDINGS}
    return {name for name in named if not is_defined(name)}


@cache
def is_defined(name: str) -> bool:
    """Is a dotted name a module, something at the top of one, a member of a class there, or exported by a face?"""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = REPOSITORY.joinpath(*parts[:end])
        rest = parts[end:]
        if path.is_dir() and ((path / "__init__.py").is_file() or parts[0] == "benchmarks"):
            return not rest or rest[0] in names_in(path / "__init__.pyi") | names_in(path / "__init__.py")
        if path.with_suffix(".py").is_file():
            return not rest or ".".join(rest[:2]) in names_in(path.with_suffix(".py"))
    return False


@cache
def names_in(path: Path) -> set[str]:
    """What a module defines or imports at its top, and `Class.member` for what its classes define."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body if path.is_file() else []:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}.{member}" for member in members(node)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def members(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Methods and fields of a class."""
    for member in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(member, ast.FunctionDef):
            yield member.name
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield member.target.id
