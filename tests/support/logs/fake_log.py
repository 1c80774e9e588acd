"""Writes a tiny log in PandaSet layout: a few frames of a few hundred random points, boxes and 16x12 images."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

EPOCH = 1557539958.5
CAMERA_LAG_S = {"front_camera": -0.05, "back_camera": -0.1}


def write_log(root: Path, *, frames: int = 3, points: int = 200, semseg: bool = True) -> Path:
    """Write a whole intact log into the folder `root`, which is returned; same arguments, same content."""
    rng = np.random.default_rng(0)
    stamps = [EPOCH + 0.1 * frame for frame in range(frames)]
    write_json(root / "lidar/timestamps.json", stamps)
    write_json(root / "lidar/poses.json", [pose(rng) for _ in stamps])
    for frame, stamp in enumerate(stamps):
        write_table(root / f"lidar/{frame:02d}.pkl.gz", sweep_table(rng, points, stamp))
        write_table(root / f"annotations/cuboids/{frame:02d}.pkl.gz", cuboid_table(rng))
        if semseg:
            labels = pd.DataFrame({"class": rng.integers(1, 40, points)})
            write_table(root / f"annotations/semseg/{frame:02d}.pkl.gz", labels)
    for name, lag in CAMERA_LAG_S.items():
        folder = root / "camera" / name
        write_json(folder / "timestamps.json", [stamp + lag for stamp in stamps])
        write_json(folder / "poses.json", [pose(rng) for _ in stamps])
        write_json(folder / "intrinsics.json", {"fx": 20.0, "fy": 21.0, "cx": 8.0, "cy": 6.0})
        for frame in range(frames):
            image = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
            (folder / f"{frame:02d}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    write_json(root / "meta/gps.json", [gps_entry(frame) for frame in range(frames)])
    return root


def gps_entry(frame: int) -> dict[str, float]:
    """Where the ego is, in PandaSet's form; 1e-6 degrees of latitude are 0.11 m."""
    return {"lat": 37.7 + 1e-6 * frame, "long": -122.4, "height": 3.0, "xvel": 0.0, "yvel": 1.0}


def write_logs(root: Path, count: int) -> Path:
    """Write the logs log0, log1, ... into `root`, each with frames enough for clips; returns `root`."""
    for number in range(count):
        write_log(root / f"log{number}", frames=16, points=60 + number, semseg=False)
    return root


def sweep_table(rng: np.random.Generator, points: int, stamp: float) -> pd.DataFrame:
    """A sweep that ends at `stamp`."""
    xyz = rng.uniform(-50, 50, (3, points))
    times = stamp + rng.uniform(-0.1, 0, points)
    columns = {"x": xyz[0], "y": xyz[1], "z": xyz[2], "i": rng.integers(0, 256, points).astype(float), "t": times}
    return pd.DataFrame(columns | {"d": rng.integers(0, 2, points)})


def cuboid_table(rng: np.random.Generator, rows: int = 4) -> pd.DataFrame:
    """Boxes with the same tracks in every frame."""
    columns: dict[str, object] = {
        "uuid": [f"track-{row}" for row in range(rows)],
        "label": ["Car", "Pedestrian", "Bus", "Bicycle"][:rows],
        "yaw": rng.uniform(-3, 3, rows),
        "stationary": [row % 2 == 0 for row in range(rows)],
        "camera_used": np.full(rows, -1),
    }
    columns |= {f"position.{axis}": rng.uniform(-30, 30, rows) for axis in "xyz"}
    columns |= {f"dimensions.{axis}": rng.uniform(1, 4, rows) for axis in "xyz"}
    columns |= {
        "cuboids.sensor_id": [-1, 0, 1, -1][:rows],
        "attributes.object_motion": [np.nan, "Moving"] * (rows // 2),
    }
    return pd.DataFrame(columns).astype({"uuid": object, "label": object, "attributes.object_motion": object})


def pose(rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """A random pose in PandaSet's form."""
    heading = rng.normal(size=4)
    heading /= np.linalg.norm(heading)
    position = dict(zip("xyz", rng.uniform(-10, 10, 3).tolist(), strict=True))
    return {"position": position, "heading": dict(zip("wxyz", heading.tolist(), strict=True))}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Pickle a table as PandaSet does: protocol 3, object strings, gzip unless the name says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pickle.dumps(table.set_axis(pd.Index(list(table.columns), dtype=object), axis=1), protocol=3)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def edit_table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table of a fake log."""
    with gzip.open(path) as file:
        write_table(path, change(pickle.load(file)))


def write_json(path: Path, content: object) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
