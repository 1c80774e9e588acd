from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.store_tools.commands import Diff, run_diff
from pipelines.store_tools.diff import diff_versions
from pipelines.store_tools.diff_members import diff_arrow, diff_json
from store_schema import tables
from store_schema.clip import Clip
from tests.support.stores.many_versions import CONFIG, as_schema_1, flip_member, tiny_clip, write_shards


def moved_points(clip: Clip, rows: int, by: float) -> Clip:
    means = clip.points.means.copy()
    means[:rows, 0] += by
    return replace(clip, points=replace(clip.points, means=means))


def fewer_points(clip: Clip, count: int) -> Clip:
    columns = {name: getattr(clip.points, name)[:count] for name in clip.points.__slots__}
    return replace(clip, points=type(clip.points)(**columns))


def diff(
    capsys: pytest.CaptureFixture[str], store: Path, a: str, b: str, **options: Any
) -> tuple[int, str, dict[str, Any]]:
    status = run_diff(Diff(str(store), a[:16], b[:16], json=True, **options), Console(stderr=True))
    text = capsys.readouterr().out
    return status, text, json.loads(text.splitlines()[-1])


def test_the_same_content_in_two_stores_is_identical(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shards = {"all.tar": [tiny_clip("001")]}
    a = write_shards(tmp_path / "one", shards)
    b = write_shards(tmp_path / "two", shards, provenance={"built_at": "later", "packages": {"numpy": "9"}})
    status, text, found = diff(capsys, tmp_path / "one", a, b, other=str(tmp_path / "two"))
    assert status == 0
    assert found["identical"] is True
    assert text.startswith("identical")
    assert "hint, not part of the version" in text
    assert "numpy: none -> 9" in text


def test_columns_are_compared_in_physical_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tiny_clip("001")
    red = clip.points.rgb.copy()
    red[3:5, 0] ^= 7
    a = write_shards(tmp_path, {"all.tar": [clip, tiny_clip("002")]})
    changed = moved_points(replace(clip, points=replace(clip.points, rgb=red)), rows=7, by=0.25)
    b = write_shards(tmp_path, {"all.tar": [changed, tiny_clip("002")]})
    status, text, found = diff(capsys, tmp_path, a, b)
    assert status == 1
    assert found["identical"] is False
    [content] = found["content"]
    assert content["clip_id"] == "001-evaluation-s000"
    [member] = content["members"]
    assert (member["name"], member["rows_a"], member["rows_b"]) == ("points.arrow", 180, 180)
    columns = {column["name"]: column for column in member["columns"]}
    assert set(columns) == {"x", "r"}
    assert (columns["x"]["rows"], columns["x"]["unit"]) == (7, "m")
    assert columns["x"]["largest"] == pytest.approx(0.25, abs=1e-9)
    assert columns["r"]["rows"] == 2
    assert columns["r"]["unit"] == ""
    assert columns["r"]["largest"] == np.abs(red.astype(int) - clip.points.rgb).max()
    assert "x: 7 rows differ, by at most 0.25 m" in text
    assert "002-evaluation" not in text


def test_other_row_counts_are_said_and_columns_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tiny_clip("001")
    a = write_shards(tmp_path, {"all.tar": [clip]})
    b = write_shards(tmp_path, {"all.tar": [fewer_points(clip, 170)]})
    _, text, found = diff(capsys, tmp_path, a, b)
    [member] = found["content"][0]["members"]
    assert (member["rows_a"], member["rows_b"], member["columns"]) == (180, 170, [])
    assert "180 rows -> 170, so columns are not compared" in text


def test_clips_logs_shards_config_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, moved, gone, new = (tiny_clip("001", start) for start in (0, 20, 40, 60))
    other_log = tiny_clip("009")
    a = write_shards(tmp_path, {"s0.tar": [kept, moved], "s1.tar": [gone]}, left_out={"x": "frame 3"})
    b = write_shards(
        tmp_path,
        {"s0.tar": [kept], "s2.tar": [moved, new, other_log]},
        config={**CONFIG, "features": {**CONFIG["features"], "neighbours": 4}},  # type: ignore[dict-item]
        logs={"001": {"num_frames": 80, "missing_frames": [4]}},
        left_out={"x": "frame 4", "y": "frame 5"},
    )
    status, text, found = diff(capsys, tmp_path, a, b)
    assert status == 1
    assert found["config"] == [["features.neighbours", 3, 4]]
    clips = found["clips"]
    assert clips["added"] == ["001-evaluation-s060", "009-evaluation-s000"]
    assert clips["removed"] == ["001-evaluation-s040"]
    assert clips["changed"] == {"001-evaluation-s020": "s0.tar -> s2.tar"}
    assert found["logs"] == {"added": ["009"], "removed": [], "changed": {"001": "num_frames, missing_frames"}}
    assert found["shards"] == {"added": ["s2.tar"], "removed": ["s1.tar"], "changed": {"s0.tar": "other bytes"}}
    assert found["left_out"] == [["x", "frame 3", "frame 4"], ["y", None, "frame 5"]]
    assert found["content"] == []
    assert "1 clip moved to another shard" in text


def test_opening_stops_at_the_limit_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [tiny_clip("001", start) for start in (0, 20, 40)]
    a = write_shards(tmp_path, {"all.tar": clips})
    b = write_shards(tmp_path, {"all.tar": [moved_points(clip, 3, 1.0) for clip in clips]})
    _, text, found = diff(capsys, tmp_path, a, b, limit=1)
    assert [clip["members"][0]["opened"] for clip in found["content"]] == [True, False, False]
    assert found["opened"] == 1
    assert "stopped opening after 1 clips (--limit); of the 2 others differ: points.arrow in 2" in text
    _, text, _ = diff(capsys, tmp_path, a, b, limit=3)
    assert "stopped" not in text
    with pytest.raises(ValueError, match="limit"):
        diff_versions(tmp_path, a, b, limit=-1)


def test_a_damaged_member_is_named_and_the_rest_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [tiny_clip("001", start) for start in (0, 20)]
    a = write_shards(tmp_path, {"all.tar": clips})
    b = write_shards(tmp_path, {"all.tar": [moved_points(clip, 3, 1.0) for clip in clips]})
    flip_member(tmp_path, b, "001-evaluation-s000", "points.arrow")
    status, text, found = diff(capsys, tmp_path, a, b)
    assert status == 1
    assert "points.arrow cannot be compared: shard all.tar, clip 001-evaluation-s000" in text
    assert found["content"][1]["members"][0]["columns"][0]["rows"] == 3


def test_headers_and_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, later = tiny_clip("001"), tiny_clip("001", seed=5)
    pose = clip.views[2].cam2ego0.copy()
    pose[0, 3] += 0.5
    views = (clip.views[0], replace(clip.views[1], image=later.views[1].image + b"\0"), *clip.views[2:])
    views = (*views[:2], replace(views[2], cam2ego0=pose, time=0.75), *views[3:])
    a = write_shards(tmp_path, {"all.tar": [clip]})
    b = write_shards(tmp_path, {"all.tar": [replace(clip, views=views)]})
    _, text, found = diff(capsys, tmp_path, a, b)
    header, image = found["content"][0]["members"]
    assert header["name"] == "clip.json"
    assert [(entry["name"], entry["largest"]) for entry in header["columns"]] == [
        ("views.2.cam2ego0.0", 0.5),
        ("views.2.time", None),
    ]
    assert "views.2.time: 0.15 -> 0.75" in text
    assert image["name"] == "f01_front_camera.jpg"
    assert "1 image changed: f01_front_camera.jpg" in text


def test_schema_1_against_today(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = as_schema_1(tmp_path, write_shards(tmp_path, {"all.tar": [tiny_clip("001")]}))
    new = write_shards(tmp_path, {"all.tar": [tiny_clip("001"), tiny_clip("002")]})
    status, text, found = diff(capsys, tmp_path, old, new)
    assert status == 1
    assert found["schema"][0] == ["schema_version", 1, tables.SCHEMA_VERSION]
    assert "tables: n/a, no schema.json -> in schema.json" in text
    assert found["logs"] == {"added": ["002"], "removed": [], "changed": None}
    assert found["content"] == []


def test_grids_of_different_step_are_compared_in_units() -> None:
    def column(step: str | None, values: list[int], kind: pa.DataType) -> bytes:
        field = pa.field("depth", kind, metadata=None if step is None else {"unit": "m", "step": step})
        return tables.to_ipc(pa.schema([field, pa.field("label", pa.string())]), {"depth": values, "label": ["a", "b"]})

    rows_a, rows_b, [found] = diff_arrow(
        column("0.001", [1000, 2500], pa.int32()), column("0.01", [100, 255], pa.int16())
    )
    assert (rows_a, rows_b) == (2, 2)
    assert (found.name, found.rows, found.unit) == ("depth", 1, "m")
    assert found.largest == pytest.approx(0.05)
    assert found.note == "stored as int32 of 0.001 m -> int16 of 0.01 m"
    # One that names no grid is read on the other's.
    for a, b in ((None, "0.001"), ("0.001", None)):
        *_, [found] = diff_arrow(column(a, [1000, 2500], pa.int32()), column(b, [1000, 2503], pa.int32()))
        assert (found.rows, found.unit) == (1, "m")
        assert found.largest == pytest.approx(0.003)
        assert "stored as int32" in found.note


def test_columns_of_text_unsigned_extremes_and_presence() -> None:
    def stream(**columns: Any) -> bytes:
        return pa_stream(pa.table(columns))

    def pa_stream(table: pa.Table) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    top = np.array([0, 2**32 - 1], np.uint32)
    a = stream(name=["a", "b"], depth=top, only_a=[1, 2])
    b = stream(name=["a", "c"], depth=top[::-1], only_b=[1, 2])
    _, _, columns = diff_arrow(a, b)
    found = {column.name: column for column in columns}
    assert (found["name"].rows, found["name"].largest) == (1, None)
    assert (found["depth"].rows, found["depth"].largest) == (2, 2**32 - 1)
    assert (found["only_a"].note, found["only_b"].note) == ("removed", "added")
    assert diff_arrow(a, a) == (2, 2, ())
    empty = stream(x=np.zeros(0, np.int32))
    assert diff_arrow(empty, empty) == (0, 0, ())


def test_json_tells_null_from_absent() -> None:
    assert diff_json({"a": {"b": 1}, "n": None}, {"a": {"b": 2}, "m": [1]}) == (
        ("a.b", 1, 2),
        ("m", None, [1]),
        ("n", None, None),
    )
    assert diff_json({"a": [[1, 2], [3, 4]]}, {"a": [[1, 2], [3, 5]]}) == (("a.1", [3, 4], [3, 5]),)
