"""A PandaSet log's JSON files: stamps, poses and intrinsics, checked while they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.base import LogError
from store_schema.codec import quats_to_rotations

_NORM_TOLERANCE = 1e-3


def read_stamps(log_id: str, path: Path, count: int | None = None) -> NDArray[np.float64]:
    """Epoch seconds of every frame [F]: finite and strictly increasing.

    Args:
        log_id: for errors.
        path: a ``timestamps.json``.
        count: frames the log declares; None where this file is what declares them.

    Raises:
        LogError: missing, damaged, of another length, not numbers, or not increasing.
    """
    values = _read_list(log_id, path, count)
    stamps = np.array([_number(log_id, path, value, frame, "a stamp") for frame, value in enumerate(values)])
    if len(falls := np.flatnonzero(np.diff(stamps) <= 0)):
        frame = int(falls[0]) + 1
        reason = f"stamps must increase: {stamps[frame]:.6f} s follows {stamps[frame - 1]:.6f} s; fetch the file again"
        raise LogError(log_id, reason, frame=frame, file=path)
    return stamps


def read_poses(log_id: str, path: Path, count: int) -> NDArray[np.float64]:
    """Sensor-to-world transforms of every frame [F, 4, 4], from positions and unit quaternions.

    Raises:
        LogError: missing, damaged, of another length, not finite, or a heading that is no rotation.
    """
    numbers = np.empty((count, 7))
    for frame, pose in enumerate(_read_list(log_id, path, count)):
        for column, (part, axis) in enumerate([("position", k) for k in "xyz"] + [("heading", k) for k in "wxyz"]):
            values = pose.get(part) if isinstance(pose, dict) else None
            value = values.get(axis) if isinstance(values, dict) else None
            numbers[frame, column] = _number(log_id, path, value, frame, f"{part}.{axis}")
    norms = np.linalg.norm(numbers[:, 3:], axis=1)
    if len(odd := np.flatnonzero(np.abs(norms - 1) > _NORM_TOLERANCE)):
        frame = int(odd[0])
        reason = f"heading is no rotation: its quaternion has norm {norms[frame]:.6g}, not 1"
        raise LogError(log_id, reason, frame=frame, file=path)
    transforms = np.zeros((count, 4, 4))
    transforms[:, :3, :3] = quats_to_rotations(numbers[:, 3:] / norms[:, None])
    transforms[:, :3, 3] = numbers[:, :3]
    transforms[:, 3, 3] = 1
    return transforms


def read_intrinsics(log_id: str, path: Path) -> NDArray[np.float64]:
    """Camera matrix K [3, 3] in pixels.

    Raises:
        LogError: missing, damaged, or a value that is not positive and finite.
    """
    values = _read(log_id, path)
    if not isinstance(values, dict):
        raise LogError(log_id, f"holds a {type(values).__name__} instead of fx, fy, cx and cy", file=path)
    fx, fy, cx, cy = (_number(log_id, path, values.get(name), None, name) for name in ("fx", "fy", "cx", "cy"))
    if min(fx, fy, cx, cy) <= 0:
        raise LogError(log_id, f"intrinsics must be positive, got fx={fx} fy={fy} cx={cx} cy={cy}", file=path)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _number(log_id: str, path: Path, value: Any, frame: int | None, what: str) -> float:
    """A finite number; true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        held = "is missing" if value is None else f"is a {type(value).__name__}"
        raise LogError(log_id, f"{what} {held}, expected a number", frame=frame, file=path)
    # An integer too large for a float counts as infinite.
    number = float(value) if abs(value) < 1e300 else float("nan")
    if not np.isfinite(number):
        raise LogError(log_id, f"{what} is not finite", frame=frame, file=path)
    return number


def _read_list(log_id: str, path: Path, count: int | None) -> list[Any]:
    values = _read(log_id, path)
    if not isinstance(values, list):
        raise LogError(log_id, f"holds a {type(values).__name__} instead of a list with one entry a frame", file=path)
    if not values:
        raise LogError(log_id, "lists no frames; fetch the file again", file=path)
    if count is not None and len(values) != count:
        reason = f"lists {len(values)} frames, lidar/timestamps.json lists {count}; fetch both files again"
        raise LogError(log_id, reason, file=path)
    return values


def _read(log_id: str, path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LogError(log_id, "the file is missing; fetch it again", file=path) from None
    except OSError as error:
        raise LogError(log_id, f"cannot be read: {error.strerror}", file=path) from error
    # ValueError covers broken JSON and broken text.
    except (ValueError, RecursionError) as error:
        raise LogError(log_id, f"is not valid JSON ({error}); fetch the file again", file=path) from error
