"""Mean distance to the nearest other positions: the same as all pairs, whatever the points."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import cKDTree

from pipelines.features.knn import LANES, knn_scale
from tests.support.logs import real_slice

MANY = 20_000


def mean_in_order(distance: np.ndarray) -> np.ndarray:
    """Mean of each row [P, k], summed from the first column on as the kernel does."""
    total = distance[:, 0].copy()
    for column in distance.T[1:]:
        total += column
    return total / distance.shape[1]


def plain_scale(points: np.ndarray, k: int = 3) -> np.ndarray:
    """The slow twin: all pairs of positions."""
    positions, inverse = np.unique(points, axis=0, return_inverse=True)
    dx, dy, dz = (axis[:, None] - axis[None] for axis in positions.T)
    squared = dx * dx + dy * dy + dz * dz
    np.fill_diagonal(squared, np.inf)
    return mean_in_order(np.sqrt(np.sort(squared, axis=1)[:, :k]))[inverse.reshape(-1)]


def tree_scale(points: np.ndarray, k: int = 3) -> np.ndarray:
    """The plain twin for many points: the naive use of scipy's tree, itself first."""
    positions, inverse = np.unique(points, axis=0, return_inverse=True)
    return mean_in_order(cKDTree(positions).query(positions, k=k + 1)[0][:, 1:])[inverse.reshape(-1)]


def shaped(shape: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points [count, 3] that are hard on a tree in one way."""
    normal, i = rng.normal(size=(count, 3)), np.arange(count, dtype=float)
    unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return {
        "blob": normal,
        "sweep": unit * rng.uniform(1, 15, (count, 1)) ** 2 * [1, 1, 0.05],
        "plane": normal * [1, 1, 0],
        "line": normal[:, :1] * [[1, 2, 3]],
        "steps": np.stack([i, -i, 0 * i], axis=1),
        "there and back": np.stack([np.minimum(i, count - i), 0 * i, 1e-3 * normal[:, 0]], axis=1),
        "saw": np.stack([i % 317, i % 7, 1e-9 * normal[:, 0]], axis=1),
        "lattice": np.stack([i % 30, i // 30 % 30, i // 900], axis=1),
        "millimetres": np.round(normal * 3, 3),
        "few positions": rng.integers(0, 5, (count, 3)).astype(float),
        "one position more often than all others": normal * (i % 2)[:, None],
        "sphere and centre": np.concatenate([unit[1:], np.zeros((1, 3))]),
        "far clusters": normal + rng.integers(0, 3, (count, 1)) * 1e9,
        "one far away": np.concatenate([normal[1:], [[1e12, 0, 0]]]),
        "every scale": unit * 2.0 ** rng.uniform(-400, 400, (count, 1)),
        "tiny": normal * 1e-150,
    }[shape]


SHAPES = (
    "blob, sweep, plane, line, steps, there and back, saw, lattice, millimetres, few positions, "
    "one position more often than all others, sphere and centre, far clusters, one far away, every scale, tiny"
).split(", ")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(SHAPES), st.integers(2, 700), st.integers(1, 16))
@example(0, "blob", LANES, 3)
@example(0, "blob", LANES + 1, 3)
@example(0, "blob", LANES**2 + 1, LANES)
@example(0, "blob", 17, 16)
def test_all_pairs_to_the_last_bit(seed: int, shape: str, count: int, k: int) -> None:
    points = shaped(shape, count, np.random.default_rng(seed))
    k = min(k, len(np.unique(points, axis=0)) - 1)
    np.testing.assert_array_equal(knn_scale(points, k), plain_scale(points, k))


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.float64, (24, 3), elements=st.floats(-1e100, 1e100) | st.integers(-2, 2).map(float)))
def test_any_finite_numbers(points: np.ndarray) -> None:
    """Hypothesis chooses the bits: subnormal numbers, -0.0, equal coordinates, neighbours of a float."""
    if len(np.unique(points, axis=0)) < 4:
        with pytest.raises(ValueError, match="different positions"):
            knn_scale(points)
    else:
        np.testing.assert_array_equal(knn_scale(points), plain_scale(points))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [3, 7])
def test_many_points_against_ckdtree(shape: str, k: int) -> None:
    points = shaped(shape, MANY, np.random.default_rng(5))
    np.testing.assert_array_equal(knn_scale(points, k), tree_scale(points, k))


@pytest.mark.parametrize("frame", [0, 20])
def test_a_real_sweep_against_ckdtree(frame: int) -> None:
    points = real_slice.sweep(frame).points
    np.testing.assert_array_equal(knn_scale(points), tree_scale(points))


def test_by_hand() -> None:
    points = np.array([[0, 0, 0], [1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0], [0, 0, 100.0]])
    assert knn_scale(points)[0] == 2.0
    assert knn_scale(points, 1)[4] == 97.0


def test_equal_positions_count_once() -> None:
    points = np.repeat([[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], 5, axis=0)
    assert (knn_scale(points)[:5] == 1.0).all()
    points[:3] *= -1.0  # -0.0 is where 0.0 is
    assert (knn_scale(points)[:5] == 1.0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_order_of_the_points_does_not_matter(shape: str) -> None:
    rng = np.random.default_rng(11)
    points = shaped(shape, 3000, rng)
    order = rng.permutation(len(points))
    np.testing.assert_array_equal(knn_scale(points[order]), knn_scale(points)[order])


def test_the_points_are_read_as_they_come_and_left_alone() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3))
    before, expected = points.copy(), plain_scale(points)
    points.setflags(write=False)
    np.testing.assert_array_equal(knn_scale(points), expected)
    np.testing.assert_array_equal(knn_scale(np.asfortranarray(points)), expected)
    np.testing.assert_array_equal(knn_scale(np.repeat(points, 2, axis=0)[::2]), expected)
    np.testing.assert_array_equal(points, before)


def test_many_equal_points_cost_no_more_than_different_ones() -> None:
    """All pairs of 200,000 equal points would take minutes; so would one pass for each equal value of an axis."""
    rng = np.random.default_rng(0)
    equal = np.concatenate([np.zeros((200_000, 3)), rng.normal(size=(20, 3))])
    on_one_axis = rng.normal(size=(200_000, 3)) * [0, 1, 1] + rng.integers(0, 2, (200_000, 1)) * [[9e9, 0, 0]]
    knn_scale(equal[-10:])
    started = time.process_time()
    knn_scale(equal)
    knn_scale(on_one_axis)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("points", "k", "message"),
    [
        (np.zeros((0, 3)), 3, "at least 4 points"),
        (np.zeros((3, 3)), 3, "at least 4 points"),
        (np.zeros((9, 3)), 0, "k >= 1"),
        (np.zeros((9, 3)), 9, "at least 10 points"),
        (np.zeros((9, 3)), 3, "4 different positions, got 1"),
        (np.repeat(np.eye(3), 9, axis=0), 3, "4 different positions, got 3"),
        (np.full((9, 3), np.nan), 3, "finite"),
        (np.full((9, 3), np.inf), 3, "finite"),
        (np.zeros((9, 2)), 3, r"\[P, 3\]"),
        (np.zeros(9), 3, r"\[P, 3\]"),
    ],
)
def test_too_little_is_refused(points: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_scale(points, k)
