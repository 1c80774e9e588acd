"""How legible the code is as a house: rooms on each floor, arrows between them, circles; counted from imports.

Run with ``python -m benchmarks.house [--repo CHECKOUT] [--json]``. A floor is a folder; its rooms are the modules and
folders in it, and an arrow is a pair of rooms of one floor of which one imports something of the other (however
often). An ``__init__`` stands for its folder: what it imports of its own folder is its face and draws no arrow.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

PACKAGES = ("store_schema", "pipelines", "flux4d", "training", "evaluation")


@dataclass(frozen=True, slots=True)
class Floor:
    """One folder: how many rooms lie on it, and how they lean on each other."""

    folder: str
    modules: int
    rooms: int
    arrows: int
    circles: tuple[str, ...]
    """Rooms that import each other, directly or around."""


@dataclass(frozen=True, slots=True)
class Package:
    """All floors of one package."""

    name: str
    modules: int
    folders: int
    median_modules: float
    """Modules a folder."""
    most_modules: int
    floors: tuple[Floor, ...]


def measure(repo: Path) -> tuple[Package, ...]:
    """Every package of a checkout, read as text: nothing of it is run."""
    modules = find_modules(repo)
    imports = imports_of(modules)
    return tuple(_package(package, modules, imports) for package in PACKAGES)


def find_modules(repo: Path) -> dict[str, Path]:
    """Dotted names of a checkout's modules and packages, with their files."""
    return {name: path for package in PACKAGES for name, path in _modules(repo, package)}


def imports_of(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Which of the modules each of them imports, wherever in the file it does."""
    return {name: _imports(name, path, modules) for name, path in modules.items()}


def _modules(repo: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((repo / package).rglob("*.py")):
        parts = path.relative_to(repo).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, name, path)
            found |= {below if (below := f"{source}.{alias.name}") in modules else source for alias in node.names}
    return {other for other in found if other in modules and other != name}


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    """The module that is imported from, dots resolved."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    start = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*start, *([node.module] if node.module else [])])


def _package(package: str, modules: dict[str, Path], imports: dict[str, set[str]]) -> Package:
    inside = [name for name in modules if name.split(".")[0] == package]
    folders = sorted({name for name in inside if modules[name].name == "__init__.py"})
    floors = tuple(_floor(folder, inside, modules, imports) for folder in folders)
    counts = [floor.modules for floor in floors if floor.modules]
    return Package(package, sum(counts), len(counts), median(counts), max(counts), floors)


def _floor(folder: str, inside: list[str], modules: dict[str, Path], imports: dict[str, set[str]]) -> Floor:
    depth = folder.count(".") + 1

    def room(name: str) -> str | None:
        return ".".join(name.split(".")[: depth + 1]) if name.startswith(f"{folder}.") else None

    rooms = {found for name in inside if (found := room(name))}
    arrows = {
        (here, there)
        for name in inside
        if (here := room(name))
        for other in imports[name]
        if (there := room(other)) and there != here
    }
    own = [name for name in rooms if modules[name].name != "__init__.py"]
    return Floor(folder, len(own), len(rooms), len(arrows), _circles(rooms, arrows))


def _circles(rooms: set[str], arrows: set[tuple[str, str]]) -> tuple[str, ...]:
    """Rooms from which a walk along arrows comes back."""
    reach = {here: {there for start, there in arrows if start == here} for here in rooms}
    for _ in rooms:
        reach = {here: known.union(*(reach[there] for there in known)) for here, known in reach.items()}
    return tuple(sorted(here for here in rooms if here in reach[here]))


def main() -> None:
    """Measure a checkout and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repo", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout to measure"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    packages = measure(args.repo)
    print(f"{'package':14} modules folders  modules a folder (median, most)  its own floor: rooms arrows")
    for package in packages:
        ground = package.floors[0]
        print(
            f"{package.name:14} {package.modules:7} {package.folders:7}  {package.median_modules:20g} "
            f"{package.most_modules:10}  {ground.rooms:20} {ground.arrows:6}"
        )
    for floor in (floor for package in packages for floor in package.floors if floor.circles):
        print(f"circle on {floor.folder}: {', '.join(floor.circles)}")
    if args.json:
        print(json.dumps({"packages": [asdict(package) for package in packages]}))


if __name__ == "__main__":
    main()
