"""The standing street: plan, city blocks, houses, trees, furniture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.synth.street import models
from pipelines.synth.street.models import Parts
from pipelines.synth.surfaces import rays, textures
from pipelines.synth.surfaces.ground import KERB, PAVEMENT

LANE = 3.4
"""Lane width, m."""
PARKING = 2.3
"""Width of the parking strip, m."""
BLOCK_DEPTH = 220.0
SIDES = (-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class StreetPlan:
    """Street frame: the road's axis is y, z = 0 is its surface, traffic keeps right (x > 0 goes to +y)."""

    lanes: int  # a direction
    cross_half: float  # m, half width of the cross streets
    crosses: tuple[float, ...]  # m, y of the cross streets' axes
    low: float  # m, y where the built street begins
    high: float  # m, y where it ends
    seed: int

    @property
    def half(self) -> float:
        """Half width of the road with its parking strips, m."""
        return self.lanes * LANE + PARKING

    def clear(self, y: float) -> float:
        """Metres along the street from y to the edge of the nearest junction; negative inside."""
        return min((abs(y - c) - self.cross_half for c in self.crosses), default=np.inf)

    def spans(self) -> list[tuple[float, float]]:
        """[low, high] in y of the city blocks between junctions."""
        cuts = [self.low, *(c + s * self.cross_half for c in self.crosses for s in SIDES), self.high]
        return list(zip(cuts[::2], cuts[1::2], strict=True))

    def numbers(self) -> NDArray[np.float64]:
        """The plan as the kernels take it, see `ground`."""
        head = [self.half, self.lanes, LANE, self.cross_half, self.seed, len(self.crosses)]
        return np.array([*head, *self.crosses], dtype=np.float64)


def draw_plan(rng: Generator, length: float) -> StreetPlan:
    """A street for an ego that drives `length` metres from y = 0."""
    first = float(rng.uniform(26.0, 46.0))
    crosses = [first - float(rng.uniform(80.0, 95.0)), first]
    while crosses[-1] < length + 60.0:
        crosses.append(crosses[-1] + float(rng.uniform(75.0, 100.0)))
    return StreetPlan(
        int(rng.integers(1, 3)),
        5.2,
        tuple(crosses),
        crosses[0] - 130.0,
        crosses[-1] + 130.0,
        int(rng.integers(1, 9000)),
    )


def _blocks(parts: Parts, plan: StreetPlan) -> None:
    for low, high in plan.spans():
        for side in SIDES:
            centre = (side * (plan.half + BLOCK_DEPTH / 2), (low + high) / 2, KERB / 2)
            half = (BLOCK_DEPTH / 2, (high - low) / 2, KERB / 2)
            parts.add(rays.BOX, textures.M_BLOCK, models.SIDEWALK, centre, half, (0.3, 0.3, 0.3))


def _houses_along(parts: Parts, plan: StreetPlan, rng: Generator) -> None:
    for low, high in plan.spans():
        for side in SIDES:
            lawn = float(rng.choice([0.0, 0.0, 3.5, 5.0]))
            y = low + PAVEMENT + rng.uniform(0.0, 1.0)
            while y < high - PAVEMENT - 7.0:
                width = min(float(rng.uniform(9.0, 20.0)), high - PAVEMENT - y)
                depth = float(rng.uniform(9.0, 13.0))
                x = side * (plan.half + PAVEMENT + lawn + depth / 2)
                models.building(parts, rng, (x, y + width / 2), (depth / 2, width / 2), KERB)
                y += width + float(rng.choice([0.05, 0.05, 2.5, 5.5]))


def _houses_aside(parts: Parts, plan: StreetPlan, rng: Generator) -> None:
    """Second row, along the cross streets."""
    for cross in plan.crosses:
        for side in SIDES:
            for bank in SIDES:
                x = plan.half + PAVEMENT + 5.0 + 14.0 + rng.uniform(1.0, 5.0)
                while x < 95.0:
                    width, depth = float(rng.uniform(10.0, 18.0)), float(rng.uniform(9.0, 12.0))
                    y = cross + bank * (plan.cross_half + PAVEMENT + rng.uniform(0.0, 2.0) + depth / 2)
                    models.building(parts, rng, (side * (x + width / 2), y), (width / 2, depth / 2), KERB)
                    x += width + float(rng.uniform(0.5, 9.0))


def _furniture(parts: Parts, plan: StreetPlan, rng: Generator) -> None:
    for side in SIDES:
        kerb = side * (plan.half + 0.75)
        y, count = plan.low + 4.0, 0
        while y < plan.high - 4.0:
            if plan.clear(y) > 8.0:
                if count % 3 == 2:
                    models.street_lamp(parts, kerb, y, KERB)
                elif rng.random() < 0.72:
                    models.tree(parts, rng, kerb, y, KERB)
                if rng.random() < 0.3:
                    models.signpost(parts, rng, side * (plan.half + 0.45), y + 2.6, KERB)
                if rng.random() < 0.5:
                    models.bush(parts, rng, side * (plan.half + PAVEMENT + 0.9), y + 1.0, KERB)
            count += 1
            y += float(rng.uniform(8.0, 12.0))


def _lights(parts: Parts, plan: StreetPlan) -> None:
    for cross in plan.crosses:
        for side in SIDES:
            models.traffic_light(
                parts, side * (plan.half + 0.6), cross + side * (plan.cross_half + 0.6), KERB, -side * (plan.half - 1.0)
            )


def build_street(parts: Parts, plan: StreetPlan, rng: Generator) -> None:
    """Add everything that stands in the street and belongs to no object."""
    _blocks(parts, plan)
    _houses_along(parts, plan, rng)
    _houses_aside(parts, plan, rng)
    _furniture(parts, plan, rng)
    _lights(parts, plan)
