"""Frozen dataclasses to JSON and back, by their annotations.

A class in them that is no dataclass brings its own form: a method ``to_json`` and a class method ``from_json``. A field
that had another name in older files says so: ``field(metadata={"was": "old_name"})``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def save_json(path: Path, value: Any) -> None:
    """Write a dataclass as JSON; infinity becomes the string "inf", NaN is refused."""
    path.write_text(json.dumps(to_json(value), indent=1, allow_nan=False) + "\n")


def to_json(value: Any) -> Any:
    """A dataclass as a value that `json.dumps` takes; infinity becomes the string "inf"."""
    return _encode(dataclasses.asdict(value))


def load_json(path: Path, kind: type[T]) -> T:
    """Read a file that `save_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content does not fit the dataclass.
    """
    try:
        value: T = from_json(kind, json.loads(path.read_text()))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a {kind.__name__} of this version: {error!r}") from error
    return value


def from_json(kind: Any, value: Any) -> Any:
    """Rebuild a value of an annotated type from parsed JSON. Fields that are absent keep their default.

    Raises:
        TypeError: a field is unknown, or missing without a default.
    """
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        new_names = {field.metadata["was"]: field.name for field in dataclasses.fields(kind) if "was" in field.metadata}
        value = {new_names.get(name, name): item for name, item in value.items()}
        if unknown := set(value) - set(hints):
            raise TypeError(f"{getattr(kind, '__name__', kind)} has no field {sorted(unknown)}")
        return kind(**{name: from_json(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else from_json(next(arg for arg in args if arg is not type(None)), value)
    if origin is tuple:
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return tuple(from_json(item_kind, item) for item_kind, item in zip(kinds, value, strict=True))
    if origin is dict:
        return {key: from_json(args[1], item) for key, item in value.items()}
    return float(value) if kind is float else value


def _encode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if hasattr(value, "to_json"):
        return value.to_json()
    return "inf" if isinstance(value, float) and value == math.inf else value
