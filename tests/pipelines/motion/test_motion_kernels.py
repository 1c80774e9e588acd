"""Compiled kernels of the motion search beside plain twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as label_cells
from scipy.spatial import cKDTree

from pipelines.motion import agreement, ground, handover, maps, rays, search, voxels
from pipelines.motion.clusters import connected

seeds = st.integers(0, 10**6)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_heights_are_those_over_the_lower_envelope(seed):
    rng = np.random.default_rng(seed)
    low = np.where(rng.random((12, 12)) < 0.5, np.inf, rng.normal(size=(12, 12))).astype(np.float32)
    got = ground.lower_envelope(low, 0.12, 3)
    for a, b in np.ndindex(12, 12):
        near = [
            low[u, v] + np.float32(0.12 * math.hypot(u - a, v - b))
            for u in range(max(0, a - 3), min(12, a + 4))
            for v in range(max(0, b - 3), min(12, b + 4))
        ]
        assert got[a, b] == pytest.approx(min(near), abs=1e-6) or (np.isinf(got[a, b]) and np.isinf(min(near)))
    points = rng.uniform(0, 12, (50, 3))
    height = ground.heights(points, np.zeros(2, np.int64), 1.0, got)
    assert np.allclose(height, points[:, 2] - got[tuple(np.floor(points[:, :2]).astype(int).T)], equal_nan=True)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_lowest_and_second_lowest_are_those_of_the_cells(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 9, (80, 3))
    use = rng.random(80) < 0.8
    low = ground.lowest(points, use, np.zeros(2, np.int64), 1.0, 8)
    lows = np.stack([low, np.roll(low, 1, 0), np.full_like(low, np.inf)])
    second = ground.second_lowest(lows, np.zeros((3, 2), np.int64))
    for a, b in np.ndindex(8, 8):
        inside = use & (np.floor(points[:, 0]) == a) & (np.floor(points[:, 1]) == b)
        assert low[a, b] == (points[inside, 2].min().astype(np.float32) if inside.any() else np.inf)
        first, other = np.sort(lows[:, a, b])[:2]
        assert second[a, b] == (other if np.isfinite(other) else first)


def test_a_mirror_image_below_the_road_is_a_pit_and_a_lone_ring_is_not():
    low = np.zeros((20, 20), np.float32)
    low[10, 10] = low[10, 11] = low[11, 10] = -3.0
    kept = ground.drop_pits(low, 0.7)
    assert np.isinf(kept[10, 10])
    assert np.isfinite(kept).sum() == 400 - 3
    ring = np.full((20, 20), np.float32(np.inf))
    ring[5] = 0.0
    assert np.isfinite(ground.drop_pits(ring, 0.7)).sum() == 20


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_hits_name_the_sweeps_with_a_return_in_the_nearest_voxels(seed):
    rng = np.random.default_rng(seed)
    sizes, ranges = np.array([0.25, 0.5, 1.0, 2.0]), np.array([10.0, 20.0, 30.0])
    sweeps = [rng.uniform(-3, 3, (40, 3)) for _ in range(3)]
    points, away = rng.uniform(-3, 3, (60, 3)), rng.uniform(0, 40, 60).astype(np.float32)
    table, masks = voxels.empty_table(4 * 3 * 40)
    for number, one in enumerate(sweeps):
        for level in range(4):  # a return is asked for at every level here
            there = np.full(40, [5.0, 15.0, 25.0, 35.0][level], np.float32)
            keys = voxels.voxel_keys(one, np.ones(40, bool), there, sizes, ranges, 0.0)
            voxels.insert_all(keys, np.uint32(1 << number), table, masks)
    got = voxels.hits(points, away, sizes, ranges, table, masks)
    for point, r, bits in zip(points, away, got, strict=True):
        size = sizes[np.searchsorted(ranges, r, side="right")]
        corner = np.floor(point / size - 0.5)
        for number, one in enumerate(sweeps):
            cells = np.floor(one / size) - corner
            assert bool(bits >> number & 1) == ((cells >= 0) & (cells <= 1)).all(1).any()


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_clusters_are_the_connected_cells(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4, 4, (120, 3))
    sizes = np.array([[0.5, 1.0]])
    got, count = connected(points, np.zeros(120, np.int64), sizes, voxels.empty_table(120)[0])
    cell = np.floor(points / [0.5, 0.5, 1.0]).astype(int)
    cell -= cell.min(0)
    volume = np.zeros(cell.max(0) + 1, bool)
    volume[tuple(cell.T)] = True
    expected = label_cells(volume, np.ones((3, 3, 3)))[0][tuple(cell.T)]
    assert count == len(np.unique(expected))
    pairs = {(int(a), int(b)) for a, b in zip(got, expected, strict=True)}
    assert len(pairs) == count


@given(seeds)
@settings(deadline=None, max_examples=10)
def test_the_distance_map_is_the_distance_to_the_nearest_occupied_cell(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(2, 8, (15, 2))
    got = maps.distance_map(points, np.zeros(2), 0.1, maps.distance_stencil(0.1, 1.0), 100)
    occupied = np.unique(np.floor(points / 0.1), axis=0)
    cells = np.stack(np.meshgrid(np.arange(100), np.arange(100), indexing="ij"), -1).reshape(-1, 2)
    away = cKDTree(occupied).query(cells)[0].reshape(100, 100) * 0.1
    assert np.array_equal(got, np.minimum(np.rint(away * 250), 250).astype(np.uint8))


@given(seeds)
@settings(deadline=None, max_examples=10)
def test_the_label_map_has_the_least_label_of_the_cell_or_else_around_it(seed):
    rng = np.random.default_rng(seed)
    points, names = rng.uniform(1, 9, (40, 2)), rng.integers(0, 9, 40).astype(np.int32)
    grid = maps.label_map(points, names, np.zeros(2), 0.5, 20)
    cell = np.floor(points / 0.5).astype(int)
    for a, b in np.ndindex(20, 20):
        own = names[(cell == (a, b)).all(1)]
        near = names[(np.abs(cell - (a, b)) <= 1).all(1)]
        assert grid[a, b] == (own.min() if len(own) else near.min() if len(near) else -1)
    assert np.array_equal(maps.look_up(points, np.zeros(2), 0.5, grid), grid[tuple(cell.T)])


@given(st.floats(-100, 100), st.floats(-100, 100))
@settings(deadline=None)
def test_the_turn_of_a_direction_is_its_angle(x, y):
    if math.hypot(x, y) > 1e-6:
        gap = abs(rays.turn_of(x, y) - math.atan2(y, x) / (2 * math.pi) % 1.0)
        assert min(gap, 1 - gap) < 3e-6
    assert 0.0 <= rays.turn_of(x, y) < 1.0


def test_a_sweep_tells_filled_empty_and_hidden_places_apart():
    azimuth = np.repeat(np.arange(360) / 180 * np.pi, 5)
    slope = np.tile([-0.02, -0.01, 0.0, 0.01, 0.02], 360)
    wall = np.stack([20 * np.cos(azimuth), 20 * np.sin(azimuth), 2 + 20 * slope], -1)
    columns = rays.sort_returns(
        wall, np.zeros(len(wall)), np.ones(len(wall), bool), np.array([0, 0, 2.0]), np.zeros(3), 0.0, 180
    )
    places = np.array([[20.1, 0.05, 2.1], [10, 0.05, 2.05], [30, 0.05, 2.1], [10, 0.05, 5.0]])
    met, clear = np.zeros(4, np.uint32), np.zeros(4, np.uint32)
    rays.evidence(places, *columns[:4], 0.03, 0.3, 0.01, np.uint32(4), met, clear)
    assert met.tolist() == [4, 0, 0, 0]
    assert clear.tolist() == [0, 4, 0, 0]


def plain_cost(points, centre, velocity, rate, dts, grids, corners):
    """Bytes that points meet, with sines and cosines of the library."""
    total = 0
    for dt, grid, corner in zip(dts, grids, corners, strict=True):
        a, h = rate * dt, rate * dt / 2
        turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        half = np.array([[math.cos(h), -math.sin(h)], [math.sin(h), math.cos(h)]])
        there = (points - centre) @ turn.T + centre + half @ velocity * dt
        for a, b in np.floor((there - corner) * 10).astype(int):
            total += int(grid[a, b]) if 0 <= a < len(grid) and 0 <= b < len(grid) else 250
    return total


@given(seeds, st.floats(-1.4, 1.4))
@settings(deadline=None, max_examples=20)
def test_costs_are_the_bytes_that_carried_points_meet(seed, rate):
    rng = np.random.default_rng(seed)
    points, corners = rng.uniform(3, 7, (20, 2)), rng.uniform(-1, 1, (2, 2))
    grids = rng.integers(0, 251, (2, 100, 100)).astype(np.uint8)
    dts, velocity = np.array([-0.1, 0.2]), rng.uniform(-20, 20, 2)
    centre = search.mean_point(points)
    assert np.allclose(centre, points.mean(0))
    straight = plain_cost(points, centre, velocity, 0.0, dts, grids, corners)
    assert abs(search.cost_of(points, *velocity, dts, grids, corners, 10.0, 2) - straight) <= 250
    turned = plain_cost(points, centre, velocity, rate, dts, grids, corners)
    # The series differ from the library in the sixth decimal: a point may fall into the cell beside.
    assert abs(search.turning_cost(points, centre, *velocity, rate, dts, grids, corners, 10.0) - turned) <= 250


@given(seeds, st.floats(-30, 30), st.floats(-30, 30))
@settings(deadline=None, max_examples=15)
def test_a_rigid_translation_is_found(seed, vx, vy):
    rng = np.random.default_rng(seed)
    side = rng.uniform(-2, 2, (40, 1)) * [1, 0] + rng.uniform(-0.05, 0.05, (40, 2)) + [0, 1]
    front = rng.uniform(-1, 1, (40, 1)) * [0, 1] + rng.uniform(-0.05, 0.05, (40, 2)) + [2, 0]
    points = np.concatenate([side, front]) + 50
    dts, stencil = np.array([-0.1, 0.1, -0.2, 0.2]), maps.distance_stencil(0.1, 1.0)
    grids = np.stack(
        [maps.distance_map(points + np.array([vx, vy]) * dt, np.zeros(2), 0.1, stencil, 1000) for dt in dts]
    )
    x, y, rest, best = search.search_cluster(points, dts, grids, np.zeros((4, 2)), 10.0, 2, 2.0, 18, 6, 1.0)
    assert math.hypot(x - vx, y - vy) < 0.6
    assert best <= rest


def test_agreement_counts_what_moves_alike():
    asked, agreed = np.zeros(2, np.int64), np.zeros(2, np.int64)
    names, met = np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 1, -1, 0, 2], np.int32)
    mine, theirs = np.array([[10.0, 0], [0, 2.0]]), np.array([[10.5, 0.5], [0, 2.0], [0.1, 2.1]])
    state = np.array([2, 2, 1], np.int8)
    agreement.count_agreement(names, met, mine, theirs, state, 1.5, 0.15, asked, agreed)
    assert asked.tolist() == [3, 2]
    assert agreed.tolist() == [1, 0]


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_the_cluster_met_most_is_named(seed):
    rng = np.random.default_rng(seed)
    names, met = rng.integers(0, 4, 60).astype(np.int32), rng.integers(-1, 4, 60).astype(np.int32)
    for row, got in enumerate(agreement.most_met(names, met, 5)):
        mine = met[names == row]
        count = np.bincount(mine[mine >= 0], minlength=1)
        assert got == (count.argmax() if count.max() > 0 and 3 * count.max() >= len(mine) else -1)


def test_only_clusters_that_choose_each_other_are_the_same():
    forth, back = np.array([1, 1, -1], np.int32), np.array([0, 1, -1], np.int32)
    assert agreement.mutual(forth, back).tolist() == [-1, 1, -1]


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_points_of_a_turning_cluster_have_the_velocity_of_a_rigid_body(seed):
    rng = np.random.default_rng(seed)
    points, names = rng.normal(size=(20, 3)), rng.integers(0, 3, 20).astype(np.int32)
    velocity, turn, centre = rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=(3, 2))
    got = agreement.point_velocity(points, names, velocity, turn, centre)
    arm = points[:, :2] - centre[names]
    assert np.allclose(got, velocity[names] + turn[names, None] * np.stack([-arm[:, 1], arm[:, 0]], -1))


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_votes_that_differ_are_not_averaged(seed):
    rng = np.random.default_rng(seed)
    votes, cast = rng.normal(scale=1.5, size=(4, 30, 2)), rng.random((4, 30)) < 0.6
    known, mean = handover.mean_of_votes(votes, cast, 1.5)
    for i in range(30):
        mine = votes[cast[:, i], i]
        assert known[i] == (len(mine) > 0 and mine.var(axis=0).sum() < 1.5**2)
        if len(mine):
            assert np.allclose(mean[i], mine.mean(axis=0))


def test_road_is_under_a_mover_inside_its_box_only():
    movers = np.array([[0.0, 0, 1], [4, 0, 1], [4, 2, 1], [0, 2, 1]])
    velocity, names = np.tile([3.0, 0.0], (4, 1)), np.zeros(4, np.int32)
    box = handover.footprints(movers, names, velocity, 1)
    places = np.array([[2.0, 1, 0], [2, -0.1, 0], [4.2, 1, 0], [2, 1, 0]])
    inside = handover.inside_footprint(places, np.array([0, 0, 0, -1], np.int32), box, 0.0)
    assert inside.tolist() == [True, False, False, False]
