"""Stores of older releases are read for what they are; stores of newer ones are refused with the next step.

``fixtures/store_vN.tar.xz`` was written by the last release of schema version N from generated logs (who and where are
replaced in its provenance). ``fixtures/store_vN.json`` says what is in it: it was made from the fixture with pyarrow,
tarfile and blake3 alone, never with this package.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from store_schema import tables
from store_schema.camera_model import Pinhole
from store_schema.clip import Clip
from store_schema.frame_store import frames_key, read_frame, stored_input_hash
from store_schema.hashing import canonical_json, hash_bytes
from store_schema.migrations import check_schema_version
from store_schema.version.dataset import CLIPS_INDEX, LOGS_INDEX, SHARDS, Dataset, open_dataset, read_index
from store_schema.version.manifest import CorruptManifestError, schema_json
from store_schema.version.provenance import read_provenance
from store_schema.version.reader import ClipReader
from store_schema.version.shards import CorruptShardError
from store_schema.version.verify import verify_frames, verify_version
from tests.support.scenes.toy import make_clip
from tests.support.stores.small_version import write_small_version
from tests.support.stores.toy_store import encode

AXES = tuple(enumerate("xyz"))
FIXTURES = Path(__file__).parents[1] / "fixtures"
NEW_COLUMNS = {
    "num_ignored",
    "num_background_static",
    "num_foreground_static",
    "num_foreground_dynamic",
    "num_bytes",
}
SCHEMA_2 = "1c3e45280601ef6b25aa2e6cacc6e77063ca2f8d69921f7a990be7cc0c40da19"
"""blake3 of ``schema.json`` of schema version 2."""
SCHEMA_3 = "f30f8cf727b3625dc2c9e8eb71391a5aa90a2cfad1bb2b6c50a0aa820087f1d9"
"""blake3 of ``schema.json`` of schema version 3."""
SCHEMA_4 = "af0b5717cc4f1b25bd9cff62917b3e1fdc5cb79ccd58d880bb7b5f9ae1b9a924"
"""blake3 of ``schema.json`` of schema version 4."""
HEADER_4 = "781dbb2e897447e46ed1d7c6b1d03cffcdb7010a0aabb83c740511c0d6dda7a1"
"""blake3 of ``clip.json`` of the toy clip in schema version 4."""
MANIFEST_4 = {"schema_version", "schema", "config", "shards", "indexes", "counts", "left_out"}
MEMBERS_4 = {"clip.json", "points.arrow", "depth.arrow", "moving.arrow", "boxes.arrow"}


@pytest.fixture(params=range(1, tables.SCHEMA_VERSION), ids=lambda version: f"version {version}")
def old_version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def expected(old_version: int) -> dict[str, Any]:
    return json.loads((FIXTURES / f"store_v{old_version}.json").read_bytes())


@pytest.fixture
def old_store(tmp_path: Path, old_version: int) -> Path:
    with tarfile.open(FIXTURES / f"store_v{old_version}.tar.xz") as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def old(old_store: Path) -> Dataset:
    return open_dataset(old_store)


def test_the_version_opens_and_every_byte_is_as_it_was_written(
    old: Dataset, expected: dict[str, Any], old_version: int
) -> None:
    assert old.version == expected["version"]
    assert old.manifest.schema_version == expected["schema_version"] == old_version
    assert old.manifest.schema == {1: "", 2: SCHEMA_2, 3: SCHEMA_3}[old_version]
    assert list(verify_version(old.folder)) == []
    assert [record.clip_id for record in old.records] == sorted(expected["clips"])
    for clip_id, clip in expected["clips"].items():
        assert set(old.members[clip_id]) == set(clip["members"])
        for name, member in clip["members"].items():
            data = old.read_member(clip_id, name)
            assert (len(data), blake3(data).hexdigest()) == (member["size"], member["blake3"])


@pytest.mark.parametrize("old_version", [1], indirect=True)
def test_what_version_1_did_not_record_is_none(old: Dataset, expected: dict[str, Any]) -> None:
    rows = read_index(old.folder, CLIPS_INDEX, old.manifest)
    assert len(rows) == len(expected["index"]) == 3
    for row, was in zip(rows, expected["index"], strict=True):
        assert set(row) == set(tables.CLIPS.names) == set(was) | NEW_COLUMNS
        assert row == {**was, **dict.fromkeys(NEW_COLUMNS)}
    assert read_index(old.folder, LOGS_INDEX, old.manifest) == []
    assert "files" not in read_provenance(old.folder)


def test_points_depth_masks_and_boxes_have_the_written_values(old: Dataset, expected: dict[str, Any]) -> None:
    clips = {clip.record.clip_id: clip for clip in ClipReader(old, on_corrupt="skip").read_all()}
    assert set(clips) == set(expected["clips"])
    for clip_id, was in expected["clips"].items():
        check_clip(clips[clip_id], was)


def check_clip(clip: Clip, was: dict[str, Any]) -> None:
    assert clip.boxes is not None
    points, boxes = clip.points, clip.boxes
    old = was["header"]["schema_version"]
    assert (points.smooth_flow is None) == (old < 3)
    assert all(view.depth_visible.shape == view.depth.shape for view in clip.views)
    assert all(view.depth_visible.all() for view in clip.views) or old >= 3
    assert (clip.agents, set(points.agent.tolist())) == (("",), {0})
    assert {(view.name, view.agent, view.model, view.image_format) for view in clip.views} == {
        ("front_camera", "", Pinhole(), "jpeg")
    }
    smooth = {} if points.smooth_flow is None else {f"smooth_{n}": points.smooth_flow[:, i] * 1e3 for i, n in AXES}
    visible = {"visible": np.concatenate([view.depth_visible for view in clip.views])} if old >= 3 else {}
    stored = {
        "points.arrow": {
            **{name: points.means[:, axis] * 1e3 for axis, name in enumerate("xyz")},
            **{f"flow_{name}": points.flow[:, axis] * 1e3 for axis, name in enumerate("xyz")},
            **{name: points.rgb[:, channel] for channel, name in enumerate("rgb")},
            "scale": points.scales * 1e3,
            # Times of a fake log reach 1.5 s: float32 holds a microsecond there.
            "time": points.times.astype(np.float64) * 1e6,
            **{n: getattr(points, n) for n in ("camera", "frame", "sensor", "intensity", "in_view")},
            **{n: getattr(points, n) for n in ("flow_class", "bucket")},
            **smooth,
        },
        "depth.arrow": {
            "view": np.concatenate([np.full(len(view.depth), i) for i, view in enumerate(clip.views)]),
            "pixel": np.concatenate([view.depth_pixel for view in clip.views]),
            "depth": np.concatenate([view.depth for view in clip.views]) * 1e3,
            **visible,
        },
        "boxes.arrow": {
            "frame": boxes.frame,
            **{name: boxes.box2ego0[:, axis, 3] * 1e3 for axis, name in enumerate("xyz")},
            **{name: boxes.size[:, axis] * 1e3 for axis, name in enumerate(("width", "length", "height"))},
            "sensor": boxes.sensor,
            "moving": boxes.moving,
        },
    }
    for table, columns in stored.items():
        assert set(was["tables"][table]["columns"]) - set(columns) <= {"track", "label", "qw", "qx", "qy", "qz"}
        for name, values in columns.items():
            check_column(np.rint(values).astype(np.int64), was["tables"][table], name)
    for name in ("track", "label"):
        column = was["tables"]["boxes.arrow"]["columns"][name]
        held = getattr(boxes, name)
        assert (held[0], held[-1], sorted(set(held))) == (column["first"], column["last"], column["distinct"])
    moving = was["tables"]["moving.arrow"]["columns"]
    masks = [view.moving_mask for view in clip.views]
    assert sum(int(mask.sum()) for mask in masks if mask is not None) == moving["length"]["sum"]
    check_header(clip, was["header"])


def check_column(values: np.ndarray, table: dict[str, Any], name: str) -> None:
    column = table["columns"][name]
    assert len(values) == table["rows"], name
    assert (values[:3].tolist(), values[-3:].tolist()) == (column["first"], column["last"]), name
    assert int(values.sum()) == column["sum"], name
    assert int(np.abs(values).sum()) == column["abs_sum"], name
    assert int(((np.arange(len(values)) % 97 + 1) * values).sum()) == column["weighted"], name


def check_header(clip: Clip, was: dict[str, Any]) -> None:
    assert clip.record.clip_id == was["record"]["clip_id"]
    assert list(clip.record.input_frames) == was["record"]["input_frames"]
    assert (list(clip.rig_cameras), list(clip.view_cameras)) == (was["rig_cameras"], was["view_cameras"])
    assert clip.sweep_times.tolist() == was["sweep_times"]
    assert clip.ego2ego0[-1].tolist() == was["ego2ego0_last"]
    assert [[v.frame, v.camera, v.time, v.width, v.height] for v in clip.views] == was["views"]
    assert clip.views[-1].cam2ego0.tolist() == was["cam2ego0_last"]
    assert clip.views[-1].K.tolist() == was["K_last"]


@pytest.mark.parametrize("old_version", [3], indirect=True)
def test_frames_and_logs_of_version_3_are_of_one_agent_without_a_name(old_store: Path, old: Dataset) -> None:
    folder = old_store / "frames" / frames_key(old.manifest.config, 3) / "old1"
    clip = old.read("old1-evaluation-s000")
    for number in (0, 1):
        frame = read_frame(folder, number)
        assert [(view.name, view.agent, view.model, view.image_format) for view in frame.attributes.views] == [
            ("front_camera", "", Pinhole(), "jpeg")
        ]
        assert frame.attributes.views[0].K.tolist() == clip.views[number].K.tolist()
        assert frame.attributes.label == clip.boxes.label[4 * number : 4 * number + 4]
        assert not frame.arrays.agent.any()
        assert len(frame.arrays.agent) == len(frame.arrays.points) == 61
        # A build makes it again: its folder is another, and so is what it was made from.
        assert stored_input_hash(folder, number) is None
    assert list(verify_frames(old_store)) == []
    assert [row["agents"] for row in read_index(old.folder, LOGS_INDEX, old.manifest)] == [[""], [""]]


def test_damage_to_an_old_store_is_found_too(old_store: Path, old: Dataset) -> None:
    clip_id = old.records[0].clip_id
    member = old.members[clip_id]["points.arrow"]
    path = old.folder / SHARDS / member.shard
    data = bytearray(path.read_bytes())
    data[member.offset + 40] ^= 4
    path.write_bytes(bytes(data))
    problems = list(verify_version(old.folder))
    assert [(problem.file, problem.clips) for problem in problems] == [(path, (clip_id,))]
    with pytest.raises(CorruptShardError, match=f"clip {clip_id}, member points.arrow"):
        old.read(clip_id)
    reader = ClipReader(old, on_corrupt="skip")
    assert len(list(reader.read_all())) == 2
    assert list(reader.skipped) == [clip_id]
    index = old.folder / CLIPS_INDEX
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(CorruptManifestError, match=CLIPS_INDEX):
        open_dataset(old_store)


def test_a_schema_from_the_future_is_refused_with_the_next_step(old_store: Path, old: Dataset) -> None:
    future = tables.SCHEMA_VERSION + 1
    raw = json.loads((old.folder / "manifest.json").read_bytes())
    manifest = canonical_json({**raw, "schema_version": future, "schema": "0" * 64, "colour_space": "new"})
    folder = old_store / "versions" / hash_bytes(manifest)
    old.folder.rename(folder)
    (folder / "manifest.json").write_bytes(manifest)
    message = rf"schema version {future}, this reader knows 1 to {future - 1}: install the release that wrote it"
    with pytest.raises(ValueError, match=message):
        open_dataset(old_store, folder.name)
    (problem,) = verify_version(folder)
    assert "install the release that wrote it" in problem.reason
    for unknown in (0, -1, future):
        with pytest.raises(ValueError, match="build the store again"):
            check_schema_version(unknown)


def test_a_manifest_without_a_schema_version_is_corrupt_not_old(old_store: Path, old: Dataset) -> None:
    for content in (b"{}", b"[]", b'{"schema_version":"1"}', b'{"schema_version":null}', b"\xff"):
        folder = old_store / "versions" / hash_bytes(content)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises(CorruptManifestError, match="not a manifest"):
            open_dataset(old_store, folder.name)
        assert "not a manifest" in next(verify_version(folder)).reason


def test_whoever_changes_a_column_raises_the_schema_version() -> None:
    """Hashes of what does not depend on the version of pyarrow: the schema, and a header written from fixed data."""
    found = {
        "SCHEMA_VERSION": tables.SCHEMA_VERSION,
        "SCHEMA_4": hash_bytes(schema_json()),
        "HEADER_4": hash_bytes(encode(make_clip())["clip.json"]),
    }
    assert found == {"SCHEMA_VERSION": 4, "SCHEMA_4": SCHEMA_4, "HEADER_4": HEADER_4}, (
        "what is stored changed (a column, type, unit, note or the header of a clip): "
        "(1) raise SCHEMA_VERSION in store_schema/tables.py, "
        "(2) add the step from the old version to store_schema/migrations.py, (3) keep a store that the old release "
        "wrote as tests/fixtures/store_v4.tar.xz, with store_v4.json, (4) describe the change in "
        "docs/store_format.md, (5) put the new hashes here"
    )


def test_a_version_4_on_disk_has_the_schema_it_states(tmp_path: Path) -> None:
    folder = write_small_version(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert set(manifest) == MANIFEST_4
    assert (manifest["schema_version"], manifest["schema"]) == (4, SCHEMA_4)
    assert blake3((folder / "schema.json").read_bytes()).hexdigest() == SCHEMA_4
    columns = json.loads((folder / "schema.json").read_bytes())["tables"]
    for name in ("clips.parquet", "logs.parquet", "members.parquet"):
        check_fields(pq.read_schema(folder / name), columns[name])
    with tarfile.open(next(folder.glob("shards/*.tar"))) as tar:
        names = {info.name.partition(".")[2] for info in tar}
        assert {name for name in names if not name.endswith(".jpg")} == MEMBERS_4
        for info in tar:
            if info.name.endswith(".arrow"):
                stream = pa.ipc.open_stream(tar.extractfile(info).read())
                check_fields(stream.schema, columns[info.name.partition(".")[2]])


def check_fields(schema: pa.Schema, columns: list[dict[str, Any]]) -> None:
    for field, column in zip(schema, columns, strict=True):
        # Parquet calls the values of a list `element`, Arrow calls them `item`.
        kind = str(field.type).replace("element: ", "item: ")
        stated = {"name": field.name, "type": kind, "nullable": field.nullable}
        # Parquet adds ids of its own to the metadata of a field.
        held = {k.decode(): v.decode() for k, v in field.metadata.items() if not k.startswith(b"PARQUET:")}
        assert {**stated, **held} == column


def test_a_tiny_version_4_table_has_the_bytes_any_reader_can_rely_on() -> None:
    columns = {"view": np.array([0, 1], np.int16), "pixel": np.array([7, 9], np.int32)}
    data = tables.to_ipc(
        tables.DEPTH_SAMPLES,
        {**columns, "depth": np.array([1500, 65_000], np.uint32), "visible": np.array([1, 0], np.uint8)},
    )
    stream = pa.ipc.open_stream(data)
    assert stream.schema.field("depth").metadata == {
        b"unit": b"m",
        b"step": b"0.001",
        b"grid": b"depth",
        b"max_error": b"0.0005",
    }
    batches = list(stream)
    assert len(batches) == 1
    assert batches[0].to_pydict() == {"view": [0, 1], "pixel": [7, 9], "depth": [1500, 65_000], "visible": [1, 0]}
