"""What a frame says beside its arrays, as JSON and back, checked by type."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from store_schema.frame_attributes import FrameAttributes
from store_schema.frame_store import FRAME_SCHEMA_VERSION
from tests.support.logs.small_frame import ATTRIBUTES


def read(raw: Any) -> FrameAttributes:
    return FrameAttributes.from_json(json.loads(json.dumps(raw)), FRAME_SCHEMA_VERSION)


def test_attributes_come_back_from_their_json() -> None:
    back = read(ATTRIBUTES.to_json())
    assert back.to_json() == ATTRIBUTES.to_json()
    assert [view.name for view in back.views] == ["front", "front@truck"]
    assert back.views[1].model == ATTRIBUTES.views[1].model
    assert back.views[1].K.dtype == back.ego2world.dtype == np.float64


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("time",), "0", "time is '0', not a number"),
        (("time",), True, "time is True, not a number"),
        (("ego2world",), [[1.0]], r"ego2world has shape \[1, 1\], not \[4, 4\]"),
        (("ego2world",), [["a"] * 4] * 4, "ego2world is no matrix of numbers"),
        (("has_cuboids",), 1, "has_cuboids is 1, not a bool"),
        (("track",), ["a", 1], "track holds more than texts"),
        (("label",), "Car", "label is 'Car', not a list"),
        (("views",), {}, "views is {}, not a list"),
        (("views", 0, "width"), 32.0, "width is 32.0, not a int"),
        (("views", 0, "width"), True, "width is True, not a int"),
        (("views", 0, "camera"), None, "camera is None, not a str"),
        (("views", 0, "image_format"), "gif", "image_format is 'gif'"),
        (("views", 0, "model"), {"kind": "omni"}, "a camera model is one of"),
        (("views", 0), "front", "the attributes have no image_format"),
    ],
)
def test_a_value_of_another_type_is_named(path: tuple, value: Any, reason: str) -> None:
    raw: Any = json.loads(json.dumps(ATTRIBUTES.to_json()))
    place = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=reason):
        read(raw)


@pytest.mark.parametrize("name", ["time", "ego2world", "views", "has_cuboids", "track", "label"])
def test_a_value_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        read({key: value for key, value in ATTRIBUTES.to_json().items() if key != name})
