"""A small clip made in memory: textured ground, a wall and one moving box before one camera."""

from __future__ import annotations

import numpy as np
import simplejpeg

from store_schema.clip import Boxes, Clip, ClipRecord, LiftedPoints, View
from store_schema.labels import Bucket, FlowClass

BOX_VELOCITY = np.array([0.0, 5.0, 0.0])  # m/s, ego0: y is forward
CAMERA_HEIGHT_M = 1.6


def _points(rng: np.random.Generator, frames: tuple[int, ...], per_frame: int) -> LiftedPoints:
    thirds = per_frame // 3
    columns: dict[str, list[np.ndarray]] = {}
    for frame in frames:
        ground = np.c_[rng.uniform(-10, 10, thirds), rng.uniform(3, 30, thirds), np.zeros(thirds)]
        wall = np.c_[rng.uniform(-10, 10, thirds), np.full(thirds, 30.0), rng.uniform(0, 6, thirds)]
        box = rng.uniform([-1, -2, 0], [1, 2, 1.5], (thirds, 3)) + [2.0, 12.0, 0.0] + BOX_VELOCITY * frame * 0.1
        means = np.concatenate([ground, wall, box])
        rgb = np.repeat([[90, 90, 95], [160, 110, 80], [200, 30, 30]], thirds, axis=0)
        moving = np.arange(len(means)) >= 2 * thirds
        add = {
            "means": means.astype(np.float32),
            "scales": np.full(len(means), 0.15, np.float32),
            "rgb": (rgb + rng.integers(-20, 20, rgb.shape)).clip(0, 255).astype(np.uint8),
            "camera": np.zeros(len(means), np.int8),
            "times": np.full(len(means), frame * 0.1 - 0.05, np.float32),
            "frame": np.full(len(means), frame, np.int16),
            "sensor": np.zeros(len(means), np.uint8),
            "agent": np.zeros(len(means), np.uint8),
            "intensity": np.full(len(means), 10, np.uint8),
            "in_view": np.ones(len(means), bool),
            "flow": np.where(moving[:, None], BOX_VELOCITY * 0.1, 0.0).astype(np.float32),
            "flow_class": np.where(moving, FlowClass.FOREGROUND_DYNAMIC, FlowClass.BACKGROUND_STATIC).astype(np.uint8),
            "bucket": np.where(moving, Bucket.CAR, Bucket.BACKGROUND).astype(np.uint8),
            "smooth_flow": np.where(moving[:, None], BOX_VELOCITY * 0.11, 0.0).astype(np.float32),
        }
        for name, value in add.items():
            columns.setdefault(name, []).append(value)
    return LiftedPoints(**{name: np.concatenate(parts) for name, parts in columns.items()})


def make_clip(
    *, width: int = 96, height: int = 54, per_frame: int = 300, seed: int = 0, setting: str = "evaluation"
) -> Clip:
    """A clip of 11 (16 for future settings) frames at 10 Hz; the ego stands still."""
    rng = np.random.default_rng(seed)
    future = () if setting == "train_interpolation" else (11, 12, 13, 14, 15)
    record = ClipRecord(
        clip_id=f"toy-{setting}-s000",
        log_id="toy",
        split="test" if setting == "evaluation" else "train",
        setting=setting,  # type: ignore[arg-type]
        first_frame=0,
        num_frames=16 if future else 11,
        input_frames=(0, 2, 4, 6, 8, 10),
        interpolation_frames=(1, 3, 5, 7, 9),
        future_frames=future,
    )
    focal = float(width)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    cam2ego0 = np.eye(4)
    cam2ego0[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z forward -> x, -z, y
    cam2ego0[2, 3] = CAMERA_HEIGHT_M
    points = _points(rng, record.input_frames, per_frame)
    views = []
    for frame in sorted(record.input_frames + record.target_frames):
        image = np.empty((height, width, 3), np.uint8)
        image[: height // 2] = (150, 180, 220)
        image[height // 2 :] = (90, 90, 95)
        column = int(width / 2 + focal * 2.0 / (12.0 + 0.5 * frame))
        mask = np.zeros((height, width), bool)
        mask[height // 2 - 2 : height // 2 + 6, column - 4 : column + 5] = True
        image[mask] = (200, 30, 30)
        ground = np.arange(height // 2 + 3, height)
        pixel = (ground * width + width // 2).astype(np.int32)
        depth = (focal * CAMERA_HEIGHT_M / (ground + 0.5 - height / 2)).astype(np.float32)
        views.append(
            View(
                frame=frame,
                camera="front_camera",
                role=record.role(frame),
                time=frame * 0.1 - 0.05,
                cam2ego0=cam2ego0,
                K=K,
                width=width,
                height=height,
                image=simplejpeg.encode_jpeg(image, quality=95),
                depth_pixel=pixel,
                depth=depth,
                depth_visible=np.arange(len(depth)) > 0,
                moving_mask=mask,
            )
        )
    box2ego0 = np.tile(np.eye(4, dtype=np.float32), (record.num_frames, 1, 1))
    box2ego0[:, :3, 3] = [2.0, 12.0, 0.75] + BOX_VELOCITY * 0.1 * np.arange(record.num_frames)[:, None]
    boxes = Boxes(
        frame=np.arange(record.num_frames, dtype=np.int16),
        track=("car-1",) * record.num_frames,
        label=("Car",) * record.num_frames,
        box2ego0=box2ego0,
        size=np.tile(np.array([2.0, 4.0, 1.5], np.float32), (record.num_frames, 1)),
        sensor=np.full(record.num_frames, -1, np.int8),
        moving=np.ones(record.num_frames, bool),
    )
    return Clip(
        record=record,
        rig_cameras=("front_camera",),
        view_cameras=("front_camera",),
        sweep_times=np.arange(record.num_frames) * 0.1,
        ego2ego0=np.tile(np.eye(4), (record.num_frames, 1, 1)),
        points=points,
        views=tuple(views),
        boxes=boxes,
    )
