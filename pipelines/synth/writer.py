"""Files in PandaSet layout: the same input gives the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

SEMANTIC_CLASSES: tuple[str, ...] = (
    "Smoke", "Exhaust", "Spray or rain", "Reflection", "Vegetation", "Ground", "Road", "Lane Line Marking",
    "Stop Line Marking", "Other Road Marking", "Sidewalk", "Driveway", "Car", "Pickup Truck", "Medium-sized Truck",
    "Semi-truck", "Towed Object", "Motorcycle", "Other Vehicle - Construction Vehicle", "Other Vehicle - Uncommon",
    "Other Vehicle - Pedicab", "Emergency Vehicle", "Bus", "Personal Mobility Device", "Motorized Scooter", "Bicycle",
    "Train", "Trolley", "Tram / Subway", "Pedestrian", "Pedestrian with Object", "Animals - Bird", "Animals - Other",
    "Pylons", "Road Barriers", "Signs", "Cones", "Construction Signs", "Temporary Construction Barriers",
    "Rolling Containers", "Building", "Other Static Object",
)  # fmt: skip
"""Names of PandaSet's semantic classes 1..42."""
LATITUDE, LONGITUDE, EARTH = 37.77609, -122.39931, 6378137.0


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """A gzip pickle without a time stamp in its header."""
    write_bytes(path, gzip.compress(pickle.dumps(frame, protocol=4), compresslevel=4, mtime=0))


def write_arrays(path: Path, arrays: dict[str, NDArray]) -> None:
    """An npz; numpy stamps its members with a fixed date."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def write_json(path: Path, value: object, indent: int | None = None) -> None:
    """JSON as PandaSet's own files are spaced."""
    write_bytes(path, json.dumps(value, indent=indent).encode())


def pose_entry(matrix: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """A 4x4 a2world transform as PandaSet's position and heading (quaternion, w first)."""
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat(canonical=True)
    position = dict(zip("xyz", (float(v) for v in matrix[:3, 3]), strict=True))
    return {"position": position, "heading": {"w": float(w), "x": float(x), "y": float(y), "z": float(z)}}


def point_frame(
    points: NDArray[np.float64], intensity: NDArray[np.float64], time: NDArray[np.float64], sensor: NDArray[np.int64]
) -> pd.DataFrame:
    """A sweep in PandaSet's columns; points [P, 3] m in the world frame, time [P] epoch seconds."""
    columns = {"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], "i": intensity, "t": time, "d": sensor}
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(list(columns), dtype=object)
    frame.index.name = "index"
    return frame


def gps_entry(position: NDArray[np.float64], velocity: NDArray[np.float64]) -> dict[str, float]:
    """GPS of the ego: world x is taken as east; velocity [2] m/s in the ego's axes (right, forward)."""
    return {
        "lat": LATITUDE + float(np.degrees(position[1] / EARTH)),
        "long": LONGITUDE + float(np.degrees(position[0] / (EARTH * np.cos(np.radians(LATITUDE))))),
        "height": 2.9578 + float(position[2]),
        "xvel": float(velocity[0]),
        "yvel": float(velocity[1]),
    }


def class_frame(classes: NDArray[np.int64]) -> pd.DataFrame:
    """[P] semantic classes in PandaSet's column."""
    frame = pd.DataFrame({"class": classes})
    frame.columns = pd.Index(["class"], dtype=object)
    return frame
