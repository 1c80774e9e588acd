"""A small world for a spinning LiDAR: flat ground, boxes that move and turn, rays that stop at the first surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.motion import MotionSweep

PERIOD = 0.1
LIDAR = 1.9
ELEVATIONS = np.radians(np.concatenate([np.linspace(2.0, -6.0, 17), np.arange(-7.0, -25.0, -1.5)]))


@dataclass(frozen=True)
class Thing:
    """An upright box on the ground."""

    at: tuple[float, float]  # m, centre at 0 s
    size: tuple[float, float, float]  # m, along its heading, across, up
    velocity: tuple[float, float] = (0.0, 0.0)  # m/s
    yaw: float = 0.0  # rad at 0 s
    turn: float = 0.0  # rad/s

    def pose(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre [N, 2] and yaw [N]; the path bends as the box turns."""
        angle = self.turn * time
        if self.turn:
            forth, left = np.sin(angle) / self.turn, (1 - np.cos(angle)) / self.turn
        else:
            forth, left = time, 0 * time
        vx, vy = self.velocity
        centre = np.stack([self.at[0] + vx * forth - vy * left, self.at[1] + vy * forth + vx * left], -1)
        return centre, self.yaw + angle


HOUSES = (
    Thing((0, 45), (90, 2, 8)),
    Thing((0, -45), (90, 2, 8)),
    Thing((45, 0), (2, 88, 8)),
    Thing((-45, 0), (2, 88, 8)),
)


def scan(things: Sequence[Thing], frames: int, columns: int = 600, ego_speed: float = 0.0, seed: int = 0):
    """Sweeps of a LiDAR at the origin (at `ego_speed` along y), and what each return hit: row of `things`, -1 else."""
    everything, sweeps, hits = [*things, *HOUSES], [], []
    for frame in range(frames):
        rng = np.random.default_rng([seed, frame])
        stamp = frame * PERIOD
        turn = (np.arange(columns) + 0.5) / columns
        time = np.repeat(stamp + (turn - 1) * PERIOD, len(ELEVATIONS))
        azimuth = np.repeat(2 * np.pi * turn, len(ELEVATIONS))
        flat = np.tile(np.cos(ELEVATIONS), columns)
        ray = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.tile(np.sin(ELEVATIONS), columns)], -1)
        eye = np.stack([0 * time, ego_speed * time, LIDAR + 0 * time], -1)
        with np.errstate(divide="ignore"):
            away = np.where(ray[:, 2] < 0, -LIDAR / ray[:, 2], np.inf)
        hit = np.full(len(away), -1)
        for row, thing in enumerate(everything):
            met = meet(thing, eye, ray, time)
            nearer = met < away
            away[nearer], hit[nearer] = met[nearer], row
        kept = np.isfinite(away) & (away < 100)
        noisy = away[kept] + 0.01 * rng.standard_normal(kept.sum()).clip(-3, 3)
        points = eye[kept] + noisy[:, None] * ray[kept]
        pose = np.eye(4)
        pose[1, 3] = ego_speed * stamp
        sweeps.append(MotionSweep(stamp, pose, points, time[kept], np.zeros(len(points), np.uint8)))
        hits.append(np.where(hit[kept] < len(things), hit[kept], -1))
    return sweeps, hits


def meet(thing: Thing, eye: np.ndarray, ray: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Distance along each ray to the box [N], infinite past it."""
    centre, yaw = thing.pose(time)
    cos, sin = np.cos(yaw), np.sin(yaw)
    away = eye[:, :2] - centre
    start = np.stack(
        [cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0], eye[:, 2] - thing.size[2] / 2], -1
    )
    way = np.stack([cos * ray[:, 0] + sin * ray[:, 1], cos * ray[:, 1] - sin * ray[:, 0], ray[:, 2]], -1)
    half = np.array(thing.size) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (-half - start) / way, (half - start) / way
    near, far = np.fmin(one, two).max(1), np.fmax(one, two).min(1)
    return np.where((near < far) & (near > 0.5), near, np.inf)
