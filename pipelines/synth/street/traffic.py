"""The moving street: the ego's drive, cars, a bus, cyclists, people. Candidates that would collide are dropped."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from pipelines.synth.config import EGO_HEIGHT
from pipelines.synth.street import models
from pipelines.synth.street.layout import LANE, SIDES, StreetPlan
from pipelines.synth.street.models import Parts, Triple
from pipelines.synth.street.trajectory import Path2D, Track, fit, line, travelled, turn
from pipelines.synth.surfaces.ground import KERB, PAVEMENT

TRIES = 12
"""Draws of a manoeuvre before it is left out."""
Speed = Callable[[NDArray[np.float64]], ArrayLike]
Model = Callable[[Parts], Triple]
EGO_SIZE: Triple = (2.1, 4.9, 1.8)


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """One annotated object: parked, stopped or moving. Its origin is on the ground below its centre."""

    uuid: str
    sibling: str  # uuid of the second LiDAR's cuboid, used when both see it moving
    label: str
    size: Triple  # width, length, height, m
    track: Track  # x, y, z, yaw in the street frame
    motion: str | None  # Parked, Stopped, Moving; None for people and cones
    behavior: str | None = None  # Walking, Standing; people only

    @property
    def stationary(self) -> bool:
        """The annotator's flag: false for every person, as in the real data."""
        return self.motion in ("Parked", "Stopped") or self.label == "Cones"


def drive_ego(plan: StreetPlan, rng: Generator, times: NDArray[np.float64]) -> Track:
    """[T, 6] track of the ego frame: x, y, z, yaw, pitch, roll."""
    speed, gain = float(rng.uniform(5.5, 9.0)), float(rng.uniform(-0.3, 0.6))
    y = travelled(times, lambda t: np.maximum(speed + gain * t, 4.0))
    phase = rng.uniform(0.0, 6.28, 3)
    x = (plan.lanes - 0.5) * LANE + 0.28 * np.sin(0.06 * y + phase[0])
    yaw = -np.arctan(0.28 * 0.06 * np.cos(0.06 * y + phase[0]))
    pitch = 0.002 * np.sin(2.3 * times + phase[1])
    roll = 0.003 * np.sin(1.7 * times + phase[2])
    return fit(times, np.stack([x, y, np.full_like(y, EGO_HEIGHT), yaw, pitch, roll], axis=-1))


def _discs(track: Track, size: Triple) -> tuple[NDArray[np.float64], float]:
    """[T, 3, 2] centres of three discs that cover an object, and their radius."""
    x, y, yaw = track.value[:, 0], track.value[:, 1], track.value[:, 3]
    reach = max(0.0, 0.5 * (size[1] - size[0]))
    offsets = reach * np.array([-1.0, 0.0, 1.0])
    centres = np.stack([x[:, None] - np.sin(yaw)[:, None] * offsets, y[:, None] + np.cos(yaw)[:, None] * offsets], -1)
    return centres, 0.5 * size[0] + 0.12


@dataclass
class TrafficStage:
    """Collects actors that never touch one another."""

    plan: StreetPlan
    rng: Generator
    times: NDArray[np.float64]
    parts: Parts
    actors: list[Actor] = field(default_factory=list)
    taken: list[tuple[NDArray[np.float64], float]] = field(default_factory=list)

    def free(self, track: Track, size: Triple) -> bool:
        """Whether the way is clear at every knot."""
        centres, radius = _discs(track, size)
        for other, other_radius in self.taken:
            gap = np.linalg.norm(centres[:, :, None] - other[:, None, :], axis=-1)
            if gap.min() < radius + other_radius:
                return False
        return True

    def track(self, curve: Path2D, speed: Speed | None, start: float = 0.0) -> Track:
        """Follow a path from arc length `start` at t = 0; kerbs lift whoever leaves the road."""
        s = np.zeros_like(self.times) if speed is None else travelled(self.times, speed)
        pose = curve(start + s)
        in_block = np.array([self.plan.clear(float(y)) for y in pose[:, 1]])
        depth = np.minimum(np.abs(pose[:, 0]) - self.plan.half, in_block)
        step = np.clip(depth / 0.5, 0.0, 1.0)
        z = KERB * step * step * (3.0 - 2.0 * step)
        return fit(self.times, np.column_stack([pose[:, :2], z, pose[:, 2]]))

    def add(self, model: Model, label: str, track: Track, motion: str | None, behavior: str | None = None) -> bool:
        """Put an actor on stage unless it would collide; tells whether it is there."""
        trial = Parts(owner=len(self.actors))
        size = model(trial)
        names = [str(uuid.UUID(bytes=self.rng.bytes(16), version=4)) for _ in range(2)]
        if not self.free(track, size):
            return False
        self.taken.append(_discs(track, size))
        self.actors.append(Actor(names[0], names[1], label, size, track, motion, behavior))
        self.parts.shape += trial.shape
        self.parts.col += trial.col
        self.parts.ids += trial.ids
        return True

    def car(self, track: Track, motion: str = "Moving") -> bool:
        """Add a car of a random make."""
        style = str(self.rng.choice(["sedan", "sedan", "hatch", "suv", "suv", "pickup"]))
        paint = models.pick(self.rng, models.PAINTS)
        label = "Pickup Truck" if style == "pickup" else "Car"
        return self.add(lambda parts: models.car(parts, self.rng, style, paint), label, track, motion)

    def person(self, track: Track, walks: bool) -> bool:
        """Add someone on foot, a third of them with a bag."""
        kind = models.PERSON_WITH_OBJECT if self.rng.random() < 0.34 else models.PEDESTRIAN
        label = "Pedestrian with Object" if kind == models.PERSON_WITH_OBJECT else "Pedestrian"
        stride = float(self.rng.uniform(0.25, 0.5)) if walks else 0.0
        model: Model = lambda parts: models.person(parts, self.rng, kind, stride)  # noqa: E731
        return self.add(model, label, track, None, "Walking" if walks else "Standing")


def _steady(rng: Generator, low: float, high: float, gain: float = 0.0) -> Speed:
    v, a = float(rng.uniform(low, high)), float(rng.uniform(-gain, gain))
    return lambda t: np.clip(v + a * t, 0.5 * v, 1.6 * v)


def _same_direction(stage: TrafficStage, ego: Track) -> None:
    """A leader that brakes and speeds up, a follower, and (two lanes) one that overtakes."""
    rng, x = stage.rng, (stage.plan.lanes - 0.5) * LANE
    ego_speed: Speed = lambda t: np.interp(t, stage.times, ego.slope[:, 1])  # noqa: E731
    swing, phase = float(rng.uniform(1.0, 2.2)), float(rng.uniform(0, 6.28))
    lead: Speed = lambda t: np.maximum(np.asarray(ego_speed(t)) + swing * np.sin(1.5 * t + phase), 1.0)  # noqa: E731
    stage.car(stage.track(line(x, float(rng.uniform(13.0, 21.0)), 0.0), lead))
    stage.car(stage.track(line(x, float(rng.uniform(-15.0, -10.0)), 0.0), ego_speed))
    far = _steady(rng, 8.0, 11.0, 0.6)
    stage.car(stage.track(line(x, float(rng.uniform(45.0, 70.0)), 0.0), far))
    if stage.plan.lanes < 2:
        return
    left, begin = 0.5 * LANE, float(rng.uniform(-16.0, -3.0))
    faster: Speed = lambda t: np.asarray(ego_speed(t)) + 3.8  # noqa: E731
    track = stage.track(line(left, begin, 0.0), faster)
    stage.car(_change_lane(stage, track, LANE, float(rng.uniform(2.2, 3.2)))) or stage.car(track)
    stage.car(stage.track(line(left, float(rng.uniform(26.0, 40.0)), 0.0), _steady(rng, 7.0, 11.0, 1.0)))


def _change_lane(stage: TrafficStage, track: Track, offset: float, start: float) -> Track:
    """The same drive, shifted by `offset` m in x within 2.5 s from `start`."""
    u = np.clip((stage.times - start) / 2.5, 0.0, 1.0)
    value = track.value.copy()
    value[:, 0] += offset * u**3 * (10.0 - 15.0 * u + 6.0 * u * u)
    rate = offset * 30.0 * u**2 * (1.0 - u) ** 2 / 2.5
    value[:, 3] -= np.arctan2(rate, track.slope[:, 1])
    return fit(stage.times, value)


def _oncoming(stage: TrafficStage, reach: float) -> None:
    rng = stage.rng
    for lane in range(stage.plan.lanes):
        y = float(rng.uniform(8.0, 22.0))
        gain = float(rng.uniform(-0.8, 0.8))
        v = float(rng.uniform(6.5, 10.0))
        while y < reach + 110.0:
            speed: Speed = lambda t, v=v, gain=gain: np.clip(v + gain * t, 3.0, 13.0)  # type: ignore[misc]  # noqa: E731
            track = stage.track(line(-(lane + 0.5) * LANE, y, np.pi), speed)
            if lane == stage.plan.lanes - 1 and rng.random() < 0.22:
                paint = models.pick(rng, models.PAINTS)
                stage.add(lambda parts, paint=paint: models.bus(parts, rng, paint), "Bus", track, "Moving")  # type: ignore[misc]
            else:
                stage.car(track)
            y += float(rng.uniform(14.0, 34.0))


def _junctions(stage: TrafficStage) -> None:
    """Turning, crossing and waiting cars at every cross street ahead."""
    rng, plan = stage.rng, stage.plan
    right_lane = (plan.lanes - 0.5) * LANE
    for cross in plan.crosses[1:]:
        # Turns happen about when the ego comes near, whatever the street's length.
        late = -5.5 * max(0.0, (cross - 30.0) / 7.5)
        for _ in range(TRIES):
            before = float(rng.uniform(-2.0, 9.0))
            right = turn(before + 5.0 + right_lane, cross + 0.5 * LANE, np.pi / 2, before, 5.0, -np.pi / 2)
            if stage.car(stage.track(right, _steady(rng, 4.0, 6.5, 0.5), late)):
                break
        for _ in range(TRIES):
            before = float(rng.uniform(-3.0, 12.0))
            left = turn(-0.5 * LANE, cross - 0.5 * LANE + 7.0 + before, np.pi, before, 7.0, np.pi / 2)
            if stage.car(stage.track(left, _steady(rng, 4.5, 6.5), late)):
                break
        stage.car(stage.track(line(plan.half + 7.8, cross + 0.5 * LANE, np.pi / 2), None), "Stopped")
        stage.car(stage.track(line(-plan.half - 7.8, cross - 0.5 * LANE, -np.pi / 2), None), "Stopped")
        for side in SIDES:
            begin = side * float(rng.uniform(8.0, 40.0))
            crossing = line(begin, cross + side * 0.5 * LANE, side * np.pi / 2)
            stage.car(stage.track(crossing, _steady(rng, 6.0, 9.0, 0.5), 1.3 * late))


def _parked(stage: TrafficStage) -> None:
    rng, plan = stage.rng, stage.plan
    for side in SIDES:
        y = plan.low + 40.0
        while y < plan.high - 40.0:
            if plan.clear(y) > 10.0 and rng.random() < 0.72:
                x = side * (plan.lanes * LANE + 1.2 + float(rng.uniform(-0.08, 0.12)))
                yaw = (0.0 if side > 0 else np.pi) + float(rng.uniform(-0.02, 0.02))
                stage.car(stage.track(line(x, y, yaw), None), "Parked")
            y += float(rng.uniform(6.0, 7.6))


def _people(stage: TrafficStage, reach: float) -> None:
    rng, plan = stage.rng, stage.plan
    for side in SIDES:
        for _ in range(int(7 + reach / 12.0)):
            x = side * (plan.half + float(rng.uniform(1.35, PAVEMENT - 0.4)))
            yaw = float(rng.choice([0.0, np.pi]))
            walks = rng.random() < 0.8
            turned = yaw if walks else float(rng.uniform(-np.pi, np.pi))
            track = stage.track(
                line(x, float(rng.uniform(-25.0, reach + 55.0)), turned), _steady(rng, 0.9, 1.7) if walks else None
            )
            stage.person(track, walks)
    for cross in plan.crosses[1:]:
        for side in SIDES:
            walk = _steady(rng, 1.1, 1.6)
            over_main = cross - side * (plan.cross_half + float(rng.uniform(1.4, 3.2)))
            stage.person(
                stage.track(line(side * plan.half * float(rng.uniform(0.2, 0.9)), over_main, side * np.pi / 2), walk),
                True,
            )
            over_side = side * (plan.half + float(rng.uniform(1.4, 3.2)))
            yaw = 0.0 if rng.random() < 0.5 else np.pi
            stage.person(
                stage.track(line(over_side, cross + float(rng.uniform(-4.0, 4.0)), yaw), _steady(rng, 1.0, 1.6)), True
            )


def _cyclists(stage: TrafficStage) -> None:
    rng, x = stage.rng, stage.plan.lanes * LANE + 0.3
    for side, y in ((1.0, float(rng.uniform(9.0, 24.0))), (-1.0, float(rng.uniform(14.0, 45.0)))):
        track = stage.track(line(side * x, y, 0.0 if side > 0 else np.pi), _steady(rng, 3.8, 5.6))
        stage.add(lambda parts: models.cyclist(parts, rng), "Bicycle", track, "Moving")


def _cones(stage: TrafficStage) -> None:
    rng, plan = stage.rng, stage.plan
    side, y = float(rng.choice(SIDES)), float(rng.uniform(12.0, 30.0))
    for k in range(4):
        track = stage.track(line(side * (plan.half - 0.5 - 0.35 * k), y + 2.2 * k, 0.0), None)
        stage.add(lambda parts: models.cone(parts, 0.0, 0.0), "Cones", track, None)


def cast(plan: StreetPlan, rng: Generator, ego: Track, times: NDArray[np.float64], parts: Parts) -> list[Actor]:
    """Every annotated object; their primitives are appended to `parts` with the actor's index as owner."""
    stage = TrafficStage(plan, rng, times, parts)
    stage.taken.append(_discs(ego, EGO_SIZE))
    reach = float(ego.value[-1, 1])
    _same_direction(stage, ego)
    _junctions(stage)
    _oncoming(stage, reach)
    _cyclists(stage)
    _people(stage, reach)
    _cones(stage)
    _parked(stage)
    return stage.actors
