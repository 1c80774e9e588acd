"""A source as another package would bring it: two agents, one without LiDAR, PNG images, nothing annotated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.sources.base import CameraFrame, LogError, Sweep
from pipelines.sources.source import Source

SIZE = (64, 36)
K = np.array([[60.0, 0, 32], [0, 60.0, 18], [0, 0, 1]])
LOOK_AHEAD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.6], [0, 0, 0, 1]])  # camera axes in a car's


def write_own_log(folder: Path, *, frames: int = 16, lidar: bool = True) -> Path:
    """A car that follows a lorry along a wall; the lorry has a camera and no LiDAR."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "drive.json").write_text(json.dumps({"frames": frames, "start": 1.6e9}))
    ground, wall = rng.uniform([-6, 2, 0], [6, 30, 0], (300, 3)), rng.uniform([3, 2, 0], [3, 30, 4], (300, 3))
    for frame in range(frames):
        for number, agent in enumerate(("car", "lorry")):
            pixels = np.full((SIZE[1], SIZE[0], 3), (150, 180, 220), np.uint8)
            pixels[18:] = (90, 90, 95 + 40 * number)
            pixels[6:24, 40 + frame % 8 :] = (160, 110, 80)
            Image.fromarray(pixels).save(folder / f"{agent}-{frame:02d}.png")
        if lidar:
            np.save(folder / f"{frame:02d}.npy", np.concatenate([ground, wall]))
    return folder


class OwnLog:
    """One drive."""

    agents = ("car", "lorry")
    cameras = ("front@car", "front@lorry")

    def __init__(self, root: Path) -> None:
        self._root, self.log_id = root, root.name
        try:
            self._drive = json.loads((root / "drive.json").read_bytes())
        except (OSError, ValueError) as error:
            raise LogError(self.log_id, f"{error}; copy the drive again", file=root / "drive.json") from error
        self.num_frames, self.epoch = self._drive["frames"], self._drive["start"]

    def missing_frames(self) -> dict[int, str]:
        return {}

    def frame_time(self, frame: int) -> float:
        return 0.1 * frame

    def ego2world(self, frame: int) -> np.ndarray:
        pose = np.eye(4)
        pose[1, 3] = 0.5 * frame
        return pose

    def sweep(self, frame: int) -> Sweep | None:
        file = self._root / f"{frame:02d}.npy"
        if not file.exists():
            return None
        points, count = np.load(file), len(np.load(file))
        times, grey = np.full(count, 0.1 * frame - 0.02), np.full(count, 50.0)
        return Sweep(frame, 0.1 * frame, points, grey, times, *np.zeros((2, count), np.uint8))

    def cuboids(self, frame: int) -> None:
        return None

    def semantics(self, frame: int) -> None:
        return None

    def gps(self) -> None:
        return None

    def camera(self, camera: str, frame: int) -> CameraFrame:
        agent = self.agents[self.cameras.index(camera)]
        pose = self.ego2world(frame) @ LOOK_AHEAD
        pose[1, 3] += 4.0 * self.agents.index(agent)
        file = self._root / f"{agent}-{frame:02d}.png"
        return CameraFrame(frame, "front", 0.1 * frame - 0.01, pose, K, file, agent=agent, image_format="png")

    def input_files(self) -> tuple[Path, ...]:
        return tuple(sorted(self._root.iterdir()))


SOURCE = Source(
    name="own",
    description="a folder a drive, with drive.json",
    is_log=lambda path: (path / "drive.json").is_file(),
    open=OwnLog,
)
