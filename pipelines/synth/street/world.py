"""One generated street: its objects, their motion and the sun. A function of the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import SeedSequence, default_rng
from numpy.typing import NDArray

from pipelines.synth.street.layout import StreetPlan, build_street, draw_plan
from pipelines.synth.street.models import Parts
from pipelines.synth.street.traffic import Actor, cast, drive_ego
from pipelines.synth.street.trajectory import Track, knots, stack
from pipelines.synth.surfaces import rays

MARGIN = 0.5
"""Seconds a world lives before its first and after its last stamp."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything in the street frame; N primitives, O actors. Time 0 is the first sweep's stamp."""

    plan: StreetPlan
    street: NDArray[np.float64]  # the plan as numbers
    shape: NDArray[np.float64]  # [N, 10] see `rays.place`
    col: NDArray[np.float64]  # [N, 6]
    kind: NDArray[np.int64]  # [N]
    mat: NDArray[np.int64]  # [N]
    owner: NDArray[np.int64]  # [N] actor, or -1
    semantic: NDArray[np.int64]  # [N] PandaSet class
    actors: tuple[Actor, ...]
    tracks: Track  # [T, O, 4]
    ego: Track  # [T, 6] x, y, z, yaw, pitch, roll
    sun: NDArray[np.float64]  # [3] unit, towards the sun
    sky_seed: int
    street2world: NDArray[np.float64]  # [4, 4]; turns about z only

    @property
    def world_yaw(self) -> float:
        """Turn of `street2world`, rad."""
        return float(np.arctan2(self.street2world[1, 0], self.street2world[0, 0]))

    def placed(self, time: float) -> NDArray[np.float64]:
        """[N, PLACED] primitives at a time, street frame."""
        out = np.empty((len(self.shape), rays.PLACED))
        rays.place(self.shape, self.owner, self.tracks.at(time)[0], out)
        return out


def euler2matrix(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., 4, 4] ego2street of poses [..., 6] (x, y, z, yaw, pitch, roll): Rz(yaw) Rx(pitch) Ry(roll)."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(pose[..., k]), np.sin(pose[..., k])) for k in (3, 4, 5))
    out = np.zeros((*pose.shape[:-1], 4, 4))
    out[..., 0, 0], out[..., 0, 1], out[..., 0, 2] = cy * cr - sy * sp * sr, -sy * cp, cy * sr + sy * sp * cr
    out[..., 1, 0], out[..., 1, 1], out[..., 1, 2] = sy * cr + cy * sp * sr, cy * cp, sy * sr - cy * sp * cr
    out[..., 2, 0], out[..., 2, 1], out[..., 2, 2] = -cp * sr, sp, cp * cr
    out[..., :3, 3] = pose[..., :3]
    out[..., 3, 3] = 1.0
    return out


def _sun(elevation: float, azimuth: float) -> NDArray[np.float64]:
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def build_world(seed: int, log: int, seconds: float) -> World:
    """The street of log number `log` under `seed`, alive for `seconds`."""
    rng = default_rng(SeedSequence([seed, log]))
    times = knots(-MARGIN, seconds + MARGIN)
    plan = draw_plan(rng, 9.0 * seconds)
    ego = drive_ego(plan, rng, times)
    parts = Parts()
    build_street(parts, plan, rng)
    actors = cast(plan, rng, ego, times, parts)
    shape, col, ids = parts.arrays()
    yaw = float(rng.uniform(-np.pi, np.pi))
    street2world = np.eye(4)
    street2world[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    street2world[:3, 3] = -street2world[:3, :3] @ ego.at(0.0)[0][:3]
    return World(
        plan=plan,
        street=plan.numbers(),
        shape=shape,
        col=col,
        kind=ids[:, 0].copy(),
        mat=ids[:, 1].copy(),
        owner=ids[:, 2].copy(),
        semantic=ids[:, 3].copy(),
        actors=tuple(actors),
        tracks=stack([a.track for a in actors]),
        ego=ego,
        sun=_sun(float(rng.uniform(0.65, 1.0)), float(rng.uniform(-np.pi, np.pi))),
        sky_seed=int(rng.integers(1, 9000)),
        street2world=street2world,
    )
