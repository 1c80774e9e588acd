"""Nested JSON as one value a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves of nested JSON by dotted path: ``{"a": {"b": [1]}}`` is ``{"a.b.0": 1}``.

    An empty list or mapping is a leaf, and so is a list of plain values.
    """
    if isinstance(value, Mapping):
        items: list[tuple[str, Any]] = [(str(key), value[key]) for key in sorted(value, key=str)]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {path: list(value) if isinstance(value, tuple) else value}
    if not items:
        return {path: {}} if path else {}
    leaves = {}
    for key, item in items:
        leaves.update(flatten(item, f"{path}.{key}" if path else key))
    return leaves
