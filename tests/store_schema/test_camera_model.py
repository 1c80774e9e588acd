"""Lens models as JSON and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_schema.camera_model import (
    CameraModel,
    OpenCVDistortion,
    OpenCVFisheye,
    Pinhole,
    model_from_json,
    model_to_json,
)

NUMBER = st.floats(-1e6, 1e6)


@given(
    st.one_of(
        st.just(Pinhole()),
        st.builds(OpenCVDistortion, *[NUMBER] * 8),
        st.builds(OpenCVDistortion, *[NUMBER] * 4),
        st.builds(OpenCVFisheye, *[NUMBER] * 4),
    )
)
def test_a_model_comes_back_from_its_json(model: CameraModel) -> None:
    assert model_from_json(json.loads(json.dumps(model_to_json(model)))) == model


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "one of"),
        ({"kind": "omni"}, "one of"),
        ({"kind": ["pinhole"]}, "one of"),
        ({"kind": "pinhole", "k1": 0.1}, "is no camera model"),
        ({"kind": "opencv", "k1": 0.1}, "is no camera model"),
        ({"kind": "opencv_fisheye", "k1": 0, "k2": "0", "k3": 0, "k4": 0}, "are numbers"),
        ({"kind": "opencv_fisheye", "k1": 0, "k2": True, "k3": 0, "k4": 0}, "are numbers"),
        ({"kind": "opencv_fisheye", "k1": 0, "k2": float("nan"), "k3": 0, "k4": 0}, "must be finite"),
    ],
)
def test_what_is_no_model_is_refused(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        model_from_json(raw)
