"""The real PandaSet slice, read plainly with pandas and json: the tests' own eyes, not the product's reader."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.sources.base import CameraFrame, Cuboids, Sweep

CAMERAS = ("back", "front", "front_left", "front_right", "left", "right")
WIDTH, HEIGHT = 1920, 1080


def real_log() -> Path:
    """Folder of log 002; skips the test where there is none."""
    root = Path(os.environ.get("PANDASET_ROOT", Path(__file__).parents[3] / "../shared/pandaset"))
    if not (root / "002/lidar").is_dir():
        pytest.skip(f"no real PandaSet log 002 under {root} (set PANDASET_ROOT)")
    return root / "002"


@cache
def _json(path: Path) -> list | dict:
    return json.loads(path.read_text())


def matrix(pose: dict) -> np.ndarray:
    w, x, y, z = (pose["heading"][k] for k in "wxyz")
    out = np.eye(4)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, 3] = [pose["position"][k] for k in "xyz"]
    return out


@cache
def sweep(frame: int) -> Sweep:
    log = real_log()
    stamps = _json(log / "lidar/timestamps.json")
    table = pd.read_pickle(log / f"lidar/{frame:02d}.pkl.gz")
    return Sweep(
        frame=frame,
        time=stamps[frame] - stamps[0],
        points=table[["x", "y", "z"]].to_numpy(np.float64, copy=True),
        intensity=table["i"].to_numpy(np.float64, copy=True),
        times=table["t"].to_numpy(np.float64) - stamps[0],
        sensor=table["d"].to_numpy(np.uint8),
        agent=np.zeros(len(table), np.uint8),
    )


@cache
def ego2world(frame: int) -> np.ndarray:
    return matrix(_json(real_log() / "lidar/poses.json")[frame])


@cache
def cuboids(frame: int) -> Cuboids:
    table = pd.read_pickle(real_log() / f"annotations/cuboids/{frame:02d}.pkl.gz")
    return Cuboids(
        frame=frame,
        track=tuple(table["uuid"]),
        label=tuple(table["label"]),
        position=table[[f"position.{k}" for k in "xyz"]].to_numpy(np.float64, copy=True),
        size=table[[f"dimensions.{k}" for k in "xyz"]].to_numpy(np.float64, copy=True),
        yaw=table["yaw"].to_numpy(np.float64, copy=True),
        stationary=table["stationary"].to_numpy(bool),
        sensor=table["cuboids.sensor_id"].to_numpy(np.int8),
    )


@cache
def camera(name: str, frame: int) -> CameraFrame:
    log = real_log()
    folder = log / f"camera/{name}_camera"
    k = _json(folder / "intrinsics.json")
    return CameraFrame(
        frame=frame,
        camera=f"{name}_camera",
        time=_json(folder / "timestamps.json")[frame] - _json(log / "lidar/timestamps.json")[0],
        cam2world=matrix(_json(folder / "poses.json")[frame]),
        K=np.array([[k["fx"], 0, k["cx"]], [0, k["fy"], k["cy"]], [0, 0, 1.0]]),
        path=folder / f"{frame:02d}.jpg",
    )
