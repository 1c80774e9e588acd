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


def view(seed: int, focal: float, baseline: tuple) -> tuple[np.ndarray, ...]:
    """A street (low, high), its scan [P, 3], and a 1920x1080 camera that looks along it: cam2world, K."""
    low, high = street(np.random.default_rng(seed))
    lidar = np.array([0, 0, 2.2])
    cam2world = np.eye(4)
    cam2world[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    cam2world[:3, 3] = lidar + baseline
    return low, high, scan(lidar, low, high), cam2world, np.array([[focal, 0, 960], [0, focal, 540], [0, 0, 1]])


def surface(cam2world: np.ndarray, K: np.ndarray, uv: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What pixels [R, 2] show, world [R, 3]: where their rays end."""
    rays = np.column_stack([(uv - K[:2, 2]) / K[[0, 1], [0, 1]], np.ones(len(uv))])
    directions = rays @ cam2world[:3, :3].T
    return cam2world[:3, 3] + directions * first_hit(cam2world[:3, 3], directions, low, high)[:, None]
