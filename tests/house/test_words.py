"""One meaning a name: no two public classes of the library share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from benchmarks.house import find_modules

REPOSITORY = Path(__file__).parents[2]


def test_a_class_name_has_one_meaning():
    homes: dict[str, list[str]] = defaultdict(list)
    for module, path in find_modules(REPOSITORY).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}
