"""A hand-made street, ray traced: what a LiDAR returns and what a camera below it really sees."""

from __future__ import annotations

import numpy as np


def first_hit(origin: np.ndarray, directions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Distance along each ray [R, 3] to the nearest axis-aligned box [B, 3] or the ground z = 0; inf if none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / directions
        best = np.where(directions[:, 2] < 0, -origin[2] * inverse[:, 2], np.inf)
        for box_low, box_high in zip(low, high, strict=True):
            one, two = (box_low - origin) * inverse, (box_high - origin) * inverse
            enter = np.nanmax(np.minimum(one, two), axis=1)
            leave = np.nanmin(np.maximum(one, two), axis=1)
            best = np.where((enter <= leave) & (enter > 0), np.minimum(best, enter), best)
    return best


def street(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (low [B, 3], high [B, 3], m): cars, poles and walls along a street that runs along +y."""
    centre, half = [], []
    for _ in range(14):  # cars
        centre.append([rng.choice([-7, -3.5, 3.5, 7]) + rng.uniform(-0.5, 0.5), rng.uniform(7, 70), 0.75])
        half.append([rng.uniform(0.8, 1.1), rng.uniform(1.8, 2.6), 0.75])
    for _ in range(10):  # poles
        centre.append([rng.choice([-9, 9]) + rng.uniform(-0.5, 0.5), rng.uniform(8, 60), 3.0])
        half.append([0.15, 0.15, 3.0])
    for side in (-14, 14):  # houses
        for y in range(5, 95, 15):
            centre.append([side + rng.uniform(-2, 2), y, 4.0])
            half.append([2.0, rng.uniform(3, 7), 4.0])
    centre.append([0, 100, 5.0])
    half.append([30, 1, 5.0])
    return np.array(centre) - half, np.array(centre) + half


def scan(origin: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns [P, 3] of a spinning 64-beam LiDAR (0.2 degrees a turn step; beams closest near the horizon)."""
    elevation = np.radians(np.concatenate([np.linspace(-6, 2, 49), np.arange(-24, -6, 1.5), [3, 5, 10]]))
    azimuth = np.radians(np.arange(30, 150, 0.2))
    a, e = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    directions = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    distance = first_hit(origin, directions, low, high)
    keep = distance < 150
    return origin + directions[keep] * distance[keep, None]


def seen_from(origin: np.ndarray, points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether nothing stands between `origin` and each point [P]."""
    offset = points - origin
    distance = np.sqrt((offset**2).sum(axis=1))
    return first_hit(origin, offset / distance[:, None], low, high) > distance - 0.02
