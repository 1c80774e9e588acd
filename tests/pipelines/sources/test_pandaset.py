"""The PandaSet reader: equal to plain pandas and json on real data, a clear error on every kind of bad input."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from pipelines.sources.base import LogError, LogReader
from pipelines.sources.pandaset.layout import CAMERAS
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.sources.pandaset.source import SOURCE
from tests.support.logs.fake_log import EPOCH, edit_table, write_json, write_log, write_table
from tests.support.logs.real_slice import real_log

FRAMES = 3


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("logs") / "007", frames=FRAMES)


@pytest.fixture
def log(pristine: Path, tmp_path: Path) -> Path:
    """A fake log that the test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "007"))


def read_all(path: Path) -> None:
    """Everything the reader can read."""
    reader = PandaSetLog(path)
    for frame in range(reader.num_frames):
        reader.sweep(frame)
        reader.cuboids(frame)
        reader.semantics(frame)
        for name in reader.cameras:
            reader.image_size(reader.camera(name, frame))


# The real slice.


def plain_pose(pose: dict) -> np.ndarray:
    """By scipy, which wants xyzw: another road than the reader's."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([pose["heading"][axis] for axis in "xyzw"]).as_matrix()
    matrix[:3, 3] = [pose["position"][axis] for axis in "xyz"]
    return matrix


def compare_frame(reader: PandaSetLog, root: Path, frame: int) -> None:
    epoch = json.loads((root / "lidar/timestamps.json").read_text())[0]
    table = pd.read_pickle(root / f"lidar/{frame:02d}.pkl.gz")
    sweep = reader.sweep(frame)
    np.testing.assert_array_equal(sweep.points, table[["x", "y", "z"]].to_numpy())
    np.testing.assert_array_equal(sweep.intensity, table["i"])
    np.testing.assert_array_equal(sweep.times, table["t"] - epoch)
    np.testing.assert_array_equal(sweep.sensor, table["d"])
    assert (sweep.points.dtype, sweep.times.dtype, sweep.sensor.dtype) == (np.float64, np.float64, np.uint8)

    table = pd.read_pickle(root / f"annotations/cuboids/{frame:02d}.pkl.gz")
    boxes = reader.cuboids(frame)
    assert boxes is not None
    assert (list(boxes.track), list(boxes.label)) == (list(table["uuid"]), list(table["label"]))
    np.testing.assert_array_equal(boxes.position, table[["position.x", "position.y", "position.z"]])
    np.testing.assert_array_equal(boxes.size, table[["dimensions.x", "dimensions.y", "dimensions.z"]])
    for name, column in {"yaw": "yaw", "stationary": "stationary", "sensor": "cuboids.sensor_id"}.items():
        np.testing.assert_array_equal(getattr(boxes, name), table[column])

    labels = pd.read_pickle(root / f"annotations/semseg/{frame:02d}.pkl.gz")["class"]
    np.testing.assert_array_equal(reader.semantics(frame), labels)


def test_real_log_declares_what_is_there() -> None:
    root = real_log()
    reader: LogReader = PandaSetLog(root)
    assert (reader.log_id, reader.num_frames, reader.cameras) == ("002", 36, CAMERAS)
    assert reader.epoch == json.loads((root / "lidar/timestamps.json").read_text())[0]
    assert reader.missing_frames() == {}
    files = reader.input_files()
    assert list(files) == sorted(set(files))
    assert len(files) == 2 + 3 * 36 + 1 + 6 * (3 + 36)
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize("frame", [0, 12, 35])
def test_real_frames_equal_plain_pandas(frame: int) -> None:
    compare_frame(PandaSetLog(real_log()), real_log(), frame)


@pytest.mark.slow
def test_all_real_frames_equal_plain_pandas() -> None:
    reader = PandaSetLog(real_log())
    for frame in range(reader.num_frames):
        compare_frame(reader, real_log(), frame)


def test_real_poses_and_cameras_equal_plain_json() -> None:
    root, reader = real_log(), PandaSetLog(real_log())
    stamps = json.loads((root / "lidar/timestamps.json").read_text())
    poses = json.loads((root / "lidar/poses.json").read_text())
    for frame in range(36):
        assert reader.frame_time(frame) == stamps[frame] - stamps[0]
    np.testing.assert_allclose(reader.ego2world(5), plain_pose(poses[5]), rtol=0, atol=1e-12)
    for name in reader.cameras:
        folder = root / "camera" / name
        times, poses, k = (
            json.loads((folder / f"{n}.json").read_text()) for n in ("timestamps", "poses", "intrinsics")
        )
        for frame in range(36):
            image = reader.camera(name, frame)
            assert image.time == times[frame] - stamps[0]
            np.testing.assert_allclose(image.cam2world, plain_pose(poses[frame]), rtol=0, atol=1e-12)
            assert image.K.tolist() == [[k["fx"], 0, k["cx"]], [0, k["fy"], k["cy"]], [0, 0, 1]]
            assert image.path == folder / f"{frame:02d}.jpg"
            assert reader.image_size(image) == (1920, 1080)


def test_real_gps_equals_plain_json_and_the_ego_motion() -> None:
    reader, entries = PandaSetLog(real_log()), json.loads((real_log() / "meta/gps.json").read_text())
    gps = reader.gps()
    assert gps is not None
    assert gps.dtype == np.float64
    np.testing.assert_array_equal(gps, [[entry["lat"], entry["long"]] for entry in entries])
    assert real_log() / "meta/gps.json" in reader.input_files()
    # One degree of latitude is 111 km: the way driven is that of the ego poses.
    metres = np.diff(gps[[0, -1]], axis=0)[0] * 111.2e3 * np.array([1, np.cos(np.radians(gps[0, 0]))])
    driven = reader.ego2world(35)[:2, 3] - reader.ego2world(0)[:2, 3]
    assert np.linalg.norm(metres) == pytest.approx(np.linalg.norm(driven), rel=0.02)


def test_official_devkit_reads_the_same() -> None:
    pandaset = pytest.importorskip("pandaset", reason="the devkit is not installed (pip install .[devkit])")
    root, reader = real_log(), PandaSetLog(real_log())
    sequence = pandaset.DataSet(str(root.parent))[root.name]
    sequence.load_lidar()
    sequence.load_cuboids()
    sequence.lidar.set_sensor(-1)
    for frame in (0, 17, 35):
        np.testing.assert_array_equal(reader.sweep(frame).points, sequence.lidar.data[frame][["x", "y", "z"]])
        assert list(reader.cuboids(frame).track) == list(sequence.cuboids.data[frame]["uuid"])


# Good logs of other forms.


def test_fake_log(log: Path) -> None:
    read_all(log)
    reader = PandaSetLog(log)
    assert (reader.log_id, reader.num_frames, reader.epoch) == ("007", FRAMES, EPOCH)
    assert reader.cameras == ("front_camera", "back_camera")
    sweep = reader.sweep(2)
    assert sweep.time == pytest.approx(0.2)
    assert sweep.times.max() <= sweep.time
    assert sweep.times.min() >= sweep.time - 0.1
    assert reader.camera("front_camera", 2).time == pytest.approx(0.15)
    assert reader.image_size(reader.camera("front_camera", 2)) == (16, 12)
    assert reader.camera("front_camera", 2).image()[:2] == b"\xff\xd8"


def test_a_log_survives_pickling_and_hands_out_copies(log: Path) -> None:
    reader = pickle.loads(pickle.dumps(PandaSetLog(log)))
    reader.ego2world(1)[:] = 0
    reader.camera("front_camera", 1).K[:] = 0
    fresh = PandaSetLog(log)
    np.testing.assert_array_equal(reader.ego2world(1), fresh.ego2world(1))
    np.testing.assert_array_equal(reader.camera("front_camera", 1).K, fresh.camera("front_camera", 1).K)
    np.testing.assert_array_equal(reader.sweep(1).points, fresh.sweep(1).points)


def test_opening_reads_only_json(log: Path) -> None:
    for path in [*log.rglob("*.pkl.gz"), *log.rglob("*.jpg")]:
        path.write_bytes(b"never read")
    assert PandaSetLog(log).missing_frames() == {}


def test_pickles_without_gzip_are_read(log: Path) -> None:
    expected = PandaSetLog(log)
    sweeps, boxes = [expected.sweep(frame) for frame in range(FRAMES)], expected.cuboids(0)
    for path in log.rglob("*.pkl.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    reader = PandaSetLog(log)
    assert reader.missing_frames() == {}
    for frame, sweep in enumerate(sweeps):
        np.testing.assert_array_equal(reader.sweep(frame).points, sweep.points)
    assert reader.cuboids(0).track == boxes.track


def test_gzip_is_preferred_over_plain(log: Path) -> None:
    (log / "lidar/01.pkl").write_bytes(b"broken")
    reader = PandaSetLog(log)
    reader.sweep(1)
    assert log / "lidar/01.pkl" not in reader.input_files()


def test_without_annotations_there_are_none(log: Path) -> None:
    shutil.rmtree(log / "annotations")
    reader = PandaSetLog(log)
    assert reader.cuboids(0) is None
    assert reader.semantics(0) is None
    assert reader.missing_frames() == {}


def test_gps(log: Path) -> None:
    reader = PandaSetLog(log)
    gps = reader.gps()
    assert gps is not None
    np.testing.assert_array_equal(gps, [[37.7 + 1e-6 * frame, -122.4] for frame in range(FRAMES)])
    gps[:] = 0
    assert reader.gps()[0, 1] == -122.4
    assert log / "meta/gps.json" in reader.input_files()
    for lost in (log / "meta/gps.json", log / "meta"):
        lost.rmdir() if lost.is_dir() else lost.unlink()
        assert PandaSetLog(log).gps() is None
        assert PandaSetLog(log).input_files() == tuple(f for f in reader.input_files() if f.name != "gps.json")


def test_a_frame_without_objects_has_no_boxes(log: Path) -> None:
    edit_table(log / "annotations/cuboids/01.pkl.gz", lambda table: table[:0].astype(object))
    boxes = PandaSetLog(log).cuboids(1)
    assert (boxes.track, boxes.size.shape, boxes.yaw.shape) == ((), (0, 3), (0,))


def test_symlinked_log_and_files(log: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/042").symlink_to(log)
    (log / "lidar/01.pkl.gz").rename(tmp_path / "elsewhere")
    (log / "lidar/01.pkl.gz").symlink_to(tmp_path / "elsewhere")
    (log / "camera/front_camera/02.jpg").unlink()
    (log / "camera/front_camera/02.jpg").symlink_to(tmp_path / "nowhere")
    (log / "lidar/02.pkl.gz").unlink()
    (log / "lidar/02.pkl.gz").symlink_to("02.pkl.gz")
    reader = PandaSetLog(tmp_path / "logs/042")
    assert reader.log_id == "042"
    assert len(reader.sweep(1).points) == 200
    assert reader.missing_frames() == {2: "lidar/02.pkl.gz, camera/front_camera/02.jpg not there"}


def test_files_go_by_the_number_in_their_name(log: Path) -> None:
    """A missing sweep shifts nothing: the defect of pairing lists by position."""
    whole = PandaSetLog(log)
    (log / "lidar/01.pkl.gz").unlink()
    (log / "annotations/cuboids/00.pkl.gz").unlink()
    (log / "camera/back_camera/00.jpg").unlink()
    (log / "lidar/٠٢.pkl.gz").write_bytes(b"digits of another script name no frame")
    (log / "lidar/._02.pkl.gz").write_bytes(b"neither do side files")
    (log / "lidar/02.pkl.gz").rename(log / "lidar/2.pkl.gz")
    reader = PandaSetLog(log)
    assert reader.missing_frames() == {
        0: "annotations/cuboids/00.pkl.gz, camera/back_camera/00.jpg not there",
        1: "lidar/01.pkl.gz not there",
    }
    sweep = reader.sweep(2)
    assert (sweep.frame, sweep.time) == (2, whole.frame_time(2))
    assert abs(sweep.times - sweep.time).max() < 0.11
    np.testing.assert_array_equal(reader.camera("back_camera", 2).cam2world, whole.camera("back_camera", 2).cam2world)
    with pytest.raises(LogError, match=r"log 007, frame 1, .*lidar/01\.pkl\.gz: the file is missing"):
        reader.sweep(1)


# Bad input: (file to damage, damage, reason, frame or None).


def put(column: str, value: object, row: int = 1) -> Callable[[Path], None]:
    """Write a value into one cell."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        values = list(table[column])
        values[row] = value
        return table.assign(**{column: values})

    return lambda path: edit_table(path, change)


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda path: edit_table(path, change)


def edit_json(change: Callable[[list | dict], object]) -> Callable[[Path], None]:
    return lambda path: write_json(path, change(json.loads(path.read_text())))


def at(frame: int, part: str, axis: str, value: object) -> Callable[[Path], None]:
    def change(poses: list) -> list:
        poses[frame][part][axis] = value
        return poses

    return edit_json(change)


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch marker",)


def foreign(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(Evil())))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


SWEEP, BOXES, LABELS = "lidar/01.pkl.gz", "annotations/cuboids/01.pkl.gz", "annotations/semseg/01.pkl.gz"
STAMPS, POSES, FRONT, GPS = "lidar/timestamps.json", "lidar/poses.json", "camera/front_camera", "meta/gps.json"
BAD: list[tuple[str, Callable[[Path], object], str, int | None]] = [
    *[(file, cut, "truncated", 1) for file in (SWEEP, BOXES, LABELS)],
    *[(file, empty, "empty", 1) for file in (SWEEP, BOXES, LABELS)],
    *[(file, foreign, r"asks for posix\.system", 1) for file in (SWEEP, BOXES, LABELS)],
    *[(file, lambda path: path.write_bytes(b"\0" * 99), "intact pickle|opcode", 1) for file in (SWEEP, BOXES, LABELS)],
    *[(SWEEP, put(column, np.nan), f"'{column}' is not finite in 1 rows, first 1", 1) for column in "xyzit"],
    *[(SWEEP, put(column, np.inf), f"'{column}' is not finite", 1) for column in "xyzit"],
    *[
        (SWEEP, table(lambda t, c=column: t.drop(columns=c)), f"0 columns are named '{column}'", 1)
        for column in "xyzitd"
    ],
    *[(SWEEP, table(lambda t, c=column: t.astype({c: object})), "dtype object, expected", 1) for column in "xyzitd"],
    (SWEEP, table(lambda t: pd.concat([t, t["x"]], axis=1)), "2 columns are named 'x'", 1),
    (SWEEP, table(lambda t: t.astype({"d": float})), "'d' has dtype float64, expected integers", 1),
    (SWEEP, table(lambda t: t.astype({"x": bool})), "'x' has dtype bool, expected numbers", 1),
    (SWEEP, table(lambda t: t.astype({"t": np.float32})), "epoch seconds only fit float64", 1),
    (SWEEP, table(lambda t: t.assign(t=t["t"] * 1000)), "s from the sweep's stamp", 1),
    (SWEEP, table(lambda t: t.assign(t=t["t"] - EPOCH)), "s from the sweep's stamp", 1),
    (SWEEP, put("d", 2), r"'d' spans \[0, 2\]", 1),
    (SWEEP, put("d", -1), r"'d' spans \[-1, 1\]", 1),
    (SWEEP, put("i", 256.0), "'i' spans", 1),
    (SWEEP, put("i", -1.0), "'i' spans", 1),
    (SWEEP, table(lambda t: t[:0]), "no points", 1),
    (SWEEP, lambda path: write_table(path, pd.DataFrame({"a": [1]})), "columns are named", 1),
    (LABELS, table(lambda t: t[:-1]), "labels 199 points, the sweep has 200", 1),
    (LABELS, put("class", 256), "'class' spans", 1),
    (LABELS, table(lambda t: t.rename(columns={"class": "id"})), "named 'class'", 1),
    *[(BOXES, put(f"dimensions.{axis}", 0.0), "expected more than 0 m", 1) for axis in "xyz"],
    (BOXES, put("dimensions.x", -2.0), "track-1 has size", 1),
    (BOXES, put("dimensions.x", np.nan), "is not finite", 1),
    (BOXES, put("position.y", np.inf), "is not finite", 1),
    (BOXES, put("yaw", np.nan), "is not finite", 1),
    (BOXES, put("uuid", "track-0"), "track track-0 stands more than once", 1),
    (BOXES, table(lambda t: t.astype(object).where(t != "track-2", None)), "'uuid' holds None, expected text", 1),
    (BOXES, put("label", np.nan), "'label' holds nan, expected text", 1),
    (BOXES, put("uuid", ""), "'uuid' holds '', expected text", 1),
    (BOXES, table(lambda t: t.assign(label=1)), "'label' has dtype int64, expected text", 1),
    (BOXES, table(lambda t: t.assign(stationary=1)), "'stationary' has dtype int64, expected booleans", 1),
    (BOXES, put("cuboids.sensor_id", 2), "'cuboids.sensor_id' spans", 1),
    (BOXES, table(lambda t: t.drop(columns="cuboids.sensor_id")), "0 columns are named", 1),
    *[
        (file, damage, reason, None)
        for file in (STAMPS, POSES, GPS, f"{FRONT}/timestamps.json", f"{FRONT}/poses.json", f"{FRONT}/intrinsics.json")
        for damage, reason in (
            (cut, "is not valid JSON"),
            (empty, "is not valid JSON"),
            (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not valid JSON"),
            (lambda path: path.write_text("[" * 100_000), "is not valid JSON"),
            (lambda path: path.write_text('"text"'), "holds a str"),
            (Path.unlink, "the file is missing"),
            (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        )
        if not (file == GPS and damage is Path.unlink)
    ],
    *[
        (GPS, edit_json(change), reason, 1)
        for change, reason in (
            (lambda v: [v[0], {**v[1], "lat": float("nan")}, v[2]], "lat is not finite"),
            (lambda v: [v[0], {**v[1], "long": float("-inf")}, v[2]], "long is not finite"),
            (lambda v: [v[0], {**v[1], "lat": -90.5}, v[2]], r"lat is -90\.5 degrees, expected -90 to 90"),
            (lambda v: [v[0], {**v[1], "long": 181}, v[2]], "long is 181 degrees, expected -180 to 180"),
            (lambda v: [v[0], {**v[1], "lat": "37.7"}, v[2]], "lat is a str"),
            (lambda v: [v[0], {"lat": 37.7}, v[2]], "long is missing"),
            (lambda v: [v[0], [37.7, -122.4], v[2]], "lat is missing"),
        )
    ],
    *[
        (file, edit_json(lambda values: values[:-1]), "lists 2 frames, lidar/timestamps.json lists 3", None)
        for file in (POSES, GPS, f"{FRONT}/timestamps.json", f"{FRONT}/poses.json")
    ],
    *[
        (file, edit_json(lambda values: values + values[-1:]), "lists 4 frames, lidar/timestamps.json lists 3", None)
        for file in (POSES, GPS, f"{FRONT}/timestamps.json", f"{FRONT}/poses.json")
    ],
    *[
        (file, edit_json(change), reason, frame)
        for file in (STAMPS, f"{FRONT}/timestamps.json")
        for change, reason, frame in (
            (lambda v: [], "lists no frames", None),
            (lambda v: [v[0], v[2], v[1]], "stamps must increase", 2),
            (lambda v: [v[0], v[0], v[2]], "stamps must increase", 1),
            (lambda v: [v[0], float("nan"), v[2]], "not finite", 1),
            (lambda v: [v[0], str(v[1]), v[2]], "is a str", 1),
            (lambda v: [v[0], None, v[2]], "is missing", 1),
            (lambda v: [v[0], True, v[2]], "is a bool", 1),
            (lambda v: [v[0], v[1], 10**400], "not finite", 2),
        )
    ],
    (f"{FRONT}/timestamps.json", edit_json(lambda v: [1000 * t for t in v]), "s from the sweep's stamp", 0),
    *[
        (file, damage, reason, 1)
        for file in (POSES, f"{FRONT}/poses.json")
        for damage, reason in (
            (at(1, "position", "x", float("nan")), "position.x is not finite"),
            (at(1, "heading", "w", float("inf")), "heading.w is not finite"),
            (at(1, "heading", "w", 3.0), "heading is no rotation"),
            (
                edit_json(lambda v: [v[0], {**v[1], "heading": dict.fromkeys("wxyz", 0)}, v[2]]),
                "heading is no rotation",
            ),
            (edit_json(lambda v: [v[0], {"position": v[1]["position"]}, v[2]]), "heading.w is missing"),
            (edit_json(lambda v: [v[0], [1, 2, 3], v[2]]), "position.x is missing"),
        )
    ],
    (f"{FRONT}/intrinsics.json", edit_json(lambda k: {**k, "fx": 0}), "must be positive", None),
    (f"{FRONT}/intrinsics.json", edit_json(lambda k: {**k, "cy": -1.0}), "must be positive", None),
    (f"{FRONT}/intrinsics.json", edit_json(lambda k: {**k, "fy": float("nan")}), "fy is not finite", None),
    (f"{FRONT}/intrinsics.json", edit_json(lambda k: {"fx": 1.0}), "fy is missing", None),
    (f"{FRONT}/01.jpg", empty, "not an intact JPEG", 1),
    (f"{FRONT}/01.jpg", cut, "not an intact JPEG|truncated", 1),
    (f"{FRONT}/01.jpg", lambda path: path.write_bytes(path.read_bytes()[:-2]), "truncated", 1),
    (f"{FRONT}/01.jpg", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "not an intact JPEG", 1),
    (f"{FRONT}/01.jpg", Path.unlink, "missing", 1),
    *[(file, Path.unlink, "missing", 1) for file in (SWEEP, BOXES, LABELS)],
    *[(file, lambda path: (path.unlink(), path.mkdir()), "not a regular file", 1) for file in (SWEEP, BOXES, LABELS)],
    ("lidar/03.pkl.gz", lambda path: path.write_bytes(b"x"), "lists only 3 frames", 3),
    ("lidar/1.pkl.gz", lambda path: path.write_bytes(b"x"), "is of the same frame", 1),
    (f"{FRONT}/3.jpg", lambda path: path.write_bytes(b"x"), "lists only 3 frames", 3),
]


@pytest.mark.parametrize(("file", "damage", "reason", "frame"), BAD, ids=[f"{n}-{b[2]}" for n, b in enumerate(BAD)])
def test_bad_input_names_log_frame_file_and_reason(
    file: str,
    damage: Callable[[Path], object],
    reason: str,
    frame: int | None,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(log)
    damage(log / file)
    with pytest.raises(LogError, match=reason) as caught:
        read_all(log)
    error = caught.value
    assert (error.log_id, error.frame) == ("007", frame)
    assert Path(error.file).parent == (log / file).parent
    assert Path(error.file).name.lstrip("0") == Path(file).name.lstrip("0")
    assert str(error.file) in str(error)
    assert "log 007" in str(error)
    assert not (log / "marker").exists()
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)


def test_bomb_ends_in_an_error(log: Path) -> None:
    chunk = gzip.compress(b"\0" * (1 << 24), compresslevel=9)
    (log / SWEEP).write_bytes(chunk * 40)
    with pytest.raises(LogError, match=r"frame 1, .*01\.pkl\.gz: it unpacks to more than"):
        PandaSetLog(log).sweep(1)


def test_file_that_vanishes_after_opening(log: Path) -> None:
    reader = PandaSetLog(log)
    (log / SWEEP).unlink()
    image = reader.camera("front_camera", 1)
    image.path.unlink()
    with pytest.raises(LogError, match=r"frame 1, .*01\.pkl\.gz: cannot be read"):
        reader.sweep(1)
    with pytest.raises(LogError, match=r"frame 1, .*01\.jpg: cannot be read"):
        reader.image_size(image)


@pytest.mark.parametrize("frame", [-1, FRAMES])
@pytest.mark.parametrize("call", ["sweep", "frame_time", "cuboids", "semantics"])
def test_frames_outside_the_log(call: str, frame: int, pristine: Path) -> None:
    with pytest.raises(LogError, match="the log has frames 0 to 2"):
        getattr(PandaSetLog(pristine), call)(frame)


def test_unknown_camera(pristine: Path) -> None:
    with pytest.raises(LogError, match="no camera 'top', the log has front_camera, back_camera"):
        PandaSetLog(pristine).camera("top", 0)


@pytest.mark.parametrize("name", ["0.2", "lög", "a b"])
def test_log_names_that_cannot_be_ids(name: str, log: Path) -> None:
    renamed = log.rename(log.parent / name)
    with pytest.raises(LogError, match="rename it"):
        PandaSetLog(renamed)


def test_no_such_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        PandaSetLog(tmp_path / "009")


# Finding the logs.


def test_logs_are_found(log: Path, tmp_path: Path) -> None:
    for name in ("001", "012"):
        (tmp_path / name / "lidar").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.md").write_text("no log")
    assert [path.name for path in SOURCE.logs(tmp_path)] == ["001", "007", "012"]
    assert SOURCE.logs(tmp_path, ["012", "001", "012"]) == (tmp_path / "001", tmp_path / "012")


def test_where_no_logs_are_found_it_is_said_why(log: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root, only, reason in (
        (tmp_path / "nowhere", None, "not a folder"),
        (tmp_path / "empty", None, "holds no logs"),
        (log, None, "is itself a log"),
        (tmp_path, ["008"], "no log '008'; it has 1, such as 007"),
        (tmp_path, [], "is empty"),
    ):
        with pytest.raises(ValueError, match=reason):
            SOURCE.logs(root, only)
