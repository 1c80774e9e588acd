"""Cuboids of a frame in PandaSet's columns, and the exact trajectories behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.synth.config import ForwardSpec
from pipelines.synth.sensors.lidar import forward_time, sweep_time
from pipelines.synth.street.traffic import Actor
from pipelines.synth.street.trajectory import STEP
from pipelines.synth.street.world import World

COLUMNS = (
    "uuid", "label", "yaw", "stationary", "camera_used", "position.x", "position.y", "position.z", "dimensions.x",
    "dimensions.y", "dimensions.z", "attributes.object_motion", "cuboids.sibling_id", "cuboids.sensor_id",
    "attributes.rider_status", "attributes.pedestrian_behavior", "attributes.pedestrian_age",
)  # fmt: skip
NOBODY = "-"


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Which actors each LiDAR meets in a log; decides who is annotated and who has sibling cuboids."""

    spinning: NDArray[np.bool_]  # [O]
    forward: NDArray[np.bool_]  # [O]

    def rows(self, actors: tuple[Actor, ...]) -> list[tuple[int, int]]:
        """(actor, sensor_id) of every frame's cuboids; the order and the members are the log's."""
        twins = [o for o, a in enumerate(actors) if not a.stationary and self.spinning[o] and self.forward[o]]
        seen = np.flatnonzero(self.spinning | self.forward)
        single = [(int(o), -1) for o in seen if o not in set(twins)]
        return [*single, *((o, 0) for o in twins), *((o, 1) for o in twins)]


def box_times(world: World, rows: list[tuple[int, int]], stamp: float, spec: ForwardSpec) -> NDArray[np.float64]:
    """[M] when the row's LiDAR looked at its actor: the moment the cuboid shows."""
    owner = np.array([o for o, _ in rows], dtype=np.int64)
    forward = np.array([sensor == 1 for _, sensor in rows], dtype=bool)
    time = np.full(len(rows), stamp - 0.05)
    for _ in range(4):
        pose, ego = world.tracks.at(time)[0], world.ego.at(time)[0]
        mine = pose[np.arange(len(rows)), owner] if len(rows) else np.zeros((0, 4))
        delta = mine[:, :2] - ego[:, :2]
        azimuth = np.arctan2(delta[:, 0], delta[:, 1]) + ego[:, 3]
        azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
        time = np.where(forward, forward_time(azimuth, stamp, spec), sweep_time(azimuth, stamp))
    return time


def _series(values: list[object]) -> pd.Series:
    return pd.Series(values, dtype=object)


def cuboids(world: World, rows: list[tuple[int, int]], stamp: float, spec: ForwardSpec) -> pd.DataFrame:
    """The frame's cuboids, world frame, with the dtypes of the real files."""
    actors = [world.actors[o] for o, _ in rows]
    time = box_times(world, rows, stamp, spec)
    pose = world.tracks.at(time)[0][np.arange(len(rows)), [o for o, _ in rows]]
    size = np.array([a.size for a in actors])
    centre = pose[:, :3] + np.stack([0 * time, 0 * time, size[:, 2] / 2], axis=-1)
    centre = np.round(centre @ world.street2world[:3, :3].T + world.street2world[:3, 3], 3)
    size = np.round(size, 3)
    yaw = (pose[:, 3] + world.world_yaw + np.pi) % (2 * np.pi) - np.pi
    people = [a.behavior is not None for a in actors]
    nan = float("nan")
    data = {
        "uuid": _series([a.sibling if s == 1 else a.uuid for a, (_, s) in zip(actors, rows, strict=True)]),
        "label": _series([a.label for a in actors]),
        "yaw": yaw,
        "stationary": np.array([a.stationary for a in actors], dtype=bool),
        "camera_used": np.full(len(rows), -1, dtype=np.int64),
        **{f"position.{axis}": centre[:, k] for k, axis in enumerate("xyz")},
        **{f"dimensions.{axis}": size[:, k] for k, axis in enumerate("xyz")},
        "attributes.object_motion": _series([a.motion or nan for a in actors]),
        "cuboids.sibling_id": _series(
            [{-1: NOBODY, 0: a.sibling, 1: a.uuid}[s] for a, (_, s) in zip(actors, rows, strict=True)]
        ),
        "cuboids.sensor_id": np.array([s for _, s in rows], dtype=np.int64),
        "attributes.rider_status": _series(["With Rider" if a.label == "Bicycle" else nan for a in actors]),
        "attributes.pedestrian_behavior": _series([a.behavior or nan for a in actors]),
        "attributes.pedestrian_age": _series(["Adult" if p else nan for p in people]),
    }
    frame = pd.DataFrame(data)
    frame.columns = pd.Index(COLUMNS, dtype=object)
    return frame


def trajectories(world: World) -> dict[str, NDArray]:
    """Exact motion of all O objects in the world frame, as cubic Hermite curves on T even knots.

    Keys: uuid, sibling, label [O] text; size [O, 3] m; start, step s since the first sweep stamp; value
    [T, O, 4] x, y, z (ground below the centre), yaw and slope [T, O, 4] their time derivatives.
    """
    turn = world.street2world[:3, :3]
    value, slope = world.tracks.value.copy(), world.tracks.slope.copy()
    value[..., :3] = value[..., :3] @ turn.T + world.street2world[:3, 3]
    value[..., 3] += world.world_yaw
    slope[..., :3] = slope[..., :3] @ turn.T
    return {
        "uuid": np.array([a.uuid for a in world.actors]),
        "sibling": np.array([a.sibling for a in world.actors]),
        "label": np.array([a.label for a in world.actors]),
        "size": np.array([a.size for a in world.actors]),
        "start": np.array(world.tracks.start),
        "step": np.array(STEP),
        "value": value,
        "slope": slope,
    }
