"""Every constant of the motion search, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionConfig:
    """What determines the motion of a log, beside its sweeps. Tuned on generated streets and log 002."""

    # Which returns are looked at.
    far: float = 120.0
    """m, horizontal: beams are a metre apart beyond, and a car has a handful of returns."""
    own_radius: float = 1.5
    """m from the ego's axis: what is nearer is the ego vehicle, which would move with it (as the lift's clearance)."""
    lidar_height: float = 1.9
    """m above the ego frame's origin: the spinning LiDAR, from which rays start. PandaSet's is 1.8 to 2."""

    # Ground.
    ground_cell: float = 1.0
    """m: rings of a Pandar64 are closer than that up to 25 m."""
    ground_offsets: tuple[int, ...] = (-2, -1, 0, 1, 2)
    """Sweeps whose lowest returns are put together: the rings of one leave gaps."""
    ground_slope: float = 0.12
    """Rise per metre that a road may have: cells of a car are lowered to the road beside it by no more."""
    ground_reach: int = 4
    """Cells from which a road is believed: half a bus is 1.3 m, a lorry's shadow some metres."""
    pit_depth: float = 0.7
    """m: cells this far below most of their neighbours are mirror images in windows and puddles."""
    low: float = 0.25
    """m: what is lower belongs to the ground until a mover claims it (kerbs are 0.15)."""
    high: float = 4.5
    """m: nothing on a road is higher (4 m is the legal height of a lorry)."""
    foot: float = -0.03
    """m: lowest height that a mover claims as its wheels or feet."""

    # What rest explains.
    persistence_offsets: tuple[int, ...] = (-10, -7, -5, -4, -3, -2, 2, 3, 4, 5, 7, 10)
    """Sweeps asked: a pedestrian needs a second to leave the place it stood in."""
    voxels: tuple[float, ...] = (0.25, 0.4, 0.65, 1.0)
    """m, cells of a near return (half to one and a half of it), as 0.2 m + 0.0075 range."""
    voxel_ranges: tuple[float, ...] = (15.0, 40.0, 75.0)
    """m, where the next voxel begins."""
    persistent_share: float = 0.75
    """A return is explained by rest when this share of the sweeps that can tell has one there."""
    columns: int = 720
    """Columns of azimuth, half a degree: no finer than a spinning LiDAR's steps; a pedestrian's width at 50 m."""
    ray_gap: float = 0.03
    """Slope between a place and the returns above and below it: more than the gap between beams near the horizon."""
    ray_near: float = 0.3
    """m, and"""
    ray_wide: float = 0.01
    """m per m: how much further the LiDAR must have looked to have looked past a place."""
    clear_sweeps: int = 2
    """Sweeps that looked past a return's place before it counts as left: one may err at an edge."""
    clear_ratio: float = 0.2
    """A mover's places were seen empty at least this often per time that they were seen filled: walls never are."""

    # Clusters.
    cluster_ranges: tuple[float, ...] = (25.0, 55.0)
    """m, where larger cells begin: returns are farther apart."""
    cluster_cells: tuple[tuple[float, float], ...] = ((0.45, 1.0), (0.6, 1.2), (0.8, 1.4))
    """m, width and height of the cells that must touch."""
    min_points: int = 5
    """Fewer returns have a velocity by chance (rain, dust, glass)."""
    max_extent: float = 18.0
    """m: an articulated bus. Larger clusters are walls."""
    object_extent: float = 14.0
    """m: a cluster up to this size is taken whole when"""
    object_share: float = 0.4
    """this share of it is not explained by rest: the sides of a van slide along themselves."""

    # Search.
    cell: float = 0.1
    """m, of the distance maps."""
    cap: float = 1.0
    """m: a return farther off than this is no match, and counts no more."""
    hops: tuple[int, ...] = (-5, -3, -2, -1, 1, 2, 3, 5)
    """Sweeps that a cluster must land on. Half a second tells 1 m/s from rest, and rings from cars."""
    sample: int = 64
    """Returns of a cluster that are tried."""
    max_speed: float = 36.0
    """m/s along an axis: 130 km/h."""
    coarse_step: float = 2.0
    """m/s: 0.2 m between neighbours one sweep on, well inside the cap."""
    candidates: int = 6
    """Coarse minima that are refined."""
    speed_weight: float = 0.004
    """m per m/s: of two equal answers the slower."""
    turn_cost: float = 0.06
    """m: above this mean distance a translation leaves something to explain,"""
    turn_rates: tuple[float, ...] = (-1.4, -1.05, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.05, 1.4)
    """rad/s tried then: 5 m/s about 4 m is the tightest turn of a car."""
    turn_gain: float = 0.8
    """and a turn must bring the cost below this share of it."""
    turn_points: int = 20
    """Returns without which a turn is not tried, and"""
    turn_extent: float = 1.5
    """m without which it is not: a small thing has no visible yaw."""

    # Verdict.
    min_speed: float = 0.5
    """m/s: below, rest (the protocol's threshold of motion)."""
    max_cost: float = 0.35
    """m, mean distance of a mover at its velocity: more than the spacing of returns on a far car."""
    gain: float = 0.03
    """m, and"""
    gain_ratio: float = 0.5
    """of the cost: by how much a velocity must beat rest."""
    rest_cost: float = 0.2
    """m: a cluster that fits this well where it is, and no better elsewhere, rests. Others are unknown."""
    strong_gain: float = 0.25
    """m: a bus fills the places it passes for a second, so that they are rarely seen empty; a gain like this, by"""
    strong_ratio: float = 0.35
    """of the cost at rest, is believed with"""
    strong_clear: float = 0.03
    """places seen empty per place seen filled, from"""
    strong_points: int = 20
    """returns on, over"""
    strong_extent: float = 1.0
    """m: the edge of a wall is a column of returns."""

    # Between sweeps.
    agree_hops: tuple[int, ...] = (-2, -1, 1, 2)
    """Sweeps whose clusters are asked whether they move alike."""
    agree_cell: float = 0.2
    """m: a carried return meets the cluster in its cell or the next."""
    agree_speed: float = 1.5
    """m/s, or"""
    agree_ratio: float = 0.15
    """of the speed: velocities that are alike."""
    agree_share: float = 0.25
    """of a mover's carried returns must meet such a cluster; else it is unknown: most false movers end here."""

    # Hand-over.
    fill_cell: float = 0.3
    """m: unknown returns take the velocity of movers carried onto their cell or the next,"""
    fill_spread: float = 1.5
    """m/s, where these differ by no more."""
    wheel_cell: float = 0.2
    """m, cells about a mover for what is 0.1 m or more above the ground,"""
    foot_cell: float = 0.2
    """m, and for what is lower,"""
    foot_margin: float = 0.0
    """m about the mover's box along its velocity: most of what is that low is road."""
    foot_height: float = 0.1
    """m, between the two."""
    forward_cell: float = 0.3
    """m, for returns of the forward LiDAR, which sees other sides of a thing."""
    forward_slice: float = 0.02
    """s: movers are carried to the middle of such slices of the forward LiDAR's sweep (0.3 m at 30 m/s)."""
    handed: float = 0.8
    """Confidence that is handed over with a velocity."""

    def __post_init__(self) -> None:
        if len(self.persistence_offsets) > 32:
            raise ValueError(
                f"persistence_offsets may name 32 sweeps (one bit each), got {len(self.persistence_offsets)}"
            )
        if not (len(self.voxels) == len(self.voxel_ranges) + 1 == 4):
            raise ValueError("voxels must be 4 sizes with 3 ranges between them")
        if len(self.cluster_cells) != len(self.cluster_ranges) + 1:
            raise ValueError("cluster_cells must be one more than cluster_ranges")

    @property
    def reach(self) -> int:
        """Frames before and after that the motion of a frame depends on."""
        parts = self.ground_offsets, self.persistence_offsets, self.hops, self.agree_hops, self.agree_hops
        ground, persistence, *rest = (max(map(abs, part)) for part in parts)
        return max(ground, persistence + 1) + sum(rest)
