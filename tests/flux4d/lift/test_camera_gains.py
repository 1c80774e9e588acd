"""Gains of cameras from commonly coloured surface: known gains are found, and what must hold for any points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flux4d.lift.camera_gains import MAX_GAIN, GainConfig, Overlap, gains_of, overlaps, relative_gains
from store_schema.clip import LiftedPoints
from tests.support.scenes.toy import make_clip

CHAIN = ((0, 1), (1, 2))
CONFIG = GainConfig(min_pairs=50, ridge=1e-6)
SEEDS = st.integers(0, 2**31)


def camera_gains(points: LiftedPoints, cameras: int, config: GainConfig) -> NDArray[np.float64]:
    return gains_of(overlaps(points, cameras, config), cameras, config.ridge)


def surface(gains: NDArray[np.float64], links: tuple[tuple[int, int], ...] = CHAIN, seed: int = 0) -> LiftedPoints:
    """Points on a wall a link, 10 m apart, each wall coloured by two cameras, 2 cm beside each other."""
    rng = np.random.default_rng(seed)
    means, rgb, camera = [], [], []
    for number, link in enumerate(links):
        place = rng.uniform(0, 8, (200, 3)) * [1, 0, 1] + [10.0 * number, 0, 0]
        albedo = rng.uniform(0.3, 0.5, (200, 3))
        for one in link:
            means.append(place + np.array([0, 0.02 * (one == link[1]), 0]))
            rgb.append(np.rint(albedo * gains[one] * 255))
            camera.append(np.full(200, one))
    count = 400 * len(links)
    template = make_clip(per_frame=3).points
    blank = {
        name: np.zeros((count, *getattr(template, name).shape[1:]), getattr(template, name).dtype)
        for name in template.__slots__
    }
    return LiftedPoints(
        **{
            **blank,
            "means": np.concatenate(means).astype(np.float32),
            "rgb": np.concatenate(rgb).astype(np.uint8),
            "camera": np.concatenate(camera).astype(np.int8),
        }
    )


@given(seed=SEEDS, gains=st.lists(st.floats(0.75, 1.3), min_size=9, max_size=9))
@settings(max_examples=12, deadline=None)
def test_known_gains_are_found(seed: int, gains: list[float]) -> None:
    truth = np.array(gains).reshape(3, 3)
    truth /= np.exp(np.log(truth).mean(axis=0))
    found = camera_gains(surface(truth, seed=seed), 3, CONFIG)
    # A colour is a whole number near 100; the median of 200 ratios is much nearer than one.
    np.testing.assert_allclose(found, truth, rtol=0.01)
    np.testing.assert_allclose(np.log(found).sum(axis=0), 0.0, atol=1e-6)


def test_a_camera_without_common_surface_keeps_its_colours() -> None:
    found = camera_gains(surface(np.full((2, 3), 1.0) * [[1.2], [0.8]], ((0, 1),)), 4, CONFIG)
    np.testing.assert_allclose(found[0] / found[1], 1.5, rtol=0.02)
    np.testing.assert_array_equal(found[2:], 1.0)


def test_cameras_that_nothing_links_to_the_reference_stay() -> None:
    gains = np.array([[1.0], [0.8], [1.25], [0.9], [0.9]]) * np.ones((1, 3))
    points = surface(gains, ((0, 1), (1, 2), (3, 4)))  # two groups; within one they are chained
    factors = relative_gains(points, 6, 0, CONFIG)
    np.testing.assert_allclose(factors[:3], 1 / gains[:3], rtol=0.01)
    np.testing.assert_array_equal(factors[3:], 1.0)
    np.testing.assert_array_equal(relative_gains(points, 6, 5, CONFIG), 1.0)


def test_what_moves_is_outvoted() -> None:
    points = surface(np.ones((3, 3)))
    rgb = points.rgb.copy()
    rgb[400:460] = 20  # at three tenths of the second wall something dark had come before camera 1
    found = overlaps(replace(points, rgb=rgb), 3, CONFIG)[1]
    assert (found.first, found.second, found.pairs) == (1, 2, 200)
    assert np.abs(found.log_ratio).max() < 0.01 < np.log(4) < found.spread


@given(
    ratios=st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=2),
    pairs=st.lists(st.integers(1, 10**6), min_size=2, max_size=2),
)
@settings(max_examples=50, deadline=None)
def test_gains_are_bounded_and_few_pairs_change_little(ratios: list[float], pairs: list[int]) -> None:
    found = tuple(
        Overlap(a, b, count, np.full(3, ratio), 0.0) for (a, b), ratio, count in zip(CHAIN, ratios, pairs, strict=True)
    )
    gains = gains_of(found, 3, 100.0)
    assert (gains <= MAX_GAIN * (1 + 1e-12)).all()
    assert (gains >= (1 - 1e-12) / MAX_GAIN).all()
    # The change of a log gain is at most what the ridge lets the pairs push.
    push = sum(count * abs(ratio) for ratio, count in zip(ratios, pairs, strict=True))
    assert np.abs(np.log(gains)).max() <= push / 100.0 + 1e-12


def test_the_solution_is_the_plain_least_squares() -> None:
    rng = np.random.default_rng(0)
    found = tuple(
        Overlap(a, b, int(rng.integers(100, 900)), rng.normal(0, 0.1, 3), 0.0) for a, b in ((0, 1), (1, 2), (0, 2))
    )
    rows, right = [np.eye(3) * 50.0**0.5], [np.zeros((3, 3))]
    for one in found:
        row = np.zeros((1, 3))
        row[0, [one.first, one.second]] = -(one.pairs**0.5), one.pairs**0.5
        rows.append(row)
        right.append(one.log_ratio[None] * one.pairs**0.5)
    plain = np.exp(np.linalg.lstsq(np.concatenate(rows), np.concatenate(right))[0])
    np.testing.assert_allclose(gains_of(found, 3, 50.0), plain, rtol=1e-12)


def test_dark_cut_off_and_colourless_points_do_not_count() -> None:
    points = surface(np.ones((3, 3)))
    for value in (5, 255):
        rgb = points.rgb.copy()
        rgb[:150, 1] = value
        assert [one.first for one in overlaps(replace(points, rgb=rgb), 3, GainConfig(min_pairs=100))] == [1]
    uncoloured = replace(points, camera=np.full(len(points), -1, np.int8))
    np.testing.assert_array_equal(camera_gains(uncoloured, 3, CONFIG), 1.0)
    # Cameras 0 and 1 have 200 and 400 points; half of camera 1's lie on the second wall.
    few = GainConfig(min_pairs=10, queries=40)
    assert [one.pairs for one in overlaps(points, 3, few)] == [40, 20]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="camera 2 of 2"):
        camera_gains(surface(np.ones((3, 3))), 2, CONFIG)
    for changes in ({"radius": 0.0}, {"ridge": 0.0}, {"min_pairs": 0}, {"queries": 1}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            GainConfig(**changes)
    with pytest.raises(ValueError, match="darkest"):
        GainConfig(darkest=0.9, brightest=0.5)
