"""A PandaSet log's JSON files: stamps, poses, intrinsics and GPS, checked while they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.base import LogError
from pipelines.sources.files import read_file
from store_schema.codec import quats_to_rotations

MAX_POSITION_M = 1e6
"""Bound of a world coordinate: PandaSet's lie within a few kilometres, the store's grid holds 2,000 km."""
MAX_GAP_S = 10.0
"""Bound of the time between two sweeps; PandaSet's come every 0.1 s."""
_MAX_FOCAL_PX = 1e6
_MAX_BYTES = 64 << 20
"""Bound of a JSON file; PandaSet's have a few kilobytes."""
_NORM_TOLERANCE = 1e-3


def read_stamps(log_id: str, path: Path, count: int | None = None) -> NDArray[np.float64]:
    """Epoch seconds of every frame [F]: finite, strictly increasing; those of the sweeps at most `MAX_GAP_S` apart.

    Args:
        log_id: for errors.
        path: a ``timestamps.json``.
        count: frames the log declares; None where this file is what declares them.

    Raises:
        LogError: missing, damaged, of another length, not numbers, not increasing, or too far apart.
    """
    values = _read_list(log_id, path, count)
    stamps = np.array([_number(log_id, path, value, frame, "a stamp") for frame, value in enumerate(values)])
    gaps = np.diff(stamps)
    # Cameras' stamps are compared with the sweeps' instead.
    longest = MAX_GAP_S if count is None else np.inf
    if len(odd := np.flatnonzero((gaps <= 0) | (gaps > longest))):
        frame = int(odd[0]) + 1
        rule = "increase" if gaps[frame - 1] <= 0 else f"follow each other within {MAX_GAP_S:g} s"
        raise _error(log_id, path, f"stamps must {rule}: {stamps[frame]:.6f} s after {stamps[frame - 1]:.6f} s", frame)
    return stamps


def read_poses(log_id: str, path: Path, count: int) -> NDArray[np.float64]:
    """Sensor-to-world transforms of every frame [F, 4, 4], from positions and unit quaternions.

    Raises:
        LogError: missing, damaged, of another length, not finite, far off, or a heading that is no rotation.
    """
    numbers = np.empty((count, 7))
    for frame, pose in enumerate(_read_list(log_id, path, count)):
        for column, (part, axis) in enumerate([("position", k) for k in "xyz"] + [("heading", k) for k in "wxyz"]):
            values = pose.get(part) if isinstance(pose, dict) else None
            value = values.get(axis) if isinstance(values, dict) else None
            numbers[frame, column] = _number(log_id, path, value, frame, f"{part}.{axis}")
    if len(far := np.flatnonzero((np.abs(numbers[:, :3]) > MAX_POSITION_M).any(axis=1))):
        place = numbers[far[0], :3].tolist()
        reason = f"position is {place} m, expected at most {MAX_POSITION_M:g} m from the origin"
        raise _error(log_id, path, reason, int(far[0]))
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(numbers[:, 3:], axis=1)
    if len(odd := np.flatnonzero(np.abs(norms - 1) > _NORM_TOLERANCE)):
        frame = int(odd[0])
        raise _error(log_id, path, f"heading is no rotation: its quaternion has norm {norms[frame]:.6g}, not 1", frame)
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
        raise _error(log_id, path, f"holds a {type(values).__name__} instead of fx, fy, cx and cy")
    fx, fy, cx, cy = (_number(log_id, path, values.get(name), None, name) for name in ("fx", "fy", "cx", "cy"))
    if min(fx, fy, cx, cy) <= 0 or max(fx, fy, cx, cy) > _MAX_FOCAL_PX:
        reason = f"intrinsics must be positive and at most {_MAX_FOCAL_PX:g}, got fx={fx} fy={fy} cx={cx} cy={cy}"
        raise _error(log_id, path, reason)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def read_gps(log_id: str, path: Path, count: int) -> NDArray[np.float64]:
    """Latitude and longitude of every frame [F, 2], degrees (WGS84).

    Raises:
        LogError: missing, damaged, of another length, not finite, or beyond the globe.
    """
    degrees = np.empty((count, 2))
    for frame, entry in enumerate(_read_list(log_id, path, count)):
        for column, (name, limit) in enumerate((("lat", 90), ("long", 180))):
            value = entry.get(name) if isinstance(entry, dict) else None
            degree = degrees[frame, column] = _number(log_id, path, value, frame, name)
            if abs(degree) > limit:
                raise _error(log_id, path, f"{name} is {degree:g} degrees, expected -{limit} to {limit}", frame)
    return degrees


def _error(log_id: str, path: Path, reason: str, frame: int | None = None) -> LogError:
    return LogError(log_id, f"{reason}; fetch the file again", frame=frame, file=path)


def _number(log_id: str, path: Path, value: Any, frame: int | None, what: str) -> float:
    """A finite number; true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        held = "is missing" if value is None else f"is a {type(value).__name__}"
        raise _error(log_id, path, f"{what} {held}, expected a number", frame)
    # An integer too large for a float counts as infinite.
    number = float(value) if abs(value) < 1e300 else float("nan")
    if not np.isfinite(number):
        raise _error(log_id, path, f"{what} is not finite", frame)
    return number


def _read_list(log_id: str, path: Path, count: int | None) -> list[Any]:
    values = _read(log_id, path)
    if not isinstance(values, list):
        raise _error(log_id, path, f"holds a {type(values).__name__} instead of a list with one entry a frame")
    if not values:
        raise _error(log_id, path, "lists no frames")
    if count is not None and len(values) != count:
        reason = f"lists {len(values)} frames, lidar/timestamps.json lists {count}; fetch both files again"
        raise LogError(log_id, reason, file=path)
    return values


def _read(log_id: str, path: Path) -> Any:
    data = read_file(log_id, path, _MAX_BYTES)
    try:
        return json.loads(data)
    # ValueError covers broken JSON and broken text.
    except (ValueError, RecursionError) as error:
        raise _error(log_id, path, f"is not valid JSON ({error})") from error
