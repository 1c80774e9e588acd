"""Logs with the true motion of every point: the real slice by its cuboids, generated streets exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.geometry.projection import project
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.motion import MotionSweep
from pipelines.sources.pandaset.labels import PANDASET_BUCKETS
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.synth.config import FRAME_PERIOD, RIG, Preset, preset
from pipelines.synth.generate import camera2street
from pipelines.synth.sensors.lidar import sweep as scan_street
from pipelines.synth.street.world import build_world, euler2matrix
from store_schema.labels import DYNAMIC_THRESHOLD_M, Bucket, FlowClass

FULL_HD = (1920, 1080)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the points of one sweep really did; P rows."""

    flow: NDArray[np.float64]  # [P, 3] m to the next sweep, world axes
    flow_class: NDArray[np.uint8]  # [P] FlowClass
    bucket: NDArray[np.uint8]  # [P] Bucket
    in_view: NDArray[np.bool_]  # [P] in the front camera's image
    dt: float  # s to the next sweep


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One log: its sweeps, and the truth of all but the last, which no method sees."""

    name: str
    sweeps: tuple[MotionSweep, ...]
    truth: tuple[Truth, ...]


def real_case(log: Path, frames: Sequence[int] | None = None) -> Case:
    """A PandaSet log with the flow that the protocol scores. Frames must follow each other."""
    reader = PandaSetLog(log)
    numbers = range(reader.num_frames) if frames is None else frames
    given = [sweep for frame in numbers if (sweep := reader.sweep(frame)) is not None]
    truth = []
    for now, after in pairwise(given):
        boxes = reader.cuboids(now.frame)
        if boxes is None:
            raise SystemExit(f"log {reader.log_id} has no cuboids in frame {now.frame}: there is nothing to score with")
        flow = flow_ground_truth(now, boxes, reader.cuboids(after.frame), buckets=PANDASET_BUCKETS)
        camera = reader.camera("front_camera", now.frame)
        seen = project(now.points, camera.cam2world, camera.K, *FULL_HD).rows
        truth.append(
            Truth(flow.flow, flow.flow_class, flow.bucket, _mask(len(now.points), seen), after.time - now.time)
        )
    sweeps = tuple(MotionSweep.of(sweep, reader.ego2world(sweep.frame)) for sweep in given)
    return Case(f"{reader.log_id}", sweeps, tuple(truth))


def generated_case(log: int, frames: int, seed: int, size: Preset = "small") -> Case:
    """A generated street's sweeps with the exact velocity of every point; no image is drawn."""
    config = preset(size)
    world = build_world(seed, log, frames * FRAME_PERIOD)
    turn, shift = world.street2world[:3, :3], world.street2world[:3, 3]
    buckets = [PANDASET_BUCKETS.get(actor.label, Bucket.OTHER) for actor in world.actors]
    labels = np.array([*buckets, Bucket.BACKGROUND], np.uint8)
    sweeps, truth = [], []
    for frame in range(frames):
        stamp = frame * FRAME_PERIOD
        both = scan_street(world, config, stamp, (seed, log, 2, frame))
        points = np.concatenate([part.points for part in both]) @ turn.T + shift
        sweeps.append(
            MotionSweep(
                time=stamp,
                ego2world=world.street2world @ euler2matrix(world.ego.at(stamp)[0]),
                points=points,
                times=np.concatenate([part.time for part in both]),
                sensor=np.repeat(np.arange(2, dtype=np.uint8), [len(part.points) for part in both]),
            )
        )
        actor = np.concatenate([part.actor for part in both])
        flow = np.concatenate([part.velocity for part in both]) @ turn.T * FRAME_PERIOD
        moves = np.linalg.norm(flow, axis=1) >= DYNAMIC_THRESHOLD_M
        owned = np.where(moves, FlowClass.FOREGROUND_DYNAMIC, FlowClass.FOREGROUND_STATIC)
        classes = np.where(actor < 0, FlowClass.BACKGROUND_STATIC, owned).astype(np.uint8)
        cam2world = world.street2world @ camera2street(world, RIG[0], stamp + RIG[0].offset)
        fx, fy, cx, cy = RIG[0].K
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        seen = project(points, cam2world, K, *FULL_HD).rows
        truth.append(Truth(flow, classes, labels[actor], _mask(len(points), seen), FRAME_PERIOD))
    return Case(f"street {seed}/{log}", tuple(sweeps), tuple(truth[:-1]))


def _mask(count: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return mask
