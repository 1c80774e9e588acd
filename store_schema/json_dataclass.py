"""Frozen dataclasses to JSON and back, checked against their annotations.

Reading is strict: every value must be of its field's annotated type, and every error names the field by its dotted path
(``loss.depth``, ``clips[3].seen``). What is converted, and nothing else:

- an integer where a float is annotated (JSON writers may drop the point); never a float where an integer is;
- a list to a tuple, a text to a `pathlib.Path`;
- infinity, which JSON does not have, is the text "inf" or "-inf" where a float is annotated. NaN is refused both ways:
  it is equal to nothing, not even to itself, and "not known" is None (null).

Annotations may be dataclasses, bool, int, float, str, None, Any, Path, Literal, unions, tuple, list, and dict or
Mapping with text keys. A class that is no dataclass brings its own form: a method ``to_json`` and a class method
``from_json``.
A field that had another name in older files says so: ``field(metadata={"was": "old_name"})``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from store_schema.files.atomic import write_atomic

T = TypeVar("T")
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


class JsonError(ValueError):
    """A value does not fit the dataclass it is read as, or has no form in JSON; the message names the field."""


class UnknownFieldError(JsonError):
    """An object names fields that its dataclass does not have: of another version, or misspelt."""

    def __init__(self, kind: type, paths: tuple[str, ...]) -> None:
        super().__init__(f"{kind.__name__} has no field {', '.join(paths)}")
        self.paths = paths
        """Dotted, in order."""


def save_json(path: Path, value: Any) -> None:
    """Write a dataclass as JSON; the file appears whole or not at all.

    Raises:
        JsonError: a value is NaN or has no form in JSON.
    """
    write_atomic(path, (json.dumps(to_json(value), indent=1, allow_nan=False) + "\n").encode())


def load_json(path: Path, kind: type[T]) -> T:
    """Read a file that `save_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content does not fit the dataclass; names the file and the field.
    """
    try:
        return from_json(kind, json.loads(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} does not hold a {kind.__name__} of this version: {error}") from error


def to_json(value: Any) -> Any:
    """A dataclass as a value that `json.dumps` takes; `from_json` gives the same back to the last bit.

    Raises:
        JsonError: a value is NaN or has no form in JSON.
    """
    return _encode(value, "")


def from_json(kind: type[T], value: Any) -> T:
    """Rebuild a dataclass from parsed JSON. Fields that are absent keep their default.

    Raises:
        UnknownFieldError: an object has fields that its dataclass does not.
        JsonError: a value is of another type than annotated, a field without a default is missing, or the dataclass
            itself refuses the values.
    """
    read: T = _decode(kind, value, "")
    return read


def _encode(value: Any, at: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise JsonError(f"{at or 'the value'} is NaN, which has no form in JSON: write None for what is not known")
        return value if math.isfinite(value) else str(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _encode(getattr(value, f.name), _inner(at, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key, at): _encode(item, _inner(at, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{at}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "to_json"):
        return value.to_json()
    raise JsonError(f"{at or 'the value'} is a {type(value).__name__}, which has no form in JSON")


def _decode(kind: Any, value: Any, at: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, at)
    if hasattr(kind, "from_json"):
        try:
            return kind.from_json(value)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise JsonError(f"{at or 'the value'}: {error}") from error
    origin = get_origin(kind)
    if (container := _CONTAINERS.get(origin)) is not None:
        return container(get_args(kind), value, at)
    if kind not in _WORDS:
        raise TypeError(f"{at or 'the value'} is annotated {kind}, which {__name__} cannot read")
    return _decode_plain(kind, value, at)


def _decode_plain(kind: Any, value: Any, at: str) -> Any:
    if kind is float and isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
        if not math.isnan(number):
            return number
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif type(value) is kind:  # True is an instance of int
        return value
    raise _misfit(at, _WORDS[kind], value)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode_dataclass(kind: Any, value: Any, at: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(at, f"an object, a {kind.__name__}", value)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    renamed = {field.metadata["was"]: name for name, field in fields.items() if "was" in field.metadata}
    if both := [old for old, name in renamed.items() if old in value and name in value]:
        raise JsonError(f"{_inner(at, both[0])} is the old name of {_inner(at, renamed[both[0]])}, and both are there")
    given = {str(renamed.get(name, name)): (str(name), item) for name, item in value.items()}
    if unknown := sorted(set(given) - set(fields)):
        raise UnknownFieldError(kind, tuple(_inner(at, name) for name in unknown))
    nothing = dataclasses.MISSING
    needed = [n for n, field in fields.items() if field.default is nothing and field.default_factory is nothing]
    if missing := [_inner(at, name) for name in needed if name not in given]:
        raise JsonError(f"{kind.__name__} lacks {', '.join(missing)}")
    hints = _hints(kind)
    values = {name: _decode(hints[name], item, _inner(at, old)) for name, (old, item) in given.items()}
    try:
        return kind(**values)
    except ValueError as error:  # what the dataclass asks for beyond types
        raise JsonError(f"{at}: {error}" if at else str(error)) from error


def _decode_union(kinds: tuple[Any, ...], value: Any, at: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return _decode(others[0], value, at)
    errors = []
    for kind in others:
        try:
            return _decode(kind, value, at)
        except JsonError as error:
            errors.append(str(error))
    raise JsonError("; or ".join(errors))


def _decode_literal(allowed: tuple[Any, ...], value: Any, at: str) -> Any:
    for each in allowed:
        if type(value) is type(each) and value == each:  # True is no 1
            return each
    raise _misfit(at, "one of " + ", ".join(map(repr, allowed)), value)


def _decode_tuple(kinds: tuple[Any, ...], value: Any, at: str) -> tuple[Any, ...]:
    if kinds[-1:] == (Ellipsis,):
        return tuple(_decode_list(kinds[:1], value, at))
    if not isinstance(value, list | tuple) or len(value) != len(kinds):
        raise _misfit(at, f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_decode(kind, item, f"{at}[{index}]") for index, (kind, item) in pairs)


def _decode_list(kinds: tuple[Any, ...], value: Any, at: str) -> list[Any]:
    if not isinstance(value, list | tuple):  # a tuple is what `dataclasses.asdict` leaves
        raise _misfit(at, "a list", value)
    return [_decode(kinds[0], item, f"{at}[{index}]") for index, item in enumerate(value)]


def _decode_dict(kinds: tuple[Any, ...], value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _misfit(at, "an object", value)
    return {_key(key, at): _decode(kinds[1], item, _inner(at, str(key))) for key, item in value.items()}


_CONTAINERS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    Union: _decode_union,
    types.UnionType: _decode_union,
    Literal: _decode_literal,
    tuple: _decode_tuple,
    list: _decode_list,
    dict: _decode_dict,
    Mapping: _decode_dict,
}
_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    type(None): "null",
    Path: "a path",
}


def _key(key: Any, at: str) -> str:
    if not isinstance(key, str):
        raise JsonError(f"{at or 'the value'} has the key {key!r}: keys are texts in JSON")
    return key


def _inner(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _misfit(at: str, words: str, value: Any) -> JsonError:
    return JsonError(f"{at or 'the value'} must be {words}, got {reprlib.repr(value)}")
