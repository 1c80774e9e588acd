"""How a camera maps directions to pixels: pinhole, or one of OpenCV's lens models, with its coefficients.

A view's ``K`` holds focal lengths and centre; the model says what the lens does before. Names and formulas are OpenCV's
(``calib3d``, ``fisheye``); COLMAP calls the models PINHOLE, OPENCV or FULL_OPENCV, and OPENCV_FISHEYE.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Pinhole:
    """No distortion: ``u = fx x/z + cx``, ``v = fy y/z + cy``. Also what images are that were undistorted."""

    kind: ClassVar[str] = "pinhole"


@dataclass(frozen=True, slots=True)
class OpenCVDistortion:
    """Radial and tangential distortion of ``cv2.projectPoints``: k1 k2 p1 p2 k3, and the rational model's k4 k5 k6."""

    kind: ClassVar[str] = "opencv"
    k1: float
    k2: float
    p1: float
    p2: float
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0

    def __post_init__(self) -> None:
        _check_finite(self)


@dataclass(frozen=True, slots=True)
class OpenCVFisheye:
    """Equidistant fisheye of ``cv2.fisheye``: the angle t to the axis becomes t (1 + k1 t^2 + k2 t^4 + ...)."""

    kind: ClassVar[str] = "opencv_fisheye"
    k1: float
    k2: float
    k3: float
    k4: float

    def __post_init__(self) -> None:
        _check_finite(self)


CameraModel: TypeAlias = Pinhole | OpenCVDistortion | OpenCVFisheye
PINHOLE = Pinhole()
_MODELS: Mapping[str, type[CameraModel]] = {model.kind: model for model in (Pinhole, OpenCVDistortion, OpenCVFisheye)}


def model_to_json(model: CameraModel) -> dict[str, Any]:
    """``{"kind": ..., coefficient: value, ...}``."""
    return {"kind": model.kind, **asdict(model)}


def model_from_json(raw: Any) -> CameraModel:
    """The model that `model_to_json` wrote.

    Raises:
        ValueError: no known model, or other coefficients than the model's.
    """
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in _MODELS:
        raise ValueError(f"a camera model is one of {sorted(_MODELS)}, got {raw!r}")
    coefficients = {name: value for name, value in raw.items() if name != "kind"}
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in coefficients.values()):
        raise ValueError(f"the coefficients of a camera model are numbers, got {raw!r}")
    try:
        return _MODELS[kind](**{name: float(value) for name, value in coefficients.items()})
    except TypeError as error:
        raise ValueError(f"{raw!r} is no camera model: {error}") from error


def _check_finite(model: CameraModel) -> None:
    if odd := [name for name, value in asdict(model).items() if not math.isfinite(value)]:
        raise ValueError(f"coefficients of {model.kind} must be finite, {odd} are not")
