"""The generated log: real layout, exact motion, true visibility, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.store_tools.leakage.find import LogTrack, find_leakage
from pipelines.store_tools.leakage.nearest_approach import nearest_approach
from pipelines.synth import generate, generate_log
from pipelines.synth import generate as generate_call
from pipelines.synth.config import RIG, ForwardSpec, SpinningSpec, SynthConfig, pandar64_elevations, preset
from pipelines.synth.generate import camera2street
from pipelines.synth.kernel_cache import drop_stale_kernels
from pipelines.synth.sensors.camera import render
from pipelines.synth.sensors.lidar import Beams, cast_beams, forward_beams, scan, spinning_beams
from pipelines.synth.street.world import World, build_world
from pipelines.synth.surfaces import rays
from pipelines.synth.writer import gps_entry, gps_origin
from tests.support.logs.real_slice import matrix, real_log

BEAMS = tuple(pandar64_elevations()[::4])
TINY = SynthConfig(160, 90, SpinningSpec(BEAMS, 300), ForwardSpec(50, 24))
FRAMES = 3
SEED = 2  # a street where a turning car is seen at once


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_log(tmp_path_factory.mktemp("synth") / "synth000", 0, FRAMES, SEED, TINY, workers=2)


@pytest.fixture(scope="session")
def world() -> World:
    return build_world(SEED, 0, FRAMES * 0.1)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def read_json(path: Path) -> list | dict:
    return json.loads(path.read_text())


def hermite(truth: dict, time: np.ndarray, actor: np.ndarray) -> np.ndarray:
    """[P, 4] pose of each point's object, evaluated from the file with the textbook basis."""
    step = float(truth["step"])
    knot = np.clip(((time - truth["start"]) / step).astype(int), 0, len(truth["value"]) - 2)
    u = ((time - truth["start"]) / step - knot)[:, None]
    a, b = truth["value"][knot, actor], truth["value"][knot + 1, actor]
    m, n = truth["slope"][knot, actor] * step, truth["slope"][knot + 1, actor] * step
    h00, h10, h01, h11 = 2 * u**3 - 3 * u**2 + 1, u**3 - 2 * u**2 + u, -2 * u**3 + 3 * u**2, u**3 - u**2
    return h00 * a + h10 * m + h01 * b + h11 * n


def turned(yaw: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    x, y = np.cos(yaw) * xyz[:, 0] - np.sin(yaw) * xyz[:, 1], np.sin(yaw) * xyz[:, 0] + np.cos(yaw) * xyz[:, 1]
    return np.stack([x, y, xyz[:, 2]], axis=-1)


def sweep_of(log: Path, frame: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    truth = np.load(log / f"ground_truth/{frame:02d}.npz")
    return pd.read_pickle(log / f"lidar/{frame:02d}.pkl.gz"), truth["velocity"], truth["object"]


# --- layout ---------------------------------------------------------------------------------------------------


def same_table(mine: pd.DataFrame, real: pd.DataFrame) -> None:
    assert list(mine.columns) == list(real.columns)
    assert mine.columns.dtype == real.columns.dtype
    assert dict(mine.dtypes) == dict(real.dtypes)
    assert type(mine.index) is type(real.index)
    assert mine.index.name == real.index.name


@pytest.mark.parametrize("name", ["lidar/00", "annotations/cuboids/00", "annotations/semseg/00"])
def test_tables_have_the_real_columns_and_dtypes(log: Path, name: str) -> None:
    same_table(pd.read_pickle(log / f"{name}.pkl.gz"), pd.read_pickle(real_log() / f"{name}.pkl.gz"))


def test_cuboid_values_are_of_the_real_kinds(log: Path) -> None:
    mine = pd.read_pickle(log / "annotations/cuboids/00.pkl.gz")
    real = pd.read_pickle(real_log() / "annotations/cuboids/00.pkl.gz")
    for column in real.select_dtypes(object).columns:
        assert {type(v) for v in mine[column]} <= {str, float}, column
    for column in ("attributes.object_motion", "attributes.pedestrian_behavior", "attributes.pedestrian_age"):
        assert set(mine[column].dropna()) <= {"Parked", "Stopped", "Moving", "Walking", "Standing", "Adult"}
    assert set(mine["cuboids.sensor_id"]) == {-1, 0, 1}


def shape_of(value: object) -> object:
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    return type(value).__name__


def test_json_files_have_the_real_keys(log: Path) -> None:
    real = real_log()
    names = [p.relative_to(real) for p in real.rglob("*.json")]
    assert len(names) == 23
    for name in names:
        mine, theirs = read_json(log / name), read_json(real / name)
        if name.name == "classes.json":
            assert mine == theirs
        elif isinstance(theirs, list):
            assert len(mine) == FRAMES
            assert shape_of(mine[0]) == shape_of(theirs[0]), name
        else:
            assert shape_of(mine) == shape_of(theirs), name


def test_every_real_file_kind_is_there_and_no_other(log: Path) -> None:
    real = real_log()
    wanted = {str(p.relative_to(real)) for p in real.rglob("*") if p.is_file() and p.name[:2] < f"{FRAMES:02d}"}
    wanted |= {str(p.relative_to(real)) for p in real.rglob("*.json")}
    mine = {name for name in digest(log) if not name.startswith("ground_truth")}
    assert mine == wanted


def test_the_product_reader_reads_it(log: Path) -> None:
    reader = PandaSetLog(log)
    assert (reader.num_frames, reader.missing_frames(), len(reader.cameras)) == (FRAMES, {}, 6)
    sweep, boxes = reader.sweep(1), reader.cuboids(1)
    assert boxes is not None
    assert len(sweep.points) == len(sweep_of(log, 1)[2])
    assert len(reader.semantics(1)) == len(sweep.points)
    assert reader.image_size(reader.camera("front_camera", 1)) == (160, 90)


# --- the same bytes -------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_whatever_the_workers(log: Path, tmp_path: Path) -> None:
    again = generate_log(tmp_path / "synth000", 0, FRAMES, SEED, TINY, workers=1)
    assert digest(again) == digest(log)


def test_other_seed_or_log_is_another_street(log: Path, tmp_path: Path) -> None:
    name = "lidar/00.pkl.gz"
    for number, (seed, index) in enumerate([(SEED + 1, 0), (SEED, 1)]):
        other = generate_log(tmp_path / f"synth{number:03d}", index, 1, seed, TINY)
        assert digest(other)[name] != digest(log)[name]


def test_existing_log_is_refused_and_untouched(log: Path) -> None:
    before = digest(log)
    with pytest.raises(ValueError, match="synth000 exists; delete it or choose another"):
        generate_log(log, 0, FRAMES, SEED, TINY)
    with pytest.raises(ValueError, match="synth000 exists"):
        generate(log.parent, logs=1, seconds=0.3, seed=3)
    assert digest(log) == before


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pipelines.synth.writer.write_json", broken)
    with pytest.raises(OSError, match="disk full"):
        generate_log(tmp_path / "synth000", 0, 1, 3, TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("logs", "seconds"), [(0, 1.0), (1, 0.0)])
def test_nothing_to_write_is_refused(tmp_path: Path, logs: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="use logs >= 1"):
        generate_call(tmp_path, logs=logs, seconds=seconds, seed=0)


def test_unknown_preset_and_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="'small' or 'large'"):
        preset("medium")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not 16:9"):
        SynthConfig(100, 100, TINY.spinning, TINY.forward)


# --- time and pose conventions --------------------------------------------------------------------------------


def test_stamps_follow_the_real_offsets(log: Path) -> None:
    sweeps = np.array(read_json(log / "lidar/timestamps.json"))
    assert np.allclose(np.diff(sweeps), 0.1, atol=1e-4)
    for camera in RIG:
        stamps = np.array(read_json(log / f"camera/{camera.name}/timestamps.json"))
        assert np.allclose(stamps - sweeps, camera.offset, atol=1e-4)
    table, _, _ = sweep_of(log, 1)
    late = table.t.to_numpy() - sweeps[1]
    assert late.min() >= -0.1
    assert late.max() <= 0.0


def test_front_is_scanned_at_the_front_cameras_time_and_the_seam_is_behind(log: Path) -> None:
    table, _, _ = sweep_of(log, 1)
    table = table[table.d == 0]
    ego2world = matrix(read_json(log / "lidar/poses.json")[1])
    local = (table[["x", "y", "z"]].to_numpy() - ego2world[:3, 3]) @ ego2world[:3, :3]
    azimuth = np.arctan2(local[:, 0], local[:, 1])
    late = table.t.to_numpy() - read_json(log / "lidar/timestamps.json")[1]
    far = np.hypot(local[:, 0], local[:, 1]) > 8
    ahead = far & (np.abs(azimuth) < 0.2)
    assert np.allclose(late[ahead], -0.05, atol=0.006)
    assert late[far & (azimuth > 2.9)].min() > -0.01
    assert late[far & (azimuth < -2.9)].max() < -0.09


def test_poses_are_ego_and_cam2world(log: Path) -> None:
    ego = [matrix(p) for p in read_json(log / "lidar/poses.json")]
    speed = np.array([[g["xvel"], g["yvel"]] for g in read_json(log / "meta/gps.json")])
    heading = ego[0][:3, 1]
    step = ego[1][:3, 3] - ego[0][:3, 3]
    assert 4.0 < speed[0, 1] < 12.0
    assert abs(speed[0, 0]) < 0.3
    assert np.linalg.norm(step) == pytest.approx(0.1 * speed[:2, 1].mean(), rel=0.02)
    assert heading @ step > 0.99 * np.linalg.norm(step)
    table, _, _ = sweep_of(log, 0)
    local = (table[["x", "y", "z"]].to_numpy() - ego[0][:3, 3]) @ ego[0][:3, :3]
    under = local[(np.hypot(local[:, 0], local[:, 1]) < 10) & (np.abs(local[:, 0]) < 1.5)]
    assert np.median(under[:, 2]) == pytest.approx(-0.32, abs=0.05)
    for camera in RIG:
        cam2world = matrix(read_json(log / f"camera/{camera.name}/poses.json")[0])
        back = camera.offset * speed[0, 1]  # the ego was there before the sweep's end
        local = ego[0][:3, :3].T @ (cam2world[:3, 3] - ego[0][:3, 3])
        assert np.allclose(local - [0, back, 0], camera.position, atol=0.05), camera.name
        forward = ego[0][:3, :3].T @ cam2world[:3, 2]
        assert np.arctan2(forward[0], forward[1]) == pytest.approx(camera.azimuth, abs=0.03)
        assert (ego[0][:3, :3].T @ cam2world[:3, 1])[2] < -0.99  # image y points down


def test_gps_is_the_ego_path_east_along_world_x(log: Path) -> None:
    fixes = read_json(log / "meta/gps.json")
    ego = np.array([matrix(p)[:3, 3] for p in read_json(log / "lidar/poses.json")])
    latitude, longitude = (np.radians([fix[name] for fix in fixes]) for name in ("lat", "long"))
    # Radii of curvature of WGS84 at the log's place, spelled out.
    a, e2 = 6378137.0, 0.00669437999014
    shrink = 1 - e2 * np.sin(latitude[0]) ** 2
    north = (latitude - latitude[0]) * a * (1 - e2) / shrink**1.5
    east = (longitude - longitude[0]) * a / shrink**0.5 * np.cos(latitude[0])
    assert np.abs(np.stack([east, north], axis=-1) - (ego - ego[0])[:, :2]).max() < 1e-4
    assert np.linalg.norm(ego[-1] - ego[0]) > 1.0
    assert np.allclose([fix["height"] - fixes[0]["height"] for fix in fixes], ego[:, 2] - ego[0, 2])
    here, origin = np.array([fixes[0]["lat"], fixes[0]["long"]]), np.array(gps_origin(SEED, 0))
    assert nearest_approach(here[None], origin[None]).distance_m < 1.0  # the world's origin is the first pose
    for metres in (-200.0, 200.0):  # the longest logs; the plane is off by x y tan(latitude) / R
        entry = gps_entry(np.array([metres, 200.0, 0.0]), np.zeros(2), (60.0, 180.0))
        assert -180 <= entry["long"] <= 180
        found = nearest_approach(np.array([[60.0, 180.0]]), np.array([[entry["lat"], entry["long"]]])).distance_m
        assert found == pytest.approx(np.hypot(metres, 200.0), abs=0.01)


def test_logs_stand_kilometres_apart() -> None:
    """Neighbours in number, in seed and around the grid; the farthest north are the closest."""
    numbers = [(seed, log) for seed in (0, 1, 2, 7, 80, 81, 4319) for log in (0, 1, 2, 3, 599, 600, 999)]
    origins = np.array([gps_origin(*number) for number in numbers])
    assert (np.abs(origins) <= (60, 180)).all()
    tracks = [LogTrack(f"{s}_{n}", ("train", "test"), o[None]) for (s, n), o in zip(numbers, origins, strict=True)]
    near = find_leakage(tracks, 20e3).close_pairs
    assert len(near) > 5
    assert min(pair.distance_m for pair in near) > 5e3
    assert gps_origin(4320, 0) == pytest.approx(gps_origin(0, 0))  # the grid is full


# --- exact motion ---------------------------------------------------------------------------------------------


def test_velocity_is_the_derivative_of_the_written_trajectory(log: Path) -> None:
    truth = dict(np.load(log / "ground_truth/trajectories.npz"))
    epoch = read_json(log / "lidar/timestamps.json")[0]
    fastest, spinning = 0.0, 0
    for frame in range(FRAMES):
        table, velocity, actor = sweep_of(log, frame)
        assert (velocity[actor < 0] == 0).all()
        mine = actor >= 0
        points, time, actor = table[["x", "y", "z"]].to_numpy()[mine], table.t.to_numpy()[mine] - epoch, actor[mine]
        pose, h = hermite(truth, time, actor), 1e-4
        body = turned(-pose[:, 3], points - pose[:, :3])
        before, after = hermite(truth, time - h, actor), hermite(truth, time + h, actor)
        moved = (turned(after[:, 3], body) + after[:, :3] - turned(before[:, 3], body) - before[:, :3]) / (2 * h)
        assert np.abs(moved - velocity[mine]).max() < 2e-3
        fastest = max(fastest, float(np.linalg.norm(velocity, axis=1).max()))
        spinning += int((np.abs(after[:, 3] - before[:, 3]) / (2 * h) > 0.05).sum())
    assert fastest > 5.0
    assert spinning > 0  # at least one object turns while it is seen


def test_velocity_of_a_turning_object_needs_its_turn(world: World) -> None:
    """The check above must see a missing rotation: some point's arm moves clearly unlike its centre."""
    returns = scan(world, spinning_beams(world, TINY.spinning, 0.1), np.random.default_rng(0), TINY)
    rate = world.tracks.at(0.05)[1]
    mine = returns.actor >= 0
    apart = np.linalg.norm(returns.velocity[mine] - rate[returns.actor[mine], :3], axis=1)
    assert apart.max() > 0.1


def test_moving_points_lie_in_their_cuboid(log: Path) -> None:
    truth = dict(np.load(log / "ground_truth/trajectories.npz"))
    checked = 0
    for frame in range(FRAMES):
        table, velocity, actor = sweep_of(log, frame)
        boxes = pd.read_pickle(log / f"annotations/cuboids/{frame:02d}.pkl.gz").set_index("uuid")
        ego2world = matrix(read_json(log / "lidar/poses.json")[frame])
        points, sensor = table[["x", "y", "z"]].to_numpy(), table.d.to_numpy()
        for o in np.unique(actor[actor >= 0]):
            for d, key in ((0, "uuid"), (1, "sibling")):
                name = str(truth[key][o])
                mine = (actor == o) & (sensor == d)
                if d == 1 and name not in boxes.index:
                    name = str(truth["uuid"][o])
                    mine &= np.linalg.norm(velocity, axis=1) == 0  # one box, shown at the spinning LiDAR's time
                if not mine.any():
                    continue
                box = boxes.loc[name]
                centre = box[["position.x", "position.y", "position.z"]].to_numpy(float)
                half = box[["dimensions.x", "dimensions.y", "dimensions.z"]].to_numpy(float) / 2
                ahead = ego2world[:3, :3].T @ (centre - ego2world[:3, 3])
                behind = abs(np.arctan2(ahead[0], ahead[1])) > 2.5 or np.hypot(ahead[0], ahead[1]) < 6
                slack = 0.045 + np.linalg.norm(velocity[mine], axis=1).max() * (0.1 if behind else 0.012)
                local = turned(np.full(mine.sum(), -box["yaw"]), points[mine] - centre)
                assert (np.abs(local) <= half + slack).all(), (frame, box["label"], np.abs(local).max(axis=0), half)
                checked += int(mine.sum())
    assert checked > 300


def test_siblings_point_to_each_other_and_tracks_are_constant(log: Path) -> None:
    tables = [pd.read_pickle(log / f"annotations/cuboids/{k:02d}.pkl.gz") for k in range(FRAMES)]
    first = tables[0].set_index("uuid")
    pairs = first[first["cuboids.sensor_id"] == 0]
    assert len(pairs) > 3
    assert first.index.is_unique
    for uuid, row in pairs.iterrows():
        other = first.loc[row["cuboids.sibling_id"]]
        assert other["cuboids.sibling_id"] == uuid
        assert (other["cuboids.sensor_id"], other["label"]) == (1, row["label"])
        assert not row["stationary"]
    fixed = ["uuid", "label", "stationary", "dimensions.x", "attributes.object_motion", "cuboids.sensor_id"]
    for table in tables[1:]:
        assert table[fixed].equals(tables[0][fixed])
    still = tables[0]["stationary"].to_numpy()
    where = [t[["position.x", "position.y", "position.z", "yaw"]].to_numpy() for t in tables]
    assert (where[0][still] == where[-1][still]).all()
    moving = (tables[0]["attributes.object_motion"] == "Moving").to_numpy()
    assert np.linalg.norm(where[-1] - where[0], axis=1)[moving].max() > 1.0


# --- what is seen ---------------------------------------------------------------------------------------------


def inside(kind: int, p: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """Whether street points [K, 3] lie in a solid primitive: an inequality, no ray arithmetic."""
    x, y = xyz[:, 0] - p[rays.CX], xyz[:, 1] - p[rays.CY]
    a, b = p[rays.COS] * x + p[rays.SIN] * y, p[rays.COS] * y - p[rays.SIN] * x
    c, (hx, hy, hz) = xyz[:, 2] - p[rays.CZ], p[rays.HX : rays.HZ + 1]
    if kind == rays.ELLIPSOID:
        return (a / hx) ** 2 + (b / hy) ** 2 + (c / hz) ** 2 < 1
    if kind == rays.CYLINDER_Z:
        return (np.hypot(a, b) < hx) & (np.abs(c) < hz)
    if kind == rays.CYLINDER_X:
        return (np.hypot(b, c) < hy) & (np.abs(a) < hx)
    up = c + hz
    front, back, side = p[rays.S_FRONT], p[rays.S_BACK], p[rays.S_SIDE]
    return (np.abs(c) < hz) & (b < hy - front * up) & (b > back * up - hy) & (np.abs(a) < hx - side * up)


def first_solid(world: World, time: float, origin: np.ndarray, direction: np.ndarray, reach: float) -> float:
    """Distance to the first solid place on a ray by marching in 2 cm steps; `reach` where there is none."""
    placed = world.placed(time)
    s = np.arange(0.02, reach, 0.02)
    xyz = origin + s[:, None] * direction
    solid = xyz[:, 2] < 0
    size = np.linalg.norm(placed[:, rays.HX : rays.HZ + 1], axis=1)
    centre = placed[:, :3] - origin
    along = np.clip(centre @ direction, 0, reach)
    near = np.linalg.norm(centre - along[:, None] * direction, axis=1) <= size
    for n in np.flatnonzero(near & (world.kind != rays.LEAFY)):
        span = np.abs(s - along[n]) <= size[n] + 0.05
        solid[span] |= inside(int(world.kind[n]), placed[n], xyz[span])
    return float(s[np.argmax(solid)]) if solid.any() else reach


@pytest.mark.parametrize("sensor", ["spinning", "forward"])
def test_nothing_solid_stands_before_a_point_and_its_place_is_solid(world: World, sensor: str) -> None:
    aim = spinning_beams if sensor == "spinning" else forward_beams
    beams = aim(world, getattr(TINY, sensor), 0.1)
    out, hit, _ = cast_beams(world, beams)
    rng = np.random.default_rng(5)
    columns, rows = np.nonzero((hit >= -1) & (out[..., 0] < 60))
    exact = 0
    sample = rng.choice(len(columns), 130, replace=False)
    for c, b in zip(columns[sample], rows[sample], strict=True):
        distance, leafy = out[c, b, 0], hit[c, b] >= 0 and world.kind[hit[c, b]] == rays.LEAFY
        found = first_solid(world, float(beams.time[c]), beams.origin[c], beams.direction[c, b], distance + 0.06)
        assert found > distance - 1e-6, (c, b, found, distance)
        exact += bool(leafy or found < distance + 0.03)
    assert exact >= 127  # a corner thinner than a step may slip through


def test_beams_that_return_nothing_meet_nothing(world: World) -> None:
    beams = spinning_beams(world, TINY.spinning, 0.1)
    _, hit, _ = cast_beams(world, beams)
    columns, rows = np.nonzero(hit == -2)
    assert len(columns) > 50
    for c, b in list(zip(columns, rows, strict=True))[:: max(1, len(columns) // 25)]:
        assert first_solid(world, float(beams.time[c]), beams.origin[c], beams.direction[c, b], 80.0) == 80.0


def static_points(world: World, stamp: float) -> np.ndarray:
    """Noise-free points on what never moves, leaves aside."""
    beams = spinning_beams(world, TINY.spinning, stamp)
    out, hit, _ = cast_beams(world, beams)
    still = (hit == -1) | ((hit >= 0) & (world.owner[np.maximum(hit, 0)] < 0))
    still &= (hit == -1) | (world.kind[np.maximum(hit, 0)] != rays.LEAFY)
    c, b = np.nonzero(still)
    return beams.origin[c] + out[c, b, :1] * beams.direction[c, b]


@pytest.mark.parametrize("camera", RIG, ids=lambda c: c.name)
def test_a_camera_sees_the_surfaces_the_lidar_hits(world: World, camera) -> None:
    """Where nothing stands between, the picture's depth at a point's exact pixel is the point's z-depth."""
    time = 0.1 + camera.offset
    pose = camera2street(world, camera, time)
    points = static_points(world, 0.1)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    fx, fy, cx, cy = TINY.intrinsics(camera)
    u, v = fx * local[:, 0] / local[:, 2] + cx, fy * local[:, 1] / local[:, 2] + cy
    inside_view = (local[:, 2] > 1) & (u > 0) & (u < TINY.width) & (v > 0) & (v < TINY.height)
    chosen = np.random.default_rng(1).choice(np.flatnonzero(inside_view), 30, replace=False)
    agree = 0
    for k in chosen:
        shifted = (fx, fy, cx - u[k] + 0.5, cy - v[k] + 0.5)
        depth = float(render(world, time, pose, shifted, 1, 1).depth[0, 0])
        assert depth < local[k, 2] + 0.05, "the camera looks through a surface"
        agree += abs(depth - local[k, 2]) < 0.05
    assert agree >= 15  # the rest is hidden: the sensors stand apart


def test_pictures_are_cast_through_pixel_centres(world: World) -> None:
    camera = RIG[0]
    pose = camera2street(world, camera, 0.0)
    K = TINY.intrinsics(camera)
    picture = render(world, 0.0, pose, K, TINY.width, TINY.height)
    i, j = np.mgrid[5 : TINY.height : 9, 3 : TINY.width : 7]
    rays_ = np.stack([(j + 0.5 - K[2]) / K[0], (i + 0.5 - K[3]) / K[1], np.ones_like(i, dtype=float)], -1)
    length = np.linalg.norm(rays_, axis=-1)
    direction = (rays_ / length[..., None]) @ pose[:3, :3].T
    flat = direction.reshape(-1, 1, 3)
    count = len(flat)
    beams = Beams(np.zeros(count), np.tile(pose[:3, 3], (count, 1)), np.ascontiguousarray(flat), 1e5)
    out, hit, _ = cast_beams(world, beams)
    wanted = np.where(hit[:, 0] >= -1, out[:, 0, 0], np.inf) / length.ravel()
    assert np.array_equal(picture.primitive[i, j].ravel(), hit[:, 0])
    assert np.allclose(picture.depth[i, j].ravel(), wanted, rtol=1e-5)
    assert len(np.unique(hit)) > 20
    assert picture.rgb.reshape(-1, 3).std(axis=0).min() > 20


def test_only_what_moves_changes_between_two_times(world: World) -> None:
    """One camera, held still: the picture at two times differs only where a moving object is or was."""
    pose = camera2street(world, RIG[0], 0.0)
    K = TINY.intrinsics(RIG[0])
    first, second = (render(world, t, pose, K, TINY.width, TINY.height) for t in (0.0, 0.2))
    moving = np.flatnonzero(np.ptp(world.tracks.at([0.0, 0.2])[0], axis=0).any(axis=-1))
    changed = ~np.isclose(first.depth, second.depth, rtol=1e-6)

    def owner(picture: np.ndarray) -> np.ndarray:
        return np.where(picture >= 0, world.owner[np.maximum(picture, 0)], -1)

    mover = np.isin(owner(first.primitive), moving) | np.isin(owner(second.primitive), moving)
    assert (changed & ~mover).sum() == 0
    assert (changed & mover).sum() > 20


def test_kernels_compiled_from_other_sources_are_dropped(tmp_path):
    cache = tmp_path / "street" / "__pycache__"
    cache.mkdir(parents=True)
    source = tmp_path / "street" / "a.py"
    source.write_text("x = 1")
    compiled = cache / "camera._render-156.py311.1.nbc"
    compiled.touch()
    assert drop_stale_kernels(tmp_path)
    assert not compiled.exists()
    compiled.touch()
    assert not drop_stale_kernels(tmp_path)
    assert compiled.exists()
    source.write_text("x = 2")
    assert drop_stale_kernels(tmp_path)
    assert not compiled.exists()
