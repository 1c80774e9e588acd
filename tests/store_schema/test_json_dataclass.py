"""JSON and frozen dataclasses: the same comes back, and what does not fit is named."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import store_schema.files.atomic as atomic
from store_schema.json_dataclass import JsonError, UnknownFieldError, from_json, load_json, save_json, to_json


class Celsius:
    """No dataclass: it has a form of its own."""

    def __init__(self, degrees: int) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    def to_json(self) -> str:
        return f"{self.degrees} C"

    @classmethod
    def from_json(cls, value: str) -> Celsius:
        return cls(int(value.removesuffix(" C")))


@dataclass(frozen=True, slots=True)
class Wheel:
    radius: float
    kind: Literal["summer", "winter", 3] = "summer"
    spikes: int | None = None


@dataclass(frozen=True)
class Car:
    name: str
    electric: bool
    doors: int
    wheels: tuple[Wheel, ...]
    spare: Wheel | None
    place: tuple[float, int]
    notes: Mapping[str, tuple[int, ...]]
    folder: Path
    where: str | Path = "."
    engine: Celsius = field(default_factory=lambda: Celsius(20))
    anything: Any = None
    mass: float = field(default=1.0, metadata={"was": "weight"})

    def __post_init__(self) -> None:
        if self.mass <= 0:
            raise ValueError("mass must be positive, in tonnes")


finite = st.floats(allow_nan=False)
wheels = st.builds(Wheel, finite, st.sampled_from(["summer", "winter", 3]), st.none() | st.integers(-(2**70), 2**70))
cars = st.builds(
    Car,
    name=st.text(),
    electric=st.booleans(),
    doors=st.integers(),
    wheels=st.lists(wheels, max_size=4).map(tuple),
    spare=st.none() | wheels,
    place=st.tuples(finite, st.integers()),
    notes=st.dictionaries(st.text(), st.lists(st.integers(), max_size=3).map(tuple), max_size=3),
    folder=st.text("abc/", min_size=1).map(Path),
    where=st.text(),
    engine=st.integers().map(Celsius),
    anything=st.none() | st.text() | st.lists(st.integers()),
    mass=st.floats(min_value=0, exclude_min=True),
)
CAR = Car("a", True, 4, (Wheel(0.3), Wheel(0.4)), None, (1.0, 2), {"x": (1,)}, Path("b"))


def changed(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(to_json(CAR))), **changes}


@given(cars)
def test_what_is_written_is_read_back_bit_for_bit(car: Car) -> None:
    text = json.dumps(to_json(car), allow_nan=False)
    back = from_json(Car, json.loads(text))
    assert back == car
    assert json.dumps(to_json(back), allow_nan=False) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name must be a text, got 3"),
        ({"electric": 1}, "electric must be true or false, got 1"),
        ({"doors": 4.0}, r"doors must be an integer, got 4\.0"),
        ({"doors": True}, "doors must be an integer, got True"),
        ({"doors": "4"}, "doors must be an integer, got '4'"),
        ({"doors": None}, "doors must be an integer, got None"),
        ({"mass": "1.0"}, "mass must be a number, got '1.0'"),
        ({"mass": False}, "mass must be a number, got False"),
        ({"mass": math.nan}, "mass must be a number, got nan"),
        ({"mass": 10**400}, "mass must be a number, got 1000"),
        ({"mass": -1}, "mass must be positive, in tonnes"),
        ({"wheels": "abc"}, "wheels must be a list, got 'abc'"),
        ({"wheels": [{"radius": 1}, {"radius": "big"}]}, r"wheels\[1\]\.radius must be a number, got 'big'"),
        ({"wheels": [{"radius": 1, "kind": "snow"}]}, r"wheels\[0\]\.kind must be one of 'summer', 'winter', 3, got"),
        ({"wheels": [{"radius": 1, "kind": 3.0}]}, r"wheels\[0\]\.kind must be one of"),
        ({"wheels": [{}]}, r"Wheel lacks wheels\[0\]\.radius"),
        ({"spare": []}, "spare must be an object, a Wheel, got"),
        ({"spare": {"radius": None}}, r"spare\.radius must be a number, got None"),
        ({"place": [1.0]}, "place must be a list of 2"),
        ({"place": [1.0, 2.5]}, r"place\[1\] must be an integer"),
        ({"notes": {"x": [1, "y"]}}, r"notes\.x\[1\] must be an integer"),
        ({"notes": [1]}, "notes must be an object"),
        ({"notes": {3: [1]}}, "notes has the key 3"),
        ({"folder": 3}, "folder must be a path"),
        ({"where": 3}, "where must be a text, got 3; or where must be a path, got 3"),
        ({"engine": "hot"}, "engine: invalid literal"),
        ({"weight": 2.0}, "weight is the old name of mass, and both are there"),
    ],
)
def test_what_does_not_fit_is_named_by_its_dotted_path(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(JsonError, match=message):
        from_json(Car, changed(**changes))


@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_a_whole_file_of_another_shape_is_refused(value: Any) -> None:
    with pytest.raises(JsonError, match="the value must be an object, a Car"):
        from_json(Car, value)


def test_unknown_fields_are_all_named() -> None:
    with pytest.raises(UnknownFieldError, match="Car has no field colour, seats") as caught:
        from_json(Car, changed(seats=4, colour="red"))
    assert caught.value.paths == ("colour", "seats")
    with pytest.raises(UnknownFieldError, match=r"Wheel has no field spare\.colour"):
        from_json(Car, changed(spare={"radius": 1.0, "colour": "black"}))


def test_a_field_is_found_under_its_old_name() -> None:
    old = changed()
    old["weight"] = old.pop("mass") + 1
    assert from_json(Car, old).mass == 2.0
    old["weight"] = "heavy"
    with pytest.raises(JsonError, match="weight must be a number"):  # as the file calls it
        from_json(Car, old)


def test_an_integer_is_a_float_where_one_is_annotated() -> None:
    read = from_json(Wheel, {"radius": 1})
    assert type(read.radius) is float
    assert from_json(Wheel, {"radius": "-inf"}).radius == -math.inf


def test_what_is_absent_keeps_its_default() -> None:
    assert from_json(Wheel, {"radius": 1.0}) == Wheel(1.0)


@pytest.mark.parametrize("value", [math.nan, b"x", {1: 2}, object(), {"y": [{"z": math.nan}]}])
def test_what_has_no_form_in_json_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(JsonError, match="anything"):
        to_json(dataclasses.replace(CAR, anything=value))


def test_a_nan_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"radius": NaN}')
    with pytest.raises(ValueError, match=r"x\.json does not hold a Wheel .* radius must be a number, got nan"):
        load_json(tmp_path / "x.json", Wheel)


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_a_torn_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json does not hold a Wheel"):
        load_json(tmp_path / "x.json", Wheel)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "car.json"
    save_json(path, CAR)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_json(path, dataclasses.replace(CAR, name="b"))
    assert load_json(path, Car) == CAR
    assert [each.name for each in tmp_path.iterdir()] == ["car.json"]


def test_an_annotation_that_cannot_be_read_is_a_mistake_of_the_code() -> None:
    made = dataclasses.make_dataclass("Odd", [("x", bytes)])
    with pytest.raises(TypeError, match="x is annotated"):
        from_json(made, {"x": "a"})
