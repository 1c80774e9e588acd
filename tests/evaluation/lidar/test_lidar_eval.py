"""`flux4d-eval lidar` on generated logs, made-up sweeps and stores that lack what it needs."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from evaluation.__main__ import main
from evaluation.lidar.evaluate import ScoredClip, render_sweep, score_clip
from evaluation.lidar.floors import LAST, NEAREST, input_points, nearest_in_cell
from evaluation.lidar.own_car import without_own_car
from evaluation.lidar.page import write_lidar_page
from evaluation.lidar.path import NoLidarTruthError, SensorPath, frames_folder
from evaluation.lidar.pictures import MADE_UP, MISSED, SweepPicture, error_colours
from evaluation.lidar.results import LidarEvaluation, means_of
from evaluation.lidar.rig import GENERATED, PANDAR64, RIGS
from evaluation.lidar.session import EVERYWHERE, run_lidar
from evaluation.lidar.tables import lidar_tables, rich_tables
from evaluation.lidar.truth import RangeTruth
from evaluation.methods.method import SceneMethod
from evaluation.methods.save_scenes import SceneSaver
from evaluation.methods.standard import lifted_method
from evaluation.options import Lidar
from evaluation.scoring.results import MethodInfo
from flux4d.gaussians import Gaussians
from flux4d.lidar import SpinningLidar
from flux4d.lift.scene import SceneConfig
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from pipelines.synth.config import RIG, CameraSpec, preset
from store_schema.frame_store import frames_key
from store_schema.json_dataclass import load_json
from store_schema.pages.pictures import encoded
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from tests.support.html import MARKUP, same_elements, self_contained
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store

QUIET = Console(quiet=True)
TINY = replace(GENERATED[0], name="tiny", elevations=GENERATED[0].elevations[::4], columns=240)
"""Beams of the `tiny_logs` fixture."""


@pytest.fixture(scope="module")
def store(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of one tiny log, with its frames."""
    out = tmp_path_factory.mktemp("lidar") / "store"
    build(
        BuildConfig(root=tiny_logs, out=out, workers=0, logs=("tiny0",), protocol=ClipProtocol(test_logs=("tiny0",))),
        QUIET,
    )
    return out


@pytest.fixture(scope="module")
def path(store: Path) -> SensorPath:
    dataset = open_dataset(store)
    (record,) = dataset.select(setting="evaluation")[:1]
    return SensorPath.of(frames_folder(dataset), dataset.read(record.clip_id), (*RIGS, TINY))


def gaussians_at(points: np.ndarray, times: np.ndarray, size: float) -> Gaussians:
    count = len(points)
    return Gaussians(
        means=torch.from_numpy(points.astype(np.float32)),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=torch.full((count, 3), size),
        opacities=torch.full((count,), 0.99),
        rgb=torch.zeros(count, 3),
        times=torch.from_numpy(times.astype(np.float32)),
        velocities=torch.zeros(count, 1, 3),
        is_sky=torch.zeros(count, dtype=torch.bool),
        source=torch.arange(count),
    )


def perfect(path: SensorPath, frame: int) -> SceneMethod:
    """The returns of one held-out sweep themselves."""

    def reconstruct(_: object) -> Gaussians:
        points, times = path.sweep(frame)
        away = np.linalg.norm(points - path.origins(times), axis=1)
        scene = gaussians_at(points, times, 1.0)
        scene = replace(scene, source=torch.full_like(scene.source, -1))  # of no input sweep
        # A tenth of a column wide: each lies in its own pixel.
        narrow = torch.from_numpy((0.1 * 2 * np.pi / path.rig.columns * away).astype(np.float32))
        return replace(scene, scales=narrow[:, None].repeat(1, 3))

    return SceneMethod("perfect", "the truth", reconstruct)


@pytest.fixture(scope="module")
def scored(path: SensorPath) -> ScoredClip:
    """Every fifth sweep: frames 1 and 11."""
    lifted = SceneMethod("still", "points", lambda clip: gaussians_at(clip.points.means, clip.points.times, 0.1))
    return score_clip(path, [perfect(path, 1), lifted], every=5)


def test_the_generated_rig_is_told_from_the_others(path: SensorPath) -> None:
    assert path.rig is TINY
    truth = path.truth(3, path.turn(3))
    assert truth.off_beam < 0.01 * truth.points
    assert truth.hidden < 0.02 * truth.points
    assert truth.returned.mean() > 0.5


@pytest.mark.parametrize(("name", "rig"), [("large", GENERATED[0]), ("small", GENERATED[1])])
def test_generated_rigs_are_those_of_the_generator(name: str, rig: object) -> None:
    assert rig in GENERATED
    spinning = preset(name).spinning  # type: ignore[arg-type]
    known = next(r for r in GENERATED if r is rig)
    np.testing.assert_allclose(known.elevations, spinning.elevations, atol=1e-12)
    assert known.columns == spinning.columns
    front: CameraSpec = RIG[0]
    sensor2ego = np.diag([-1.0, -1.0, 1.0, 1.0])
    sensor2ego[:3, 3] = spinning.position
    np.testing.assert_allclose(known.lidar2camera, np.linalg.inv(front.cam2ego()) @ sensor2ego, atol=1e-5)


def test_the_path_goes_through_the_cameras_poses(path: SensorPath) -> None:
    for view in path.clip.views:
        np.testing.assert_allclose(path.at(view.time), view.cam2ego0 @ TINY.lidar2camera, atol=1e-6)


def test_a_perfect_scene_scores_near_zero(scored: ScoredClip) -> None:
    for kind, error, chamfer in (("median", 1e-4, 1e-4), ("expected", 0.01, 0.5)):
        (row,) = (r for r in scored.sweeps if (r.method, r.kind, r.frame) == ("perfect", kind, 1))
        scores = row.scores
        assert scores.rays == scores.known_rays - scores.dropped_rays > 3000
        assert (scores.drop_accuracy, scores.drop_precision, scores.drop_recall) == (1, 1, 1)
        assert scores.median_error is not None
        assert scores.chamfer is not None
        assert scores.median_error < error
        # Beams are 0.1 pixels of this coarse image apart: the expected range mixes them at edges.
        assert scores.chamfer < chamfer
    # The returns of one sweep, in another place a second later, are no longer perfect.
    late = next(r for r in scored.sweeps if (r.method, r.kind, r.frame) == ("perfect", "median", 11))
    assert late.scores.median_error is not None
    assert late.scores.median_error > 0.05


def test_methods_and_floors_do_not_know_the_own_car(path: SensorPath) -> None:
    points, scene = path.clip.points, gaussians_at(path.clip.points.means, path.clip.points.times, 0.1)
    away = np.linalg.norm(points.means - path.origins(points.times), axis=1)
    own, kept = np.flatnonzero(away < 2.0), torch.from_numpy(np.flatnonzero(away >= 2.0))
    assert 100 < len(own) < 0.05 * len(points)
    assert np.abs(away - 2.0).min() > 1e-4  # no point for rounding to decide on
    assert torch.equal(without_own_car(scene, path).means, scene.means[kept])
    made_up = replace(scene, source=torch.full_like(scene.source, -1))
    assert len(without_own_car(made_up, path)) == len(points)
    inputs = path.clip.record.input_frames
    spinning = points.sensor == 0
    assert sum(len(input_points(path, frame)) for frame in inputs) == (spinning & (away >= 2.0)).sum()
    ways = [SceneMethod("all", "", lambda _: scene), SceneMethod("kept", "", lambda _: scene.select(kept))]
    found = score_clip(path, ways, every=5)
    assert found.sensor.gaussians == {"all": len(kept), "kept": len(kept)}
    scores = [[row.scores for row in found.sweeps if row.method == name] for name in ("all", "kept")]
    assert scores[0] == scores[1]
    # Left in, they are in the way of other sweeps.
    images = [render_sweep(left, path.turn(9)).expected for left in (scene, scene.select(kept))]
    assert (images[0] < images[1] - 1).sum() > 10


def test_nothing_is_seen_nearer_than_the_own_car(path: SensorPath) -> None:
    turn = path.turn(3)
    for distance, seen in ((1.0, False), (1.9, False), (2.1, True), (5.0, True)):
        ranges = np.full((len(turn.elevations), turn.columns), distance)
        place, time = turn.points(ranges)[3, 100], turn.column_times()[100]
        lone = gaussians_at(place[None], np.array([time]), 0.05)
        assert render_sweep(lone, turn).returned.any() == seen, distance
        assert (nearest_in_cell(lone.means, turn) > 0).any() == seen, distance


def test_hard_rays_are_those_some_input_sweep_returned(path: SensorPath, scored: ScoredClip) -> None:
    inputs = np.zeros((len(TINY.elevations), TINY.columns), bool)
    for frame in path.clip.record.input_frames:
        truth = path.truth(frame, path.turn(frame))
        inputs |= truth.range >= 2.0
    np.testing.assert_array_equal(path.returned_in_inputs(), inputs)
    assert 0 < (~inputs).sum() < inputs.sum()
    for row in scored.sweeps:
        truth = path.truth(row.frame, path.turn(row.frame))
        assert row.scores.dropped_rays_hard == (truth.known & ~truth.returned & inputs).sum()


def test_every_way_is_scored_once_a_sweep(scored: ScoredClip, path: SensorPath) -> None:
    ways = {(row.method, row.kind) for row in scored.sweeps}
    methods = {(name, kind) for name in ("perfect", "still") for kind in ("expected", "median")}
    assert ways == methods | {(NEAREST, "floor"), (LAST, "floor")}
    assert len(scored.sweeps) == 6 * 2
    assert {(row.frame, row.role) for row in scored.sweeps} == {(1, "interpolation"), (11, "future")}
    # What is known and dropped is the truth's, whatever is compared with it.
    for frame in (1, 11):
        assert len({(r.scores.known_rays, r.scores.dropped_rays) for r in scored.sweeps if r.frame == frame}) == 1
    assert scored.sensor.sweeps == 2
    assert scored.sensor.points == sum(len(path.sweep(frame)[0]) for frame in (1, 11))


def test_nearest_in_cell_is_a_plain_loop() -> None:
    lidar = SpinningLidar(
        np.radians([10.0, 0.0, -10.0]), 12, np.stack([np.eye(4), np.eye(4)]), (0.0, 0.1), 0.0, clockwise=False
    )
    points = np.random.default_rng(0).normal(size=(40, 3)) * [10, 10, 2]
    expected = np.zeros((3, 12))
    for x, y, z in points:
        distance, azimuth = np.sqrt(x * x + y * y + z * z), np.arctan2(y, x) % (2 * np.pi)
        off = np.abs(np.arctan2(z, np.hypot(x, y)) - lidar.elevations)
        cell = np.argmin(off), int(azimuth / lidar.column_width)
        if off.min() <= lidar.column_width / 2 and distance >= 2 and not 0 < expected[cell] < distance:
            expected[cell] = distance
    assert (expected > 0).sum() > 10
    np.testing.assert_allclose(nearest_in_cell(torch.from_numpy(points), lidar), expected, rtol=1e-5)


def test_an_empty_set_is_na() -> None:
    means = means_of([])
    assert (means.sweeps, means.rays, means.dropped_rays) == (0, 0, 0)
    assert (means.median_error, means.rmse, means.chamfer, means.drop_accuracy, means.render_seconds) == (None,) * 5


def test_tables_say_na_and_keep_roles_apart(scored: ScoredClip) -> None:
    lone = tuple(row for row in scored.sweeps if row.role == "interpolation")
    evaluation = LidarEvaluation("v", "s", "", "", {}, (), 5, (scored.sensor,), lone, ())
    interpolation, future = lidar_tables(evaluation)
    assert len(interpolation.rows) == len(future.rows) == 6
    assert all(row.cells[0] == "n/a" for row in future.rows)
    assert all(row.cells[0] != "n/a" for row in interpolation.rows)


def test_tables_fit_a_terminal(scored: ScoredClip) -> None:
    """Counts as large as those of a data set, two groups of clips."""
    many = [replace(row, scores=replace(row.scores, rays=987_654)) for row in scored.sweeps]
    other = [replace(row, seen=True, clip_id="other") for row in many]
    evaluation = LidarEvaluation("v", "s", "", "", {}, (), 5, (), (*many, *other), ())
    console = Console(width=80, file=io.StringIO(), record=True)
    printed = rich_tables(lidar_tables(evaluation)[0])
    console.print(*printed)
    text = console.export_text()
    assert [str(table.title) for table in printed] == [
        f"LiDAR sweeps, interpolation, {group}" for group in ("unseen (1)", "seen (1)", "all (2)")
    ]
    assert "\u2026" not in text
    assert text.count("perfect") == 6
    assert "1,975,308" in text


def test_clips_with_and_without_training_are_apart(scored: ScoredClip) -> None:
    other = tuple(replace(row, seen=True, clip_id="other") for row in scored.sweeps)
    evaluation = LidarEvaluation("v", "s", "", "", {}, (), 5, (), (*scored.sweeps, *other), ())
    tables = lidar_tables(evaluation)
    assert [table.title for table in tables][2:] == [
        "LiDAR sweeps by clip, interpolation",
        "LiDAR sweeps by clip, future",
    ]
    assert list(dict.fromkeys(row.labels[2] for row in tables[0].rows)) == ["unseen (1)", "seen (1)", "all (2)"]


def test_error_colours_name_what_only_one_sees() -> None:
    truth = RangeTruth(
        range=np.array([[10.0, 10, 0, 0]], np.float32),
        returned=np.array([[True, True, False, False]]),
        known=np.ones((1, 4), bool),
        points=2,
        off_beam=0,
        hidden=0,
    )
    shown = error_colours(np.array([[10.0, 5, 7, 0]]), np.array([[True, False, True, False]]), truth)
    assert [tuple(pixel) for pixel in shown[0]] == [(0, 0, 4), MISSED, MADE_UP, (0, 0, 4)]


def test_the_command_writes_json_tables_and_a_page(store: Path, tmp_path: Path) -> None:
    page = run_lidar(Lidar(store=str(store), out=tmp_path, every=5, device="cpu"), rigs=(TINY,))
    evaluation = load_json(tmp_path / "lidar.json", LidarEvaluation)
    assert [method.name for method in evaluation.methods] == ["lifted", NEAREST, LAST]
    assert len(evaluation.sweeps) == 2 * 4
    assert evaluation.weights == ""
    table = (tmp_path / "lidar.md").read_text()
    assert "| lifted | median | unseen (1) |" in table
    assert "LiDAR sweeps, future" in table
    shown = self_contained(page)
    assert len(shown.addresses) == 2 + 2 * 3
    assert all(address.startswith("data:image/png;base64,") for address in shown.addresses)


def test_no_text_of_an_evaluation_makes_an_element(scored: ScoredClip, tmp_path: Path) -> None:
    pages = []
    for text in (MARKUP, "harmless"):
        sensors = (replace(scored.sensor, clip_id=text, rig=text),)
        sweeps = tuple(replace(row, clip_id=f"{text}{row.seen}", method=text) for row in scored.sweeps)
        evaluation = LidarEvaluation(*(text,) * 4, {}, (MethodInfo(text, text),), 5, sensors, sweeps, (text,))
        picture = SweepPicture(text, 1, "future", text, encoded(np.zeros((2, 2, 3), np.uint8)))
        write_lidar_page(tmp_path / "page.html", evaluation, [picture])
        pages.append(self_contained(tmp_path / "page.html"))
    same_elements(*pages)
    assert MARKUP in pages[0].values("alt")
    assert f"{MARKUP}, future frame 1" in pages[0].text


def test_scene_files_are_scored_beside_the_lifted_scene_and_alike(store: Path, tmp_path: Path) -> None:
    dataset = open_dataset(store)
    saver = SceneSaver(tmp_path / "scenes", dataset.version)
    for record in dataset.select(split="test", setting="evaluation"):
        clip = dataset.read(record.clip_id)
        method = lifted_method(SceneConfig(), "cpu", EVERYWHERE)
        saver.scene(clip, method, method.reconstruct(clip))
    named = (f"mine={tmp_path / 'scenes' / 'lifted'}",)
    run_lidar(Lidar(store=str(store), out=tmp_path, every=5, device="cpu", scenes=named), rigs=(TINY,))
    evaluation = load_json(tmp_path / "lidar.json", LidarEvaluation)
    assert [method.name for method in evaluation.methods][:2] == ["lifted", "mine"]
    lifted, mine = (
        [replace(row, method="", render_seconds=None) for row in evaluation.sweeps if row.method == name]
        for name in ("lifted", "mine")
    )
    assert len(mine) == 4
    assert mine == lifted
    assert "mine" not in evaluation.sensors[0].reconstruct_seconds
    assert evaluation.sensors[0].gaussians["mine"] > 0


def test_another_sensor_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none whose beams are known.*Pandar64 of PandaSet"):
        run_lidar(Lidar(store=str(store), out=tmp_path / "out", device="cpu"), rigs=(PANDAR64,))
    assert not (tmp_path / "out").exists()


def test_a_store_without_frames_says_so(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = tmp_path / "published"
    shutil.copytree(store, published, ignore=lambda folder, names: {"frames"} & set(names))
    assert main(["lidar", "--store", str(published), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 1
    assert "only in the frame store, which this store was published without" in capsys.readouterr().err
    toy = tmp_path / "toy"
    write_store(toy, [make_clip(per_frame=30)])
    with pytest.raises(NoLidarTruthError, match="features_version"):
        frames_folder(open_dataset(toy))


def test_frames_of_other_raw_files_are_refused(store: Path, path: SensorPath) -> None:
    dataset = open_dataset(store)
    late = replace(path.clip, sweep_times=path.clip.sweep_times + 0.05)
    with pytest.raises(NoLidarTruthError, match="another stamp"):
        SensorPath.of(frames_folder(dataset), late, (TINY,))
    fewer = replace(path, clip=replace(path.clip, points=make_clip(per_frame=30).points))
    with pytest.raises(NoLidarTruthError, match="another number of points"):
        fewer.sweep(0)


def test_the_frames_folder_is_the_builds(store: Path) -> None:
    dataset = open_dataset(store)
    assert frames_folder(dataset).name == frames_key(dataset.manifest.config)


def test_options_that_contradict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        Lidar(store=str(tmp_path), out=tmp_path, run=tmp_path, weights=tmp_path)
    with pytest.raises(ValueError, match="every must be at least 1"):
        Lidar(store=str(tmp_path), out=tmp_path, every=0)
