"""Objects of the generated street as a few primitives each: cars, people, trees, houses, street furniture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.synth.surfaces import rays, textures

Triple = tuple[float, float, float]

# PandaSet semantic classes.
VEGETATION, ROAD, LANE_LINE, STOP_LINE, CROSSWALK, SIDEWALK = 5, 7, 8, 9, 10, 11
CAR, PICKUP, BUS, BICYCLE, PEDESTRIAN, SIGN, CONE, BUILDING, OTHER_STATIC = 13, 14, 23, 26, 30, 36, 37, 41, 42
GROUND, PERSON_WITH_OBJECT = 6, 31

PAINTS: tuple[Triple, ...] = (
    (0.58, 0.58, 0.56), (0.52, 0.53, 0.54), (0.28, 0.29, 0.30), (0.10, 0.105, 0.11), (0.025, 0.025, 0.028),
    (0.035, 0.036, 0.04), (0.45, 0.46, 0.47), (0.16, 0.17, 0.18), (0.34, 0.025, 0.025), (0.025, 0.05, 0.19),
    (0.035, 0.10, 0.07), (0.30, 0.25, 0.17), (0.05, 0.15, 0.30), (0.46, 0.23, 0.03),
)  # fmt: skip
WALLS: tuple[Triple, ...] = (
    (0.34, 0.12, 0.075), (0.42, 0.20, 0.12), (0.52, 0.45, 0.34), (0.58, 0.56, 0.50), (0.30, 0.33, 0.36),
    (0.50, 0.38, 0.22), (0.24, 0.30, 0.24), (0.55, 0.30, 0.22), (0.36, 0.42, 0.50), (0.62, 0.58, 0.44),
)  # fmt: skip
CLOTHES: tuple[Triple, ...] = (
    (0.5, 0.05, 0.05), (0.04, 0.08, 0.30), (0.03, 0.03, 0.04), (0.5, 0.5, 0.48), (0.55, 0.42, 0.06),
    (0.06, 0.25, 0.12), (0.25, 0.16, 0.10), (0.10, 0.30, 0.42), (0.42, 0.12, 0.30),
)  # fmt: skip
SKINS: tuple[Triple, ...] = ((0.52, 0.31, 0.22), (0.36, 0.20, 0.13), (0.16, 0.085, 0.055))


@dataclass
class Parts:
    """Primitives under construction; rows in the owner's frame (street frame for owner -1)."""

    shape: list[list[float]] = field(default_factory=list)
    col: list[list[float]] = field(default_factory=list)
    ids: list[tuple[int, int, int, int]] = field(default_factory=list)
    owner: int = -1

    def add(
        self,
        kind: int,
        mat: int,
        semantic: int,
        centre: Triple,
        half: Triple,
        colour: Triple,
        *,
        yaw: float = 0.0,
        slopes: Triple = (0.0, 0.0, 0.0),
        params: Triple = (0.0, 0.0, 0.0),
    ) -> None:
        """One primitive; half sizes in m, slopes (front, back, sides) of a frustum."""
        self.shape.append([*centre, yaw, *half, *slopes])
        self.col.append([*colour, *params])
        self.ids.append((kind, mat, self.owner, semantic))

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """shape [N, 10], col [N, 6], ids [N, 4] (kind, material, owner, semantic class)."""
        return (
            np.asarray(self.shape, dtype=np.float64),
            np.asarray(self.col, dtype=np.float64),
            np.asarray(self.ids, dtype=np.int64),
        )


def pick(rng: Generator, choices: tuple[Triple, ...]) -> Triple:
    """One of the colours, slightly varied."""
    r, g, b = np.asarray(choices[rng.integers(len(choices))]) * rng.uniform(0.85, 1.12)
    return float(r), float(g), float(b)


def _wheels(parts: Parts, semantic: int, width: float, y: float, radius: float, axles: tuple[float, ...]) -> None:
    for side in (-1.0, 1.0):
        for axle in axles:
            centre = (side * (width / 2 - 0.10), axle * y, radius)
            parts.add(rays.CYLINDER_X, textures.M_WHEEL, semantic, centre, (0.11, radius, radius), (0.02, 0.02, 0.02))


def car(parts: Parts, rng: Generator, style: str, paint: Triple) -> Triple:
    """A sedan, hatch, suv or pickup; returns its width, length, height (m)."""
    width = rng.uniform(1.76, 1.90)
    length, waist, height, radius = {
        "sedan": (rng.uniform(4.4, 4.85), 0.86, 1.44, 0.32),
        "hatch": (rng.uniform(3.9, 4.3), 0.88, 1.50, 0.31),
        "suv": (rng.uniform(4.5, 4.9), 1.02, 1.72, 0.37),
        "pickup": (rng.uniform(5.2, 5.6), 1.05, 1.82, 0.39),
    }[style]
    semantic = PICKUP if style == "pickup" else CAR
    floor, wheel_y = 0.20, 0.30 * length
    hood = waist - 0.10
    params = (wheel_y, radius - floor, radius)
    lower = ((hood - floor) / 2, (hood + floor) / 2)
    parts.add(
        rays.FRUSTUM, textures.M_BODY, semantic, (0, 0, lower[1]), (width / 2, length / 2, lower[0]), paint,
        slopes=(0.10, 0.06, 0.03), params=params,
    )  # fmt: skip
    shoulder = (
        (0.0, -0.10 * length, hood + 0.05) if style in ("sedan", "pickup") else (0.0, -0.13 * length, hood + 0.05)
    )
    parts.add(
        rays.FRUSTUM, textures.M_PLAIN, semantic, shoulder, (width / 2 - 0.02, 0.37 * length, 0.055), paint,
        slopes=(3.2, 0.6, 0.25),
    )  # fmt: skip
    roof = (height - waist) / 2
    front, back, middle, half, metal = {
        "sedan": (1.25, 0.95, -0.06, 0.285, 0.04),
        "hatch": (1.10, 0.45, -0.135, 0.345, 0.10),
        "suv": (0.90, 0.30, -0.13, 0.355, 0.06),
        "pickup": (0.85, 0.12, 0.03, 0.20, 0.02),
    }[style]
    parts.add(
        rays.FRUSTUM, textures.M_CABIN, semantic, (0, middle * length, waist + roof),
        (width / 2 - 0.04, half * length, roof), paint, slopes=(front, back, 0.24), params=(0.09, metal, 0.0),
    )  # fmt: skip
    if style == "pickup":
        for x in (-1.0, 1.0):
            parts.add(
                rays.BOX, textures.M_PLAIN, semantic, (x * (width / 2 - 0.07), -0.33 * length, waist + 0.10),
                (0.06, 0.165 * length, 0.13), paint,
            )  # fmt: skip
    for x in (-1.0, 1.0):
        mirror = (x * (width / 2 + 0.02), 0.13 * length, waist + 0.10)
        parts.add(rays.BOX, textures.M_PLAIN, semantic, mirror, (0.09, 0.06, 0.07), paint)
    _wheels(parts, semantic, width, wheel_y, radius, (-1.0, 1.0))
    return width + 0.24, length + 0.06, height + 0.02


def bus(parts: Parts, rng: Generator, paint: Triple) -> Triple:
    """A city bus; returns width, length, height (m)."""
    width, length, height, radius = 2.5, float(rng.uniform(10.5, 11.9)), 3.0, 0.48
    half = (width / 2, length / 2, (height - 0.32) / 2)
    parts.add(
        rays.FRUSTUM, textures.M_BUS, BUS, (0, 0, 0.32 + half[2]), half, paint,
        slopes=(0.04, 0.02, 0.02), params=(1.55, 0.42, 0.82),
    )  # fmt: skip
    parts.add(rays.BOX, textures.M_PLAIN, BUS, (0, -1.0, height + 0.12), (0.9, 2.0, 0.12), (0.45, 0.45, 0.45))
    _wheels(parts, BUS, width, 0.30 * length, radius, (-1.0, 1.0))
    return width + 0.1, length + 0.1, height + 0.26


def person(parts: Parts, rng: Generator, semantic: int, stride: float) -> Triple:
    """Someone standing (stride 0) or walking; returns width, length, height (m)."""
    tall = rng.uniform(1.58, 1.86)
    skin, top, legs, hair = pick(rng, SKINS), pick(rng, CLOTHES), pick(rng, CLOTHES), (0.03, 0.02, 0.015)
    hip, shoulder = 0.47 * tall, 0.82 * tall
    for side in (-1.0, 1.0):
        step = side * stride
        leg = (side * 0.10, 0.5 * step, hip / 2 + 0.03)
        parts.add(
            rays.FRUSTUM, textures.M_CLOTH, semantic, leg, (0.085, 0.09, hip / 2 + 0.02), legs,
            slopes=(0.5 * step / hip, -0.5 * step / hip, 0.0),
        )  # fmt: skip
        shoe = (side * 0.10, 0.5 * step + 0.06, 0.045)
        parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, shoe, (0.06, 0.15, 0.055), (0.03, 0.03, 0.03))
        arm = (side * 0.26, -0.3 * step, (hip + shoulder) / 2 - 0.01)
        parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, arm, (0.065, 0.085, 0.20 * tall), top)
        hand = (side * 0.27, -0.3 * step + 0.02, hip - 0.03)
        parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, hand, (0.045, 0.055, 0.09), skin)
    torso = (0.0, 0.0, (hip + shoulder) / 2)
    parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, torso, (0.235, 0.15, 0.235 * tall), top)
    parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, (0, 0.01, 0.925 * tall), (0.085, 0.105, 0.135), skin)
    parts.add(rays.ELLIPSOID, textures.M_CLOTH, semantic, (0, -0.025, 0.95 * tall), (0.095, 0.11, 0.115), hair)
    length = 0.44 + 1.1 * stride
    if semantic == PERSON_WITH_OBJECT:
        bag = (0.0, -0.22, 0.68 * tall)
        parts.add(rays.BOX, textures.M_CLOTH, semantic, bag, (0.16, 0.11, 0.22), pick(rng, CLOTHES))
        length += 0.26
    return 0.66, length, tall + 0.08


def cyclist(parts: Parts, rng: Generator) -> Triple:
    """A bicycle with its rider; returns width, length, height (m)."""
    frame, top, legs = pick(rng, PAINTS), pick(rng, CLOTHES), pick(rng, CLOTHES)
    for y in (-0.52, 0.52):
        parts.add(rays.CYLINDER_X, textures.M_WHEEL, BICYCLE, (0, y, 0.34), (0.025, 0.34, 0.34), (0.02, 0.02, 0.02))
    parts.add(rays.BOX, textures.M_PLAIN, BICYCLE, (0, 0.02, 0.62), (0.03, 0.40, 0.04), frame)
    parts.add(rays.BOX, textures.M_PLAIN, BICYCLE, (0, -0.18, 0.60), (0.03, 0.04, 0.32), frame)
    parts.add(rays.BOX, textures.M_PLAIN, BICYCLE, (0, 0.46, 0.98), (0.27, 0.03, 0.03), (0.03, 0.03, 0.03))
    for x, y in ((-0.11, 0.08), (0.11, -0.02)):
        parts.add(
            rays.FRUSTUM, textures.M_CLOTH, BICYCLE, (x, y, 0.62), (0.075, 0.16, 0.36), legs, slopes=(0.2, -0.1, 0)
        )
        arm = (1.9 * x, 0.22, 1.16)
        parts.add(rays.ELLIPSOID, textures.M_CLOTH, BICYCLE, arm, (0.06, 0.27, 0.10), top)
    parts.add(
        rays.FRUSTUM, textures.M_CLOTH, BICYCLE, (0, -0.02, 1.22), (0.20, 0.20, 0.30), top, slopes=(-0.45, 0.65, 0.05)
    )
    parts.add(rays.ELLIPSOID, textures.M_CLOTH, BICYCLE, (0, 0.24, 1.66), (0.09, 0.11, 0.13), pick(rng, SKINS))
    parts.add(rays.ELLIPSOID, textures.M_CLOTH, BICYCLE, (0, 0.22, 1.72), (0.12, 0.16, 0.10), pick(rng, PAINTS))
    return 0.66, 1.78, 1.86


def tree(parts: Parts, rng: Generator, x: float, y: float, base: float) -> None:
    """Trunk and a crown of leafy ellipsoids."""
    tall = rng.uniform(4.8, 8.2)
    trunk, radius = 0.60 * tall, rng.uniform(0.11, 0.2)
    bark = (0.13, 0.095, 0.065)
    parts.add(rays.CYLINDER_Z, textures.M_BARK, VEGETATION, (x, y, base + trunk / 2), (radius, radius, trunk / 2), bark)
    green = (0.07 + 0.06 * rng.random(), 0.17 + 0.06 * rng.random(), 0.04)
    spread = rng.uniform(0.20, 0.27) * tall
    for k in range(5):
        angle = k * 1.257 + rng.uniform(0, 0.6)
        off = 0.0 if k == 0 else 0.55 * spread
        size = spread * (rng.uniform(0.9, 1.1) if k == 0 else rng.uniform(0.62, 0.85))
        centre = (
            x + off * np.cos(angle),
            y + off * np.sin(angle),
            base + 0.68 * tall + (0.06 * tall if k == 0 else rng.uniform(-0.09, 0.10) * tall),
        )
        parts.add(rays.LEAFY, textures.M_LEAVES, VEGETATION, centre, (size, size, size * 0.88), green)


def bush(parts: Parts, rng: Generator, x: float, y: float, base: float) -> None:
    """A low leafy ellipsoid."""
    r = rng.uniform(0.5, 0.9)
    parts.add(
        rays.LEAFY, textures.M_LEAVES, VEGETATION, (x, y, base + 0.45 * r), (r, r * 1.2, r * 0.8), (0.06, 0.15, 0.04)
    )


def street_lamp(parts: Parts, x: float, y: float, base: float) -> None:
    """A lamp post whose arm reaches over the road."""
    grey, tall = (0.22, 0.23, 0.23), 7.6
    parts.add(rays.CYLINDER_Z, textures.M_PLAIN, OTHER_STATIC, (x, y, base + tall / 2), (0.085, 0.085, tall / 2), grey)
    arm = -np.sign(x) * 1.0
    parts.add(rays.BOX, textures.M_PLAIN, OTHER_STATIC, (x + arm, y, base + tall), (1.0, 0.05, 0.05), grey)
    parts.add(
        rays.BOX,
        textures.M_PLAIN,
        OTHER_STATIC,
        (x + 2.1 * arm, y, base + tall - 0.03),
        (0.34, 0.13, 0.06),
        (0.5, 0.5, 0.5),
    )


def signpost(parts: Parts, rng: Generator, x: float, y: float, base: float) -> None:
    """A traffic sign, turned about to the traffic."""
    parts.add(rays.CYLINDER_Z, textures.M_PLAIN, OTHER_STATIC, (x, y, base + 1.3), (0.035, 0.035, 1.3), (0.4, 0.4, 0.4))
    colour = ((0.5, 0.02, 0.02), (0.02, 0.10, 0.40), (0.03, 0.28, 0.12), (0.55, 0.40, 0.03))[rng.integers(4)]
    parts.add(
        rays.BOX, textures.M_SIGN, SIGN, (x, y, base + 2.45), (0.32, 0.015, 0.36), colour,
        yaw=float(rng.uniform(-0.15, 0.15)), params=(float(rng.integers(1000)), 0, 0),
    )  # fmt: skip


def traffic_light(parts: Parts, x: float, y: float, base: float, reach: float) -> None:
    """A mast with an arm of `reach` metres along x and its signal heads."""
    dark = (0.05, 0.055, 0.05)
    parts.add(rays.CYLINDER_Z, textures.M_PLAIN, OTHER_STATIC, (x, y, base + 2.9), (0.10, 0.10, 2.9), dark)
    parts.add(
        rays.BOX, textures.M_PLAIN, OTHER_STATIC, (x + reach / 2, y, base + 5.7), (abs(reach) / 2, 0.06, 0.06), dark
    )
    for share in (0.6, 0.97):
        head = (x + share * reach, y, base + 5.5)
        parts.add(rays.BOX, textures.M_PLAIN, SIGN, head, (0.18, 0.14, 0.50), (0.30, 0.24, 0.02))
        for k, lamp in enumerate(((0.6, 0.03, 0.02), (0.12, 0.09, 0.01), (0.02, 0.10, 0.05))):
            spot = (head[0], y, head[2] + 0.31 - 0.31 * k)
            parts.add(rays.ELLIPSOID, textures.M_PLAIN, SIGN, spot, (0.11, 0.19, 0.11), lamp)


def building(parts: Parts, rng: Generator, centre: tuple[float, float], half: tuple[float, float], base: float) -> None:
    """A house: facade box, cornice, sometimes awnings along the street side and a roof hut."""
    storey = float(rng.uniform(3.1, 3.8))
    tall = 4.0 + storey * int(rng.integers(1, 5)) + 0.9
    wall = pick(rng, WALLS)
    (x, y), (hx, hy) = centre, half
    style = (float(rng.integers(1, 4000)), storey, float(rng.uniform(1.9, 3.3)))
    parts.add(rays.BOX, textures.M_FACADE, BUILDING, (x, y, base + tall / 2), (hx, hy, tall / 2), wall, params=style)
    trim = (wall[0] * 0.6 + 0.12, wall[1] * 0.6 + 0.12, wall[2] * 0.6 + 0.12)
    parts.add(rays.BOX, textures.M_PLAIN, BUILDING, (x, y, base + tall + 0.15), (hx + 0.22, hy + 0.22, 0.22), trim)
    if rng.random() < 0.5:
        hut = (x + rng.uniform(-0.3, 0.3) * hx, y + rng.uniform(-0.3, 0.3) * hy, base + tall + 1.2)
        parts.add(rays.BOX, textures.M_PLAIN, BUILDING, hut, (hx * 0.3, hy * 0.3, 1.2), (0.4, 0.4, 0.4))
    if rng.random() < 0.6:
        cloth = pick(rng, CLOTHES)
        for _ in range(int(rng.integers(1, 3))):
            along = y + rng.uniform(-0.7, 0.7) * hy
            out = -np.sign(x) * (hx + 0.6)
            parts.add(rays.FRUSTUM, textures.M_CLOTH, BUILDING, (x + out, along, base + 3.0), (0.62, 1.7, 0.16), cloth)


def cone(parts: Parts, x: float, y: float) -> Triple:
    """A traffic cone at a place of its owner; returns width, length, height (m)."""
    parts.add(rays.BOX, textures.M_PLAIN, CONE, (x, y, 0.03), (0.19, 0.19, 0.03), (0.05, 0.05, 0.05))
    parts.add(
        rays.FRUSTUM,
        textures.M_PLAIN,
        CONE,
        (x, y, 0.40),
        (0.14, 0.14, 0.36),
        (0.65, 0.16, 0.02),
        slopes=(0.15, 0.15, 0.15),
    )
    return 0.42, 0.42, 0.80
