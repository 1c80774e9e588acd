"""The page of a frame: its counts against pandas and plain matrices, its pictures pixel by pixel, its errors."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.__main__ import main
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import compute_frame
from pipelines.features.nearer_in_cell import behind_in_cell
from pipelines.features.visibility import see
from pipelines.inspect.birds_eye import plan_svg
from pipelines.inspect.camera_pictures import OUTLINES, depth_picture, mask_picture
from pipelines.inspect.counts import NUMBERS, colour_row, front_numbers
from pipelines.inspect.gather import InspectedFrame, gather_frame
from pipelines.inspect.page import page_html
from pipelines.inspect.paint import FARTHEST_M, HIDDEN_RGB, NEAREST_M, PICTURE_WIDTH, depth_rgb, put_dots, reduced
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.codec import mask_from_runs
from tests.support.html import MARKUP, Page, same_elements, self_contained
from tests.support.logs.fake_log import cuboid_table, edit_table, write_log
from tests.support.logs.plain_ground_truth import plain_box_times
from tests.support.logs.real_slice import matrix, real_log

FLOW, DEPTH = NUMBERS[:6], NUMBERS[6:]
FRAME = 5


def plain_numbers(log: Path, frame: int) -> dict[str, float]:
    """The JSON line's numbers from the files with pandas and matrices; only what is visible is asked of the product."""
    sweep = pd.read_pickle(log / f"lidar/{frame:02d}.pkl.gz")
    points, sensor = sweep[["x", "y", "z"]].to_numpy(np.float64), sweep["d"].to_numpy()
    folder, reader = log / "camera/front_camera", PandaSetLog(log)
    width, height = reader.image_size(reader.camera("front_camera", frame))
    k = json.loads((folder / "intrinsics.json").read_text())
    cam = np.linalg.inv(matrix(json.loads((folder / "poses.json").read_text())[frame]))
    x, y, z = cam[:3, :3] @ points.T + cam[:3, 3:]
    ahead = np.where(z >= 0.1, z, 1.0)
    column, row = np.floor(k["fx"] * x / ahead + k["cx"]), np.floor(k["fy"] * y / ahead + k["cy"])
    inside = (z >= 0.1) & (column >= 0) & (column < width) & (row >= 0) & (row < height)

    nearest: dict[tuple[float, float], int] = {}
    for i in np.flatnonzero(inside):
        held = nearest.setdefault((row[i], column[i]), i)
        if z[i] < z[held]:
            nearest[row[i], column[i]] = i
    sighting = see(reader.sweep(frame), reader.camera("front_camera", frame), width, height)
    visible = set(sighting.projection.rows[sighting.visible].tolist())
    raw, seen = list(nearest.values()), [i for i in nearest.values() if i in visible]
    numbers = plain_flow(log, frame, points[inside & (sensor == 0)])
    return numbers | {
        "depth_count": len(raw),
        "depth_sum_m": float(z[raw].sum()),
        "depth_visible_count": len(seen),
        "depth_visible_sum_m": float(z[seen].sum()),
    }


def plain_flow(log: Path, frame: int, points: np.ndarray) -> dict[str, float]:
    """Classes and flow of points of the spinning LiDAR: every point against every box."""
    now, then = (pd.read_pickle(log / f"annotations/cuboids/{f:02d}.pkl.gz") for f in (frame, frame + 1))
    then = then.set_index("uuid")
    best, other, flow = np.full(len(points), np.inf), np.zeros(len(points), bool), np.zeros_like(points)
    known = np.ones(len(points), bool)
    for _, box in now.iterrows():
        centre, size = (
            box[[f"{name}.{axis}" for axis in "xyz"]].to_numpy(float) for name in ("position", "dimensions")
        )
        inside = (np.abs((points - centre) @ turn(box["yaw"])) <= size / 2).all(axis=1)
        if box["cuboids.sensor_id"] == 1:
            other |= inside
            continue
        inside &= size.prod() < best
        best[inside] = size.prod()
        known[inside] = box["uuid"] in then.index
        if box["uuid"] in then.index:
            to = then.loc[box["uuid"]]
            there = to[[f"position.{axis}" for axis in "xyz"]].to_numpy(float)
            rigid = turn(to["yaw"]) @ turn(box["yaw"]).T
            flow[inside] = (points[inside] - centre) @ rigid.T + there - points[inside]
    boxed = np.isfinite(best)
    ignored = ~known | (other & ~boxed)
    long = np.linalg.norm(flow, axis=1)
    valid = long[~ignored]
    return {
        "BS": int((~boxed & ~other).sum()),
        "FS": int((boxed & known & (long < 0.05)).sum()),
        "FD": int((boxed & known & (long >= 0.05)).sum()),
        "ignored": int(ignored.sum()),
        "flow_mean_m": float(valid.mean()),
        "flow_max_m": float(valid.max()),
    }


def turn(yaw: float) -> np.ndarray:
    return np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])


def inspect(log: Path, frame: int, out: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    """Run the verb; its JSON line."""
    assert main(["inspect", str(log), "--frame", str(frame), "--out", str(out), "--json"]) == 0
    line: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(line) == ["log", "frame", *NUMBERS, "flow", "camera_time_shift", "page"]
    assert (line["log"], line["frame"], line["page"]) == (log.name, frame, str(out / f"{log.name}-{frame:03d}.html"))
    return line


def check(line: dict, plain: dict[str, float]) -> None:
    for name in NUMBERS:
        assert line[name] == (plain[name] if isinstance(plain[name], int) else pytest.approx(plain[name], rel=1e-9)), (
            name
        )


@pytest.fixture(scope="module")
def seen(tiny_logs: Path) -> InspectedFrame:
    return gather_frame(PandaSetLog(tiny_logs / "tiny0"), FRAME)


def test_page_and_json_of_a_generated_log(tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = inspect(tiny_logs / "tiny0", FRAME, tmp_path / "pages", capsys)
    plain = plain_numbers(tiny_logs / "tiny0", FRAME)
    assert plain["FD"] > 0
    check(line, plain)
    page = self_contained(Path(line["page"]))
    # Six cameras: depth, image, colours and masks; and the view from above.
    assert len(page.addresses) == 6 * 4 + 1
    assert Path(line["page"]).stat().st_size < 6e6
    for name in ("front_camera", "back_camera", "Masks of what moves", "When it was measured"):
        assert name in page.text
    assert f"{plain['FD']:,}" in page.text


def test_the_real_slice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = real_log()
    line, plain = inspect(log, 17, tmp_path, capsys), plain_numbers(log, 17)
    assert 0 < plain["depth_visible_count"] < plain["depth_count"]
    check(line, plain)
    self_contained(Path(line["page"]))


def test_last_frame_has_no_flow(tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = inspect(tiny_logs / "tiny0", 16, tmp_path, capsys)
    assert [line[name] for name in FLOW if name != "ignored"] == [None] * 5
    assert line["ignored"] > 0
    assert line["depth_count"] > 0
    text = self_contained(Path(line["page"])).text
    assert "frame 16 is the last of the log" in text
    assert "to frame 15, the one before" in text


def test_next_frame_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "gap")
    (log / "lidar/01.pkl.gz").unlink()
    line = inspect(log, 0, tmp_path, capsys)
    assert line["FD"] is None
    text = self_contained(Path(line["page"])).text
    assert "the next frame cannot be used: lidar/01.pkl.gz not there" in text
    assert "no usable frame beside" in text


def test_without_cuboids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "bare")
    shutil.rmtree(log / "annotations/cuboids")
    line = inspect(log, 0, tmp_path, capsys)
    assert [line[name] for name in FLOW] == [None] * 6
    assert line["depth_count"] > 0
    assert "the log has no cuboids" in self_contained(Path(line["page"])).text


def test_without_front_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "blind")
    shutil.rmtree(log / "camera/front_camera")
    line = inspect(log, 0, tmp_path, capsys)
    assert [line[name] for name in NUMBERS] == [None] * len(NUMBERS)
    text = self_contained(Path(line["page"])).text
    assert "front_camera is not in this log (it has back_camera)" in text


def test_without_any_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "dark")
    shutil.rmtree(log / "camera")
    line = inspect(log, 0, tmp_path, capsys)
    assert line["BS"] is None
    assert "it has no camera" in self_contained(Path(line["page"])).text


def with_texts(frame: InspectedFrame, text: str) -> InspectedFrame:
    """The frame with a text in the place of every name that a log gives."""
    assert frame.boxes is not None
    boxes = frame.boxes.cuboids
    named = replace(boxes, label=(text,) * len(boxes.label), track=tuple(f"{text}{i}" for i in range(len(boxes.track))))
    views = []
    for number, view in enumerate(frame.views):
        # The front camera keeps its name, by which the frame is asked for it.
        name = view.name if view.name == "front_camera" else f"{text}{number}"
        camera = replace(view.sighting.camera, camera=name)
        views.append(replace(view, sighting=replace(view.sighting, camera=camera)))
    return replace(
        frame, log_id=text, views=tuple(views), boxes=replace(frame.boxes, cuboids=named), no_flow=f"because {text}"
    )


def test_no_text_of_a_log_makes_an_element(seen: InspectedFrame) -> None:
    # As long as each other: the place of a label depends on its length.
    harmless = "x" * len(MARKUP)
    page, plain = (Page(page_html(with_texts(seen, text), 50.0, text)) for text in (MARKUP, harmless))
    same_elements(page, plain)
    for words in (f"{MARKUP}, frame {FRAME}", f"{MARKUP}1", f"Not the defaults: {MARKUP}", f"because {MARKUP}"):
        assert words in page.text
    assert f"LiDAR depth in {MARKUP}1" in page.values("alt")
    assert f"Moving boxes in {MARKUP}1" in page.values("aria-label")


def test_labels_in_the_files_of_a_log_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "nasty")
    for frame in range(3):
        table = cuboid_table(np.random.default_rng(frame)).assign(label=MARKUP)
        edit_table(log / f"annotations/cuboids/{frame:02d}.pkl.gz", lambda _, table=table: table)
    assert MARKUP in self_contained(Path(inspect(log, 0, tmp_path, capsys)["page"])).text


def test_errors_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "logs/log0")
    (log / "camera/back_camera/01.jpg").unlink()
    (log / "annotations/cuboids/02.pkl.gz").write_bytes(b"no pickle")
    cases = {
        (tmp_path / "nowhere", 0): "there is no such folder",
        (tmp_path / "logs", 0): "is no log",
        (log, 3): "take one of 0 to 2",
        (log, -1): "take one of 0 to 2",
        (log, 1): "camera/back_camera/01.jpg not there",
        (log, 2): "02.pkl.gz",
    }
    for (path, frame), reason in cases.items():
        assert main(["inspect", str(path), "--frame", str(frame), "--out", str(tmp_path / "out"), "--json"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert reason in captured.err.replace("\n", "")
    with pytest.raises(SystemExit):
        main(["inspect", str(log), "--frame", "0", "--out", str(tmp_path / "out"), "--range-m", "0"])
    assert "--range-m must be 1 to 1000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_behind_in_cell_against_every_pair(seen: InspectedFrame) -> None:
    total = 0
    for view in seen.views:
        uv, depth = view.sighting.projection.uv, view.sighting.projection.depth
        together = (uv[:, None] // 8 == uv[None] // 8).all(axis=2)
        expected = (together & (depth[None] < depth[:, None] * 0.95 - 0.5)).any(axis=1)
        np.testing.assert_array_equal(behind_in_cell(view.sighting.projection, view.sighting.width), expected)
        total += int(expected.sum())
    assert total > 0


def test_colour_row_against_a_loop(seen: InspectedFrame) -> None:
    for index, view in enumerate(seen.views):
        row, projection = colour_row(seen, index), view.sighting.projection
        differences = []
        for place, point in enumerate(projection.rows):
            if view.sighting.visible[place] and seen.colours.camera[point] not in (-1, index):
                u, v = projection.uv[place]
                pixel = view.image[int(v), int(u)].astype(float)
                differences.append(np.abs(pixel - seen.colours.rgb[point]).mean())
        assert row.coloured == (seen.colours.camera == index).sum()
        assert row.shared == len(differences)
        assert row.difference == (pytest.approx(np.median(differences)) if differences else None)
    assert sum(colour_row(seen, index).shared for index in range(6)) > 0


@pytest.fixture
def half_hidden(seen: InspectedFrame) -> InspectedFrame:
    """The frame with every third pixel of the front camera's depth map hidden."""
    views = list(seen.views)
    depth = views[0].depth
    views[0] = replace(views[0], depth=replace(depth, visible=np.arange(len(depth.depth)) % 3 > 0))
    assert views[0].name == "front_camera"
    return replace(seen, views=tuple(views))


def test_raw_and_visible_depth_are_told_apart(half_hidden: InspectedFrame) -> None:
    depth, numbers = half_hidden.views[0].depth, front_numbers(half_hidden)
    assert numbers["depth_count"] == len(depth.depth)
    assert numbers["depth_visible_count"] == len(depth.depth) - len(depth.depth[::3])
    assert numbers["depth_sum_m"] == pytest.approx(depth.depth.sum())
    assert numbers["depth_visible_sum_m"] == pytest.approx(depth.depth.sum() - depth.depth[::3].sum())


def test_depth_picture_marks_hidden_returns(half_hidden: InspectedFrame) -> None:
    view = half_hidden.views[0]
    depth, flat = view.depth, depth_picture(view).reshape(-1, 3)
    assert (flat[depth.pixel[~depth.visible]] == HIDDEN_RGB).all()
    shown, expected = flat[depth.pixel[depth.visible]], depth_rgb(depth.depth[depth.visible])
    assert not (shown == HIDDEN_RGB).all(axis=1).any()
    # A dot is two pixels wide: some of a farther return lie under those of a nearer one, never the other way round.
    same = (shown == expected).all(axis=1)
    assert same.mean() > 0.5
    assert same[np.argmin(depth.depth[depth.visible])]


def test_masks_are_the_masks_of_the_store(seen: InspectedFrame, tiny_logs: Path) -> None:
    cameras = tuple(view.name for view in seen.views)
    stored = compute_frame(PandaSetLog(tiny_logs / "tiny0"), FRAME, FeatureConfig(view_cameras=cameras)).arrays
    found = 0
    for number, view in enumerate(seen.views):
        rows = stored.moving_view == number
        height, width = view.image.shape[:2]
        mask = mask_from_runs(stored.moving_start[rows], stored.moving_length[rows], height, width)
        drawn = mask_picture(seen, view)
        assert drawn.pixels == mask.sum()
        changed = (drawn.picture != view.image).any(axis=2)
        assert not (changed & ~mask).any()
        assert changed.sum() >= 0.95 * mask.sum()
        assert all(label.rgb in OUTLINES and " m/s" in label.text for label in drawn.labels)
        found += len(drawn.labels)
    assert found > 0


def test_boxes_have_the_times_of_their_returns(seen: InspectedFrame) -> None:
    assert seen.boxes is not None
    np.testing.assert_array_equal(seen.boxes.times, plain_box_times(seen.sweep, seen.boxes.cuboids))


def test_tracks_that_end_are_counted(tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_logs / "tiny0", tmp_path / "tiny0")
    edit_table(tmp_path / f"tiny0/annotations/cuboids/{FRAME + 1:02d}.pkl.gz", lambda table: table.iloc[2:])
    frame = gather_frame(PandaSetLog(tmp_path / "tiny0"), FRAME)
    assert frame.missing_tracks is not None
    assert frame.missing_tracks.sum() == 2
    ends = {frame.boxes.cuboids.track[row] for row in np.flatnonzero(frame.missing_tracks)}
    assert ends.isdisjoint(PandaSetLog(tmp_path / "tiny0").cuboids(FRAME + 1).track)


def test_speed_is_that_of_the_generated_traffic(seen: InspectedFrame) -> None:
    """A box's speed is its centre's way over the time of the pair."""
    boxes = seen.boxes
    assert boxes is not None
    assert boxes.speed is not None
    assert boxes.beside is not None
    for row in np.flatnonzero(boxes.moving):
        to = boxes.beside.cuboids.track.index(boxes.cuboids.track[row])
        way = math.dist(boxes.beside.cuboids.position[to], boxes.cuboids.position[row])
        assert boxes.speed[row] == pytest.approx(way / (boxes.beside.time - seen.sweep.time))
        assert boxes.speed[row] < 40


def test_arrows_are_as_long_as_the_way_in_a_second(seen: InspectedFrame) -> None:
    """On a picture of 1200 pixels and +-50 m; arrows of what moves faster than 1 m/s."""
    flow, boxes = seen.flow, seen.boxes
    assert flow is not None
    assert boxes is not None
    svg = plan_svg(seen, 50.0)
    arrows = [part.split('"', 1)[0] for part in svg.split('class="arrow fd" d="')[1:]]
    lengths = []
    for arrow in arrows:
        start, tip = (np.array(pair.split(" "), float) for pair in arrow[1:].split("M")[0].split("L"))
        lengths.append(np.linalg.norm(tip - start) / 12)
    speeds = [
        np.linalg.norm(flow.flow[flow.cuboid == row].mean(axis=0)) * 10
        for row in np.unique(flow.cuboid[flow.cuboid >= 0])
    ]
    assert lengths
    for length in lengths:
        assert np.abs(np.array(speeds) - length).min() < 0.1


def test_depth_colours_span_the_scale() -> None:
    ends = depth_rgb(np.array([0.1, NEAREST_M, FARTHEST_M, 1e4]))
    assert (ends[0] == ends[1]).all()
    assert (ends[2] == ends[3]).all()
    colours = depth_rgb(np.geomspace(NEAREST_M, FARTHEST_M, 60))
    assert len(np.unique(colours, axis=0)) == 60
    # Never near the colour of hidden returns.
    assert np.abs(colours.astype(int) - HIDDEN_RGB).sum(axis=1).min() > 100


def test_dots_stay_in_the_picture_and_the_last_wins() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    at = np.array([[0.5, 0.5], [5.9, 3.9], [2.5, 1.5], [2.5, 1.5], [-3.0, 9.0]])
    rgb = np.array([[1] * 3, [2] * 3, [3] * 3, [4] * 3, [5] * 3], np.uint8)
    put_dots(picture, at, rgb, 1)
    expected = np.zeros((4, 6), np.uint8)
    expected[0, 0], expected[3, 5], expected[1, 2] = 1, 2, 4
    np.testing.assert_array_equal(picture, expected[..., None].repeat(3, axis=2))
    put_dots(picture, np.array([[0.5, 0.5]]), np.full((1, 3), 9, np.uint8), 3)
    assert (picture[:2, :2] == 9).all()
    assert (picture == 9).all(axis=2).sum() == 4


def test_large_images_become_smaller() -> None:
    image = np.full((1080, 1920, 3), 77, np.uint8)
    small = reduced(image)
    assert small.shape == (540, PICTURE_WIDTH, 3)
    assert (small == 77).all()
    tiny = np.full((12, 16, 3), 5, np.uint8)
    reduced(tiny)[:] = 0
    assert (tiny == 5).all()


def test_the_same_frame_gives_the_same_page(seen: InspectedFrame, tiny_logs: Path) -> None:
    again = gather_frame(PandaSetLog(tiny_logs / "tiny0"), FRAME)
    assert page_html(seen, 50.0) == page_html(again, 50.0)
    assert front_numbers(seen) == front_numbers(again)


def test_options_of_a_build_are_seen_on_the_page(
    tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for name, options in (
        ("plain", []),
        ("other", ["--camera-time-shift", "front_camera", "-0.02", "--flow.expand-m", "0.5"]),
    ):
        out = tmp_path / name
        arguments = ["inspect", str(tiny_logs / "tiny0"), "--frame", str(FRAME), "--out", str(out), "--json", *options]
        assert main(arguments) == 0
        line = json.loads(capsys.readouterr().out.splitlines()[-1])
        found.append((line, Path(line["page"]).read_text()))
    (plain, plain_page), (other, other_page) = found
    assert "Not the defaults" not in plain_page
    assert "front_camera taken -20 ms from its stamp" in other_page
    assert "expand_m=0.5" in other_page
    assert other["FS"] + other["FD"] > plain["FS"] + plain["FD"]
    assert other["depth_sum_m"] != plain["depth_sum_m"]


def test_a_shift_of_an_unknown_camera_is_refused(
    tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    log = str(tiny_logs / "tiny0")
    assert main(["inspect", log, "--frame", "0", "--out", str(tmp_path), "--camera-time-shift", "roof", "0.01"]) == 1
    assert "no camera ['roof']: choose --camera-time-shift among" in capsys.readouterr().err.replace("\n", " ")
