"""The alignment benchmark: its parts against plain twins, and the whole of it on a street whose exposures are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from benchmarks.alignment import __main__ as alignment
from benchmarks.alignment.edges import edge_map, edge_mask, edge_sums, static_rows
from benchmarks.alignment.rig import Rig, Track
from benchmarks.alignment.scores import OFFSETS, peak
from pipelines.features.camera_time import shifted_camera
from pipelines.sources.base import CameraFrame, Cuboids, Sweep
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.synth import SynthConfig, generate_log
from pipelines.synth.config import ForwardSpec, SpinningSpec, pandar64_elevations
from tests.support.logs.real_slice import real_log


def edge_mask_plain(azimuth: np.ndarray, elevation: np.ndarray, distance: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(azimuth), bool)
    for i in range(len(azimuth)):
        turn = azimuth - azimuth[i]
        level = np.abs(elevation - elevation[i]) < np.radians(0.1)
        beside = level & (np.abs(turn) > np.radians(0.05)) & (np.abs(turn) <= np.radians(0.35))
        farther = distance > distance[i] + max(1.0, 0.1 * distance[i])
        surface = np.abs(distance - distance[i]) < 0.5
        for side in (turn > 0, turn < 0):
            free = (beside & side & farther).any() and not (beside & side & ~farther).any()
            mask[i] |= free and (beside & ~side & surface).any()
    return mask


def test_depth_edges_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    azimuth, elevation = np.radians(rng.uniform(0, 8, 1500)), np.radians(rng.uniform(0, 1.5, 1500))
    distance = np.where(np.floor(azimuth / 0.03) % 2, 10.0, 14.0) + rng.uniform(0, 1.2, 1500)
    mask = edge_mask(azimuth, elevation, distance, np.argsort(azimuth, kind="stable"))
    np.testing.assert_array_equal(mask, edge_mask_plain(azimuth, elevation, distance))
    assert 30 < mask.sum() < 300
    assert distance[mask].mean() < 11  # the nearer return is the edge


def test_the_offset_of_a_known_image_edge_is_found_along_the_way() -> None:
    image = np.full((40, 300, 3), 60, np.uint8)
    image[:, 140:] = 200
    gradient = edge_map(simplejpeg.encode_jpeg(image, quality=98))
    assert 0.7 < gradient.mean() < 1.5
    assert set(gradient.argmax(axis=1)) <= {139, 140}
    for place, way in ((132.5, 1.0), (132.5, -1.0), (161.0, 1.0)):
        uv = np.stack([np.full(30, place), np.arange(5, 35) + 0.5], axis=1)
        total, count = edge_sums(gradient, uv, np.full(30, way), OFFSETS)
        assert peak(total / count, OFFSETS) == pytest.approx(way * (140 - place), abs=0.3)


def test_sums_are_those_of_plain_interpolation_and_leave_out_what_lies_outside() -> None:
    rng = np.random.default_rng(1)
    gradient = rng.uniform(0, 3, (20, 90)).astype(np.float32)
    uv, way = rng.uniform([-20, -3], [110, 23], (50, 2)), rng.choice([-1.0, 1.0], 50)
    total, count = edge_sums(gradient, uv, way, OFFSETS)
    for s in range(0, len(OFFSETS), 17):
        u, row = uv[:, 0] + way * OFFSETS[s], np.floor(uv[:, 1]).astype(int)
        kept = (u >= 0.5) & (u < 89.5) & (row >= 0) & (row < 20)
        centres = np.arange(90) + 0.5
        values = [np.interp(x, centres, gradient[y]) for x, y in zip(u[kept], row[kept], strict=True)]
        assert count[s] == kept.sum()
        assert total[s] == pytest.approx(sum(values), rel=1e-5)


def test_a_parabola_has_its_peak_between_the_samples() -> None:
    at = np.arange(-5.0, 6.0)
    assert peak(-((at - 1.3) ** 2), at) == pytest.approx(1.3)
    assert -5 <= peak(at, at) <= 5  # at the border there is no peak to fit


def test_points_in_and_near_moving_boxes_do_not_stand() -> None:
    points = np.array([[0, 0, 0], [1.2, 0, 0], [1.4, 0, 0], [20, 0, 0.0]])
    zeros = np.zeros(4)
    sweep = Sweep(0, 0.0, points, zeros, zeros, *np.zeros((2, 4), np.uint8))
    position = np.array([[0, 0, 0], [20, 0, 0.0]])
    boxes = Cuboids(
        0,
        ("a", "b"),
        ("Car", "Car"),
        position,
        np.full((2, 3), 2.0),
        np.zeros(2),
        np.zeros(2, bool),
        np.ones(2, np.int8),
    )
    later = replace(boxes, frame=1, position=position + np.array([[0.1, 0, 0], [0, 0, 0]]))
    assert static_rows(sweep, boxes, later).tolist() == [False, False, True, True]
    assert static_rows(sweep, None, None).all()


def test_a_track_goes_on_beyond_its_ends() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0, 1, 3]
    track = Track(np.array([0.0, 0.1, 0.2]), poses)
    assert [track.at(time)[0, 3] for time in (-0.05, 0.05, 0.15, 0.25)] == pytest.approx([-0.5, 0.5, 2, 4])


class LateStamps(PandaSetLog):
    """A log whose cameras claim to have exposed 12 ms after they did, with the poses of that time."""

    def camera(self, camera: str, frame: int) -> CameraFrame:  # type: ignore[override]
        return shifted_camera(self.true, camera, frame, 0.012)

    @property
    def true(self) -> PandaSetLog:
        return PandaSetLog(self._root)


@pytest.mark.slow
def test_stamps_that_are_12_ms_late_are_found_on_a_street_whose_exposures_are_known(tmp_path: Path) -> None:
    beams = tuple(float(elevation) for elevation in pandar64_elevations())
    config = SynthConfig(960, 540, SpinningSpec(beams, 1800), ForwardSpec(40, 15))
    folder = generate_log(tmp_path / "street", 0, 8, 0, config)
    true, late = (
        alignment.measure(Rig.of(log), range(1, 7), lambda: None, True)["cameras"]
        for log in (PandaSetLog(folder), LateStamps(folder))
    )
    assert len(true) == 6
    for name, row in true.items():
        shift = row["best_shift_s"]["value"]
        assert late[name]["best_shift_s"]["value"] - shift == pytest.approx(-0.012, abs=0.001), name
        # Where the image expands, the zero is less sure: outlines lie a little outside the last return.
        assert abs(shift) < (0.010 if name in ("front_camera", "back_camera") else 0.0025), name
        assert row["own_stamp"]["contrast"] > 1.3 * row["sweep_end"]["contrast"], name


@pytest.mark.slow
def test_on_the_real_log_every_camera_fits_better_at_its_own_stamp(capsys: pytest.CaptureFixture[str]) -> None:
    log = real_log()
    alignment.main(["--root", str(log.parent), "--log", log.name, "--quick", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(result["cameras"]) == 6
    for name, row in result["cameras"].items():
        assert row["own_stamp"]["contrast"] > row["sweep_end"]["contrast"], name
        assert row["edges"] > 300
