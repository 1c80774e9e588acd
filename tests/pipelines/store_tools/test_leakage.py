"""Leakage between splits: distances against geodesics of the ellipsoid, findings against plain loops."""

from __future__ import annotations

import json
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.build.clip_index import clip_records
from pipelines.geometry.geodesy import earth_centred, radii
from pipelines.store_tools.leakage import nearest_approach as module
from pipelines.store_tools.leakage.find import ClosePair, LogTrack, SharedFrames, find_leakage, log_tracks
from pipelines.store_tools.leakage.nearest_approach import closest_points, nearest_approach
from pipelines.store_tools.leakage.text import report_lines
from tests.support.logs.real_slice import matrix, real_log

PLACE = (37.77609, -122.39931)


def geodesic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Metres along the WGS84 ellipsoid between latitudes and longitudes [..., 2] (Vincenty 1975, inverse)."""
    major, flat = 6378137.0, 1 / 298.257223563
    minor = major * (1 - flat)
    u1, u2 = (np.arctan((1 - flat) * np.tan(np.radians(p[..., 0]))) for p in (a, b))
    (s1, c1), (s2, c2) = (np.sin(u1), np.cos(u1)), (np.sin(u2), np.cos(u2))
    lam0 = np.radians((b[..., 1] - a[..., 1] + 180) % 360 - 180)
    lam = lam0
    for _ in range(6):
        sin_s = np.sqrt((c2 * np.sin(lam)) ** 2 + (c1 * s2 - s1 * c2 * np.cos(lam)) ** 2)
        cos_s = s1 * s2 + c1 * c2 * np.cos(lam)
        sigma = np.arctan2(sin_s, cos_s)
        sin_a = np.divide(c1 * c2 * np.sin(lam), sin_s, out=np.zeros_like(sin_s), where=sin_s > 0)
        cos2a = 1 - sin_a**2
        cos2m = cos_s - np.divide(2 * s1 * s2, cos2a, out=np.zeros_like(cos2a), where=cos2a > 1e-12)
        c = flat / 16 * cos2a * (4 + flat * (4 - 3 * cos2a))
        lam = lam0 + (1 - c) * flat * sin_a * (sigma + c * sin_s * (cos2m + c * cos_s * (2 * cos2m**2 - 1)))
    k = cos2a * (major**2 - minor**2) / minor**2
    big_a = 1 + k / 16384 * (4096 + k * (-768 + k * (320 - 175 * k)))
    big_b = k / 1024 * (256 + k * (-128 + k * (74 - 47 * k)))
    inner = cos_s * (2 * cos2m**2 - 1) - big_b / 6 * cos2m * (4 * sin_s**2 - 3) * (4 * cos2m**2 - 3)
    return minor * big_a * (sigma - big_b * sin_s * (cos2m + big_b / 4 * inner))


def here(metres: object, place: tuple[float, float] = PLACE) -> np.ndarray:
    """[F, 2] latitude, longitude of [F, 2] metres east and north of a place."""
    east, north = np.asarray(metres, dtype=float).T
    meridian, normal = radii(place[0])
    latitude = place[0] + np.degrees(north / meridian)
    longitude = place[1] + np.degrees(east / (normal * np.cos(np.radians(place[0]))))
    return np.stack([latitude, (longitude + 180) % 360 - 180], axis=-1)


def dense(track: np.ndarray, step: int) -> np.ndarray:
    """The track with `step` samples a segment; unwrapped, so that it may cross the antimeridian."""
    track = np.stack([track[:, 0], np.degrees(np.unwrap(np.radians(track[:, 1])))], axis=-1)
    knots = np.linspace(0, len(track) - 1, max(1, step * (len(track) - 1) + 1))
    return np.stack([np.interp(knots, np.arange(len(track)), track[:, k]) for k in (0, 1)], axis=-1)


metre = st.floats(-3, 3).map(lambda x: round(x, 3))
steps = st.lists(st.tuples(metre, metre), min_size=1, max_size=5)
places = st.tuples(st.floats(-85, 85), st.sampled_from([-180.0, -179.99999, 180.0, 0.0, 11.5]) | st.floats(-180, 180))


@st.composite
def two_tracks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    place = draw(places)
    a, b = (np.cumsum(draw(steps), axis=0) for _ in range(2))
    shift = draw(st.tuples(st.floats(-20, 20), st.floats(-20, 20)))
    return here(a, place), here(b + shift, place)


# --- distances ------------------------------------------------------------------------------------------------


def test_the_geodesic_of_the_tests_is_right() -> None:
    # Flinders Peak to Buninyong, 54972.271 m on GRS80; WGS84 differs by less than 1 mm.
    a, b = np.array([-37.95103341667, 144.42486788889]), np.array([-37.65282113889, 143.92649552778])
    assert geodesic(a, b) == pytest.approx(54972.271, abs=1e-3)


@given(two_tracks())
@settings(max_examples=60, deadline=None)
def test_distance_is_that_of_densely_sampled_tracks(tracks: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = tracks
    step = 40
    samples_a, samples_b = dense(a, step), dense(b, step)
    brute = geodesic(samples_a[:, None], samples_b[None])
    found = nearest_approach(a, b)
    longest = max([geodesic(t[:-1], t[1:]).max() for t in tracks if len(t) > 1], default=0.0)
    assert found.distance_m <= brute.min() + 1e-5
    assert brute.min() <= found.distance_m + longest / step + 1e-5  # half a sample step on each track
    # The frames named are ends of the segments that hold the place, so within a segment of it.
    assert geodesic(a[found.frame_a], b[found.frame_b]) <= found.distance_m + longest + 1e-5


@given(two_tracks())
@settings(deadline=None)
def test_distance_is_symmetric_and_runs_both_ways(tracks: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = tracks
    distance = nearest_approach(a, b).distance_m
    assert nearest_approach(b, a).distance_m == pytest.approx(distance, abs=1e-7)
    assert nearest_approach(a[::-1], b).distance_m == pytest.approx(distance, abs=1e-7)


@given(two_tracks(), st.floats(-360, 360))
@settings(deadline=None)
def test_distance_does_not_change_along_the_parallel(tracks: tuple[np.ndarray, np.ndarray], turn: float) -> None:
    moved = [np.stack([t[:, 0], (t[:, 1] + turn + 180) % 360 - 180], axis=-1) for t in tracks]
    assert nearest_approach(*moved).distance_m == pytest.approx(nearest_approach(*tracks).distance_m, abs=1e-6)


@given(two_tracks())
@settings(deadline=None)
def test_a_track_lies_on_itself(tracks: tuple[np.ndarray, np.ndarray]) -> None:
    found = nearest_approach(tracks[0], tracks[0].copy())
    assert found.distance_m < 1e-8
    assert (found.frame_a, found.frame_b) == (0, 0)


def test_crossing_between_frames_is_found() -> None:
    a = here([(0, -6), (0, -4), (0, 4.2), (0, 6)])
    b = here([(-4, 0), (4.2, 0), (9, 0)])
    assert geodesic(a[:, None], b[None]).min() > 5.6  # no two frames are close
    found = nearest_approach(a, b)
    assert found.distance_m < 1e-4
    assert (found.frame_a, found.frame_b) == (1, 0)


@pytest.mark.parametrize(
    ("a", "b", "distance", "frames"),
    [
        ([(0, 0), (0, 2)], [(3, 5), (3, 9)], np.hypot(3, 3), (1, 0)),  # two ends
        ([(0, 0), (0, 2), (0, 4)], [(3, 2.9), (7, 2.9)], 3.0, (1, 0)),  # an end against a segment
        ([(0, 0)], [(3, 4)], 5.0, (0, 0)),  # one frame each
        ([(0, 0)], [(-2, 1), (3, 1)], 1.0, (0, 0)),  # a frame against a segment
        ([(1, 1), (1, 1), (1, 1)], [(1, 4), (1, 4)], 3.0, (0, 0)),  # both stand still
        ([(0, 0), (0, 2), (0, 4)], [(2, 0), (2, 2), (2, 4)], 2.0, (0, 0)),  # parallel: the first frames
        ([(0, 0), (0, 1), (0, 2)], [(2, 2), (2, 3)], 2.0, (2, 0)),
        ([(0, 0), (0, 4)], [(0, 3), (0, 9)], 0.0, (1, 0)),  # the same line, overlapping
    ],
)
def test_distances_known_by_hand(a: object, b: object, distance: float, frames: tuple[int, int]) -> None:
    for place in (PLACE, (0.0, 180.0), (-60.0, 0.0)):
        found = nearest_approach(here(a, place), here(b, place))
        assert found.distance_m == pytest.approx(distance, abs=1e-4)
        assert (found.frame_a, found.frame_b) == frames


def test_poles_are_places_like_others() -> None:
    meridian, _ = radii(90.0)
    for pole in (90.0, -90.0):
        near = pole - np.sign(pole) * np.degrees(3.0 / meridian)
        found = nearest_approach(np.array([[near, 20.0]]), np.array([[near, -160.0]]))
        assert found.distance_m == pytest.approx(6.0, abs=1e-6)
        across = nearest_approach(np.array([[near, 20.0], [near, -160.0]]), np.array([[pole, 77.0]]))
        assert across.distance_m < 1e-4


@given(st.integers(0, 2**32 - 1))
def test_closest_points_of_segments_are_those_of_a_fine_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, u, q, v = rng.normal(size=(4, 6, 3))
    v[0] = u[0] * rng.normal()  # parallel
    v[1] = u[1] + 1e-9 * rng.normal(size=3)  # nearly so
    u[2] = 0
    u[3] = v[3] = 0
    p[4] = q[4]
    s, t, gap = closest_points((p, u), (q, v))
    assert ((s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)).all()
    there = np.linalg.norm(p + s[:, None] * u - q - t[:, None] * v, axis=-1)
    assert ((gap <= there + 1e-12) & (there <= gap + module.TIE)).all()
    grid = np.linspace(0, 1, 41)
    on_a, on_b = (x[:, None] + grid[:, None] * d[:, None] for x, d in ((p, u), (q, v)))
    brute = np.linalg.norm(on_a[:, :, None] - on_b[:, None], axis=-1).min(axis=(1, 2))
    half = (np.linalg.norm(u, axis=1) + np.linalg.norm(v, axis=1)) / 80
    assert (gap <= brute + 1e-8).all()
    assert (brute <= gap + half + 1e-8).all()


def test_memory_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = (here(np.cumsum(rng.normal(size=(60, 2)), axis=0)) for _ in range(2))
    b += (1e-5, 1e-5)
    whole = nearest_approach(a, b)
    monkeypatch.setattr(module, "BLOCK", 64)
    assert nearest_approach(a, b) == whole


def test_chord_is_as_near_the_ground_distance_as_stated() -> None:
    for latitude in (-60.0, 0.0, 37.8, 80.0):
        for metres, error in ((1e3, 1.1e-6), (1e4, 1.1e-3)):
            ends = here([(0, 0), (metres * 0.6, metres * 0.8)], (latitude, 10.0))
            chord = np.linalg.norm(np.diff(earth_centred(ends), axis=0))
            # 1e-6: what the series of the geodesic itself leaves
            assert abs(geodesic(ends[0], ends[1]) - chord) < error + 1e-6


# --- findings -------------------------------------------------------------------------------------------------


def track(log_id: str, splits: tuple[str, ...], metres: object | None) -> LogTrack:
    return LogTrack(log_id, splits, None if metres is None else here(metres))


STREET = [(0.0, 2.0 * k) for k in range(8)]


def beside(east: float) -> list[tuple[float, float]]:
    return [(east + x, y) for x, y in STREET]


def test_what_leaks_is_found_and_nothing_else() -> None:
    tracks = [
        track("d", ("train",), beside(100.0)),  # far
        track("c", ("train",), beside(3.0)),  # beside a
        track("a", ("test",), STREET),
        track("b", ("test",), beside(1.0)),  # near a, same split; 2 m from c
        track("e", ("train",), None),
        track("f", ("test", "train"), beside(104.0)),  # beside d
    ]
    report = find_leakage(tracks)
    assert report == find_leakage(tracks[::-1])
    assert report.shared_logs == (("f", ("test", "train")),)
    assert report.shared_frames is None
    assert report.close_pairs == (
        ClosePair("b", "c", ("test",), ("train",), 0, 0, 2.0),
        ClosePair("a", "c", ("test",), ("train",), 0, 0, 3.0),
        ClosePair("d", "f", ("train",), ("test", "train"), 0, 0, 4.0),
    )
    assert report.without_gps == ("e",)
    # a and b against c, d, e, and f against all five; without e: 2 * 2 + 4
    assert (report.num_logs, report.num_pairs, report.num_pairs_checked) == (6, 11, 8)
    assert report.leaks
    wide = find_leakage(tracks, threshold_m=101.0)
    assert len(wide.close_pairs) == 5  # of 8: f is 101 m or more from a, b and c
    assert find_leakage(tracks, threshold_m=3.5).close_pairs == report.close_pairs[:2]


def test_as_close_as_the_threshold_is_not_closer() -> None:
    pair = [track("a", ("test",), STREET), track("b", ("train",), beside(5.0))]
    assert not find_leakage(pair, threshold_m=5.0).close_pairs
    assert find_leakage(pair, threshold_m=5.001).close_pairs[0].distance_m == 5.0


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 60.0))
@settings(max_examples=40, deadline=None)
def test_pruned_pairs_are_those_of_a_plain_loop(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    tracks = []
    for number in range(8):
        metres = np.cumsum(rng.normal(scale=1.5, size=(rng.integers(1, 7), 2)), axis=0) + rng.uniform(-60, 60, 2)
        splits = ("train",) if rng.uniform() < 0.5 else ("test",)
        tracks.append(LogTrack(f"{number:03d}", splits, here(metres, (70.0, 179.9999))))
    wanted = {}
    for a, b in combinations(tracks, 2):
        distance = round(nearest_approach(a.gps, b.gps).distance_m, 3)
        if a.splits != b.splits and distance < threshold:
            wanted[a.log_id, b.log_id] = distance
    found = find_leakage(tracks, threshold).close_pairs
    assert {(p.log_a, p.log_b): p.distance_m for p in found} == wanted
    assert [p.distance_m for p in found] == sorted(wanted.values())


def test_frames_of_a_log_in_two_splits_are_named() -> None:
    train, test = (clip_records("002", 36, (), test=flag).records for flag in (False, True))
    other = clip_records("003", 36, (), test=False).records
    records = (*train, *test, *other)
    tracks = log_tracks(records, {"002": here(STREET), "003": None})
    report = find_leakage(tracks, records=records)
    used = [{r.first_frame + f for r in group for f in r.input_frames + r.target_frames} for group in (train, test)]
    aims = [{r.first_frame + f for r in group for f in r.target_frames} for group in (train, test)]
    shared = SharedFrames("002", ("test", "train"), tuple(sorted(used[0] & used[1])), tuple(sorted(aims[0] & aims[1])))
    assert report.shared_frames == (shared,)
    assert 0 < len(shared.targets) < len(shared.frames)
    assert report.shared_logs == (("002", ("test", "train")),)
    assert find_leakage(tracks[1:], records=other).shared_frames == ()


def test_logs_that_share_no_frame_but_a_split_are_still_named() -> None:
    train = clip_records("002", 80, (), test=False).records[:1]
    test = clip_records("002", 80, (), test=True).records[-1:]
    report = find_leakage(log_tracks(train + test, {"002": None}), records=train + test)
    assert report.shared_frames == ()
    assert report.shared_logs
    assert report.leaks


def test_a_whole_data_set_takes_no_time() -> None:
    rng = np.random.default_rng(0)
    tracks = []
    for number in range(103):  # all in one quarter of 300 m, so that many boxes meet
        yaw, speed = rng.uniform(-np.pi, np.pi), rng.uniform(0, 2)
        along = speed * np.arange(80)[:, None] * [np.sin(yaw), np.cos(yaw)]
        splits = ("test",) if number % 10 == 0 else ("train",)
        tracks.append(LogTrack(f"{number:03d}", splits, here(along + rng.uniform(-150, 150, 2))))
    start = time.process_time()
    report = find_leakage(tracks)
    assert time.process_time() - start < 1.0
    assert report.num_pairs_checked == 11 * 92
    assert len(report.close_pairs) > 20


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gps", "message"),
    [
        (np.zeros((0, 2)), r"log 007: GPS has shape \(0, 2\)"),
        (np.zeros((4, 3)), r"log 007: GPS has shape \(4, 3\)"),
        (np.array([[37.0, 8.0], [np.nan, 8.0]]), "log 007, frame 1: nan, 8.0 is no GPS fix"),
        (np.array([[-122.4, 37.7]]), "log 007, frame 0: -122.4, 37.7 is no GPS fix"),
        (np.array([[37.7, 237.6]]), "frame 0: 37.7, 237.6 is no GPS fix"),
        (np.array([[37.7, -122.4], [0.0, 0.0]]), "log 007, frame 1: 0.0, 0.0 is no GPS fix"),
    ],
)
def test_a_place_that_is_none_is_refused(gps: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogTrack("007", ("train",), gps)


def test_bad_calls_are_refused() -> None:
    a = track("a", ("test",), STREET)
    with pytest.raises(ValueError, match="log a stands twice"):
        find_leakage([a, track("a", ("train",), STREET)])
    for threshold in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="threshold_m must be metres above 0"):
            find_leakage([a], threshold)
    with pytest.raises(ValueError, match="log b is in no split"):
        track("b", (), STREET)
    records = clip_records("002", 36, (), test=False).records
    with pytest.raises(ValueError, match="no GPS entry for logs 002; give None"):
        log_tracks(records, {})
    with pytest.raises(ValueError, match="clip 002-train_interpolation-s000: the tracks have no log 002 in train"):
        find_leakage([track("002", ("test",), None)], records=records)


# --- for people -----------------------------------------------------------------------------------------------


def test_lines_name_every_finding() -> None:
    records = [r for flag in (False, True) for r in clip_records("002", 36, (), test=flag).records]
    tracks = [
        track("002", ("test", "train"), STREET),
        track("003", ("train",), beside(3.25)),
        track("004", ("train",), None),
    ]
    records += clip_records("003", 11, (), test=False).records
    assert report_lines(find_leakage(tracks, records=records)) == (
        "log 002 is in the splits test, train",
        "log 002: 31 frames (0..15, 20..34) are used by clips of test, train, 17 of them as target in more than one",
        "logs 002 (test, train) and 003 (train) come within 3.250 m of each other, at frames 0 and 0",
        "without GPS, place n/a: 004",
        "leakage: 1 of 3 logs in more than one split, 31 frames used by more than one split; "
        "1 of 1 checked pairs closer than 5 m, 1 of 2 pairs n/a (1 logs without GPS)",
    )


def test_nothing_to_check_is_said_and_not_called_clean() -> None:
    blind = find_leakage([track("a", ("test",), None), track("b", ("train",), STREET)], records=[])
    assert report_lines(blind)[-1] == (
        "leakage: 0 of 2 logs in more than one split, 0 frames used by more than one split; "
        "places n/a: of 1 pairs of logs of different splits none has GPS on both sides"
    )
    assert not blind.leaks
    alone = report_lines(find_leakage([track("a", ("test",), STREET), track("b", ("test",), STREET)]))
    assert alone == (
        "leakage: 0 of 2 logs in more than one split, frames n/a (no clip index); "
        "places n/a: no two logs of different splits, nothing to compare",
    )
    assert report_lines(find_leakage([]))[-1].startswith("leakage: 0 of 0 logs")


# --- how far GPS can be trusted -------------------------------------------------------------------------------


def test_gps_of_the_real_log_is_its_ego_path() -> None:
    """After a rigid fit in the plane the two paths agree to 9.3 mm rms over 8.9 m; east is world x to 0.39 degrees."""
    log = real_log()
    fixes = json.loads((log / "meta/gps.json").read_text())
    points = earth_centred(np.array([[fix["lat"], fix["long"]] for fix in fixes]))
    phi, lam = np.radians(fixes[0]["lat"]), np.radians(fixes[0]["long"])
    east = np.array([-np.sin(lam), np.cos(lam), 0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    gps = (points - points.mean(axis=0)) @ np.stack([east, north], axis=-1) @ [1, 1j]
    poses = json.loads((log / "lidar/poses.json").read_text())
    ego = np.array([matrix(pose)[:2, 3] for pose in poses]) @ [1, 1j]
    ego -= ego.mean()
    turn = np.vdot(gps, ego)
    residual = np.abs(ego - gps * turn / abs(turn))
    assert np.degrees(np.angle(turn)) == pytest.approx(0.391, abs=0.01)
    assert np.sqrt(np.mean(residual**2)) == pytest.approx(0.0093, abs=2e-4)
    assert residual.max() < 0.02
