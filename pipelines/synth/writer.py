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

from pipelines.geometry.geodesy import radii

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
LATITUDE, LONGITUDE = 37.77609, -122.39931
"""Place of log 0 of seed 0, degrees."""
CELL = 0.1
"""Degrees between the places of two logs; 5.5 km or more, as latitudes stay within 60."""
LOGS, COLUMNS, ROWS = 1000, 3600, 1200
"""Places a seed, and in the whole grid along longitude and latitude (-60..60)."""


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


def gps_origin(seed: int, log: int) -> tuple[float, float]:
    """Latitude and longitude (degrees) of a log's world origin: two logs never stand in one street.

    Logs 0..999 of seeds 0..4319 have a place of their own on a grid; beyond, places come again.
    """
    row, column = divmod(seed * LOGS + log, COLUMNS)
    return (LATITUDE + 60 + CELL * (row % ROWS)) % 120 - 60, (LONGITUDE + 180 + CELL * column) % 360 - 180


def gps_entry(
    position: NDArray[np.float64],  # [3] m, world
    velocity: NDArray[np.float64],  # [2] m/s in the ego's axes (right, forward)
    origin: tuple[float, float],  # degrees, of the world's origin
) -> dict[str, float]:
    """GPS of the ego in the tangent plane of the origin: world x is east, y north. Rounded to 1 micrometre."""
    meridian, normal = radii(origin[0])
    north = np.degrees(position[1] / meridian)
    east = np.degrees(position[0] / (normal * np.cos(np.radians(origin[0]))))
    return {
        "lat": round(origin[0] + float(north), 11),
        "long": round((origin[1] + float(east) + 180) % 360 - 180, 11),
        "height": 2.9578 + float(position[2]),
        "xvel": float(velocity[0]),
        "yvel": float(velocity[1]),
    }


def class_frame(classes: NDArray[np.int64]) -> pd.DataFrame:
    """[P] semantic classes in PandaSet's column."""
    frame = pd.DataFrame({"class": classes})
    frame.columns = pd.Index(["class"], dtype=object)
    return frame
