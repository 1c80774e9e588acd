"""Raw logs to a version, end to end on tiny generated logs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster
from filelock import FileLock
from rich.console import Console

from pipelines.__main__ import main
from pipelines.build.plan import BuildConfig
from pipelines.build.run import BuildResult, build
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.labels import FlowClass
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from store_schema.version.verify import verify_version
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store

QUIET = Console(quiet=True)


def run(root: Path, out: Path, workers: int = 0, **changes: object) -> BuildResult:
    config = BuildConfig(
        root=root, out=out, workers=workers, protocol=ClipProtocol(test_logs=("tiny1",)), clips_per_shard=1, **changes
    )  # type: ignore[arg-type]
    return build(config, QUIET)


@pytest.fixture(scope="module")
def built(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    out = tmp_path_factory.mktemp("built")
    return out, run(tiny_logs, out)


def test_clips_follow_the_protocol(built: tuple[Path, BuildResult]) -> None:
    out, result = built
    # 17 frames: starts 0 and 6 of 11 frames, 0 of 16; the test log gives one evaluation clip.
    assert result.manifest.counts == {"test/evaluation": 1, "train/train_future": 1, "train/train_interpolation": 2}
    assert result.errors == ()
    dataset = open_dataset(out)
    assert dataset.version == result.version
    assert list(verify_version(dataset.folder)) == []


def test_a_clip_holds_the_raw_points_in_ego0(built: tuple[Path, BuildResult], tiny_logs: Path) -> None:
    clip = open_dataset(built[0]).read("tiny0-train_interpolation-s006")
    reader = PandaSetLog(tiny_logs / "tiny0")
    ego0 = reader.sweep(6)
    world2ego0 = np.linalg.inv(reader.ego2world(6))
    for number in clip.record.input_frames:
        sweep = reader.sweep(6 + number)
        rows = clip.points.frame == number
        expected = sweep.points @ world2ego0[:3, :3].T + world2ego0[:3, 3]
        np.testing.assert_allclose(clip.points.means[rows], expected, atol=5.2e-4)
        np.testing.assert_allclose(clip.points.times[rows], sweep.times - ego0.time, atol=1e-6)
        np.testing.assert_array_equal(clip.points.sensor[rows], sweep.sensor)
    for view in clip.views:
        camera = reader.camera(view.camera, 6 + view.frame)
        assert view.image == camera.path.read_bytes()
        np.testing.assert_allclose(view.cam2ego0, world2ego0 @ camera.cam2world, atol=2e-9)
        assert view.time == pytest.approx(camera.time - ego0.time, abs=2e-9)


def test_flow_agrees_with_the_exact_motion_of_the_generated_world(
    built: tuple[Path, BuildResult], tiny_logs: Path
) -> None:
    clip = open_dataset(built[0]).read("tiny1-evaluation-s000")
    world2ego0 = np.linalg.inv(PandaSetLog(tiny_logs / "tiny1").ego2world(0))
    checked = 0
    for number in clip.record.input_frames:
        truth = np.load(tiny_logs / "tiny1" / "ground_truth" / f"{number:02d}.npz")
        rows = (clip.points.frame == number) & (clip.points.flow_class == FlowClass.FOREGROUND_DYNAMIC)
        velocity = truth["velocity"][rows[clip.points.frame == number]] @ world2ego0[:3, :3].T
        # Boxes are true at the stamp, points at their own time: acceleration within 0.1 s is the difference.
        error = np.linalg.norm(clip.points.flow[rows] / 0.1 - velocity, axis=1)
        assert np.median(error) < 0.25
        checked += int(rows.sum())
    assert checked > 50


def test_the_version_does_not_depend_on_workers_place_or_restart(
    built: tuple[Path, BuildResult], tiny_logs: Path, tmp_path: Path
) -> None:
    version = built[1].version
    elsewhere = tmp_path / "moved" / "logs"
    shutil.copytree(tiny_logs, elsewhere)
    assert run(elsewhere, tmp_path / "two", workers=2, logs=("tiny1", "tiny0")).version == version
    again = run(elsewhere, tmp_path / "two")
    assert (again.version, again.frames_made) == (version, 0)


def test_an_existing_cluster_builds_the_same_version(
    built: tuple[Path, BuildResult], tiny_logs: Path, tmp_path: Path
) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        result = run(tiny_logs, tmp_path, scheduler=cluster.scheduler_address)
    assert result.version == built[1].version


def test_a_scheduler_that_does_not_answer_is_named(tiny_logs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        run(tiny_logs, tmp_path, scheduler="tcp://127.0.0.1:9")


def test_leakage_is_asked_of_the_store(
    built: tuple[Path, BuildResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(built[0])
    assert main(["leakage", store]) == 0
    assert "0 of 1 checked pairs closer than 5 m" in capsys.readouterr().out
    assert main(["leakage", store, "--metres", "10000000"]) == 1
    assert "logs tiny0 (train) and tiny1 (test) come within" in capsys.readouterr().out
    version = write_store(tmp_path, [make_clip(), make_clip(setting="train_interpolation", seed=1)])
    assert main(["leakage", str(tmp_path), version]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "log toy is in the splits test, train" in lines
    assert "without GPS, place n/a: toy" in lines


@pytest.fixture
def copied(built: tuple[Path, BuildResult], tmp_path: Path) -> tuple[Path, BuildResult]:
    """A copy of the finished store, to be damaged."""
    store = tmp_path / "copy"
    shutil.copytree(built[0], store)
    return store, replace(built[1], folder=store / "versions" / built[1].version)


def test_a_lost_frame_is_made_again_and_nothing_else(copied: tuple[Path, BuildResult], tiny_logs: Path) -> None:
    store, first = copied
    shutil.rmtree(first.folder)
    frames = next((store / "frames").glob("*/tiny0"))
    (frames / "f0003.zarr.zip").unlink()
    (frames / ".tmp-killed").mkdir()
    again = run(tiny_logs, store)
    assert (again.frames_made, again.frames_kept, again.version) == (1, 32, first.version)
    assert not list(store.rglob(".tmp-*"))


def test_a_finished_version_is_found_without_any_frame(copied: tuple[Path, BuildResult], tiny_logs: Path) -> None:
    store, first = copied
    shutil.rmtree(store / "frames")
    (store / "LATEST").unlink()
    again = run(tiny_logs, store)
    assert (again.was_finished, again.frames_made, again.version) == (True, 0, first.version)
    assert open_dataset(store).version == first.version


def test_damaged_frames_are_made_again_where_they_are_used(copied: tuple[Path, BuildResult], tiny_logs: Path) -> None:
    store, first = copied
    shutil.rmtree(first.folder)
    path = next((store / "frames").glob("*/tiny1/f0004.zarr.zip"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    again = run(tiny_logs, store)
    assert (again.frames_made, again.frames_healed, again.version) == (0, 1, first.version)


@pytest.mark.parametrize("lost", ["shards/test-evaluation-00000.tar", "clips.parquet", "provenance.json"])
def test_a_damaged_version_is_repaired(copied: tuple[Path, BuildResult], tiny_logs: Path, lost: str) -> None:
    store, first = copied
    other = next(first.folder.glob("shards/train-*.tar"))
    inode = other.stat().st_ino
    (first.folder / lost).unlink()
    again = run(tiny_logs, store)
    assert (again.version, again.was_finished) == (first.version, False)
    assert list(verify_version(first.folder)) == []
    if lost.startswith("shards"):
        assert other.stat().st_ino == inode


def test_resume_takes_the_request_of_the_killed_build(
    built: tuple[Path, BuildResult],
    tiny_logs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.build.run.commit", die)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_logs, tmp_path / "store")
    assert main(["resume", str(tmp_path / "store"), "--workers", "0"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == built[1].version
    assert "frames: 0 made, 33 already stored" in captured.err
    assert main(["resume", str(tmp_path / "store")]) == 1
    assert "no unfinished build" in " ".join(capsys.readouterr().err.split())


def test_another_config_never_reads_frames_of_the_first(tiny_logs: Path, tmp_path: Path) -> None:
    first = run(tiny_logs, tmp_path)
    second = run(tiny_logs, tmp_path, camera=("left_camera", "front_camera"))
    assert second.frames_kept == 0
    assert second.version != first.version
    assert len(open_dataset(tmp_path, second.version).read("tiny1-evaluation-s000").views) == 32


def test_changed_raw_bytes_make_the_log_again(tiny_logs: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(tiny_logs, logs)
    first = run(logs, tmp_path / "store")
    path = logs / "tiny0" / "lidar" / "poses.json"
    poses = json.loads(path.read_text())
    poses[5]["position"]["x"] += 0.5
    path.write_text(json.dumps(poses))
    second = run(logs, tmp_path / "store")
    assert second.frames_made == 17
    assert second.frames_kept == 16
    assert second.version != first.version


def test_a_bad_log_is_named_and_the_others_are_built(
    tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(tiny_logs, logs)
    broken = logs / "tiny0" / "lidar" / "04.pkl.gz"
    broken.write_bytes(broken.read_bytes()[:-2000])
    arguments = ["build", "--root", str(logs), "--out", str(tmp_path / "s"), "--workers", "0"]
    arguments += ["--protocol.test-logs", "tiny1"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == open_dataset(tmp_path / "s").version
    assert "log tiny0, frame 4" in captured.err.replace("\n", " ")
    assert {record.log_id for record in open_dataset(tmp_path / "s").records} == {"tiny1"}


def test_clips_touching_a_missing_frame_are_left_out_and_counted(tiny_logs: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(tiny_logs, logs)
    os.unlink(logs / "tiny0" / "lidar" / "02.pkl.gz")
    result = run(logs, tmp_path / "store")
    assert result.manifest.counts == {"test/evaluation": 1, "train/train_interpolation": 1}
    assert set(result.manifest.left_out) == {"tiny0-train_interpolation-s000", "tiny0-train_future-s000"}
    assert all("frame 2 of log tiny0" in reason for reason in result.manifest.left_out.values())


def test_two_builds_into_one_store_are_refused(tiny_logs: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / "build.lock"), pytest.raises(RuntimeError, match="another build is writing"):
        run(tiny_logs, tmp_path)


def test_what_cannot_be_built_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").mkdir()
    assert main(["build", "--root", str(tmp_path / "logs"), "--out", str(tmp_path / "s"), "--workers", "0"]) == 1
    assert "flux4d-build: " in capsys.readouterr().err
    assert main(["show", str(tmp_path / "s")]) == 1


def test_damage_ends_in_a_message_not_in_a_traceback(
    built: tuple[Path, BuildResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(built[0], store)
    shard = next(store.glob("versions/*/shards/test-*.tar"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(bytes(data))
    assert main(["verify", str(store)]) == 1
    assert "broken clips: tiny1-evaluation-s000" in capsys.readouterr().out
    manifest = next(store.glob("versions/*/manifest.json"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"front_camera"', b'"right_camera"'))
    assert main(["verify", str(store)]) == 1
    assert "hashes to" in capsys.readouterr().out


def test_a_log_whose_frames_hold_no_object_has_boxes_but_none_in_them(tiny_logs: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(tiny_logs / "tiny1", logs / "tiny1")
    for path in (logs / "tiny1" / "annotations" / "cuboids").iterdir():
        pd.read_pickle(path).head(0).to_pickle(path)
    run(logs, tmp_path / "store")
    clip = open_dataset(tmp_path / "store").read("tiny1-evaluation-s000")
    assert clip.boxes is not None
    assert clip.boxes.box2ego0.shape == (0, 4, 4)
    assert all(view.moving_mask is not None and not view.moving_mask.any() for view in clip.views)
    assert (clip.points.flow_class == FlowClass.BACKGROUND_STATIC).all()
