"""Every constant of the motion search, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionConfig:
    """What determines the motion of a log, beside its sweeps. Lengths m, speeds m/s, times s."""

    far: float = 120.0
    """Returns beyond this horizontal distance from the ego are not judged: two beams are a metre apart there."""
    own_radius: float = 1.5
    """Returns nearer to the ego's axis than this are the ego vehicle's own: they would move with it."""
    ground_cell: float = 1.0
    ground_slope: float = 0.12
    ground_offsets: tuple[int, ...] = (-2, -1, 0, 1, 2)
    low: float = 0.25
    high: float = 4.5
    voxel: tuple[float, float, float, float] = (0.25, 0.4, 0.65, 1.0)
    voxel_ranges: tuple[float, float, float] = (15.0, 40.0, 75.0)
    persistence_offsets: tuple[int, ...] = (-10, -7, -5, -4, -3, -2, 2, 3, 4, 5, 7, 10)
    persistent_share: float = 0.75
    object_share: float = 0.4
    object_extent: float = 14.0
    cluster_cell: float = 0.45
    cluster_height: float = 1.0
    min_points: int = 5
    max_extent: float = 18.0
    sample: int = 64
    cap: float = 1.0
    hops: tuple[int, ...] = (-5, -3, -2, -1, 1, 2, 3, 5)
    max_speed: float = 36.0
    speed_weight: float = 0.004
    min_speed: float = 0.5
    max_cost: float = 0.35
    gain: float = 0.03
    gain_ratio: float = 0.5
    rest_cost: float = 0.2
    agree_speed: float = 1.5
    agree_ratio: float = 0.15
    agree_share: float = 0.25
    agree_reach: float = 0.35
    lidar_height: float = 1.9
    columns: int = 720
    gap: float = 0.03
    ray_near: float = 0.3
    ray_wide: float = 0.01
    clear_ratio: float = 0.2
    foot_cell: float = 0.1
    turn_cost: float = 0.06
    turn_rates: tuple[float, ...] = (-1.4, -1.05, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.05, 1.4)
    turn_gain: float = 0.8
    strong_gain: float = 0.25
    cluster_ranges: tuple[float, ...] = (25.0, 55.0)
    cluster_sizes: tuple[tuple[float, float], ...] = ((0.45, 1.0), (0.6, 1.2), (0.8, 1.4))
    strong_clear: float = 0.03
