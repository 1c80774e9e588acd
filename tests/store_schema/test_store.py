"""Codec, shards, frame store, manifest and reader, on a clip made in memory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis.extra import numpy as hnp

from store_schema import tables
from store_schema.codec import ClipHeader, ClipTables, decode_clip, encode_clip, mask_from_runs, mask_runs
from store_schema.frame_store import (
    ARRAYS,
    CorruptFrameError,
    FrameArrays,
    frame_path,
    read_frame,
    stored_input_hash,
    write_frame,
)
from store_schema.hashing import canonical_json, hash_bytes
from store_schema.version.manifest import CorruptManifestError, Manifest, parse_manifest, schema_json
from store_schema.version.shards import CorruptShardError, check_member, index_shard, write_shard
from tests.support.logs.small_frame import make_frame
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import encode


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    return encode(make_clip())


def test_a_header_of_an_old_clip_is_not_put_before_new_tables(members: dict[str, bytes]) -> None:
    old = members["clip.json"].replace(b'"schema_version":%d' % tables.SCHEMA_VERSION, b'"schema_version":2')
    header = ClipHeader.from_json(old)
    assert header.schema_version == 2
    with pytest.raises(ValueError, match="a header of schema 2 cannot stand before tables of schema"):
        encode_clip(header, ClipTables({}, {}, None, None), [b""] * len(header.views))


def test_names_of_images_are_one_agent_s_as_ever_and_different_for_different_agents(members: dict[str, bytes]) -> None:
    view = ClipHeader.from_json(members["clip.json"]).views[0]
    names = [
        replace(view, agent=agent, camera=camera, image_format=kind).member
        for agent, camera, kind in (("", "a_b", "jpeg"), ("a", "b_c", "jpeg"), ("a_b", "c", "jpeg"), ("a", "b", "png"))
    ]
    assert names == ["f00_a_b.jpg", "f00_b_c@a.jpg", "f00_c@a_b.jpg", "f00_b@a.png"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"camera": "front.0"}, "cannot name a member"),
        ({"agent": "a@b", "camera": "c"}, "cannot name a member"),
        ({"agent": "lorry"}, r"is of no agent of the clip, which has \[''\]"),
        ({"frame": 1}, "a camera has two views of one frame"),
    ],
)
def test_views_whose_images_could_not_be_told_apart_are_refused(
    members: dict[str, bytes], changes: dict, reason: str
) -> None:
    header = ClipHeader.from_json(members["clip.json"])
    odd = replace(header, views=(replace(header.views[0], **changes), *header.views[1:]))
    with pytest.raises(ValueError, match=reason):
        encode_clip(odd, ClipTables({}, {}, None, None), [b""] * len(odd.views))


def test_a_header_that_names_another_image_is_refused(members: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"names 'f00_rear\.jpg' for the image 'f00_front_camera\.jpg'"):
        ClipHeader.from_json(members["clip.json"].replace(b'"f00_front_camera.jpg"', b'"f00_rear.jpg"'))


def test_a_clip_comes_back_within_the_stated_grids(members: dict[str, bytes]) -> None:
    clip = make_clip()
    back = decode_clip(members.__getitem__, tuple(members))
    assert back.record == clip.record
    for name, tolerance in {"means": 5e-4, "scales": 5e-4, "times": 5e-7, "flow": 5e-4, "smooth_flow": 5e-4}.items():
        np.testing.assert_allclose(
            getattr(back.points, name), getattr(clip.points, name), atol=tolerance * 1.01, rtol=1e-6
        )
    for name in ("rgb", "camera", "frame", "sensor", "agent", "intensity", "in_view", "flow_class", "bucket"):
        np.testing.assert_array_equal(getattr(back.points, name), getattr(clip.points, name))
    for view, original in zip(back.views, clip.views, strict=True):
        np.testing.assert_array_equal(view.depth_visible, original.depth_visible)
        assert view.image == original.image
        assert (view.frame, view.camera, view.role) == (original.frame, original.camera, original.role)
        np.testing.assert_array_equal(view.moving_mask, original.moving_mask)
        np.testing.assert_array_equal(view.depth_pixel, original.depth_pixel)
        np.testing.assert_allclose(view.depth, original.depth, atol=5.1e-4)
        np.testing.assert_allclose(view.cam2ego0, original.cam2ego0, atol=1e-9)
    assert back.boxes is None


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_mask_runs_round_trip(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(mask_from_runs(*mask_runs(mask), *mask.shape), mask)


def test_columns_other_than_the_schema_are_refused() -> None:
    with pytest.raises(ValueError, match="are not those of the schema"):
        tables.to_ipc(tables.DEPTH_SAMPLES, {"view": np.zeros(1, np.int16)})


def test_the_same_samples_give_the_same_tar(tmp_path: Path, members: dict[str, bytes]) -> None:
    first = write_shard(tmp_path / "a" / "x.tar", [("clip-0", members), ("clip-1", members)])
    backwards = dict(reversed(members.items()))
    second = write_shard(tmp_path / "b" / "x.tar", [("clip-0", backwards), ("clip-1", members)])
    assert first == second
    assert (tmp_path / "a" / "x.tar").read_bytes() == (tmp_path / "b" / "x.tar").read_bytes()
    assert index_shard(tmp_path / "a" / "x.tar") == first


def test_plain_webdataset_reads_a_shard(tmp_path: Path, members: dict[str, bytes]) -> None:
    write_shard(tmp_path / "x.tar", [("clip-0", members), ("clip-1", members)])
    samples = list(webdataset.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["clip-0", "clip-1"]
    for sample in samples:
        assert {name: sample[name] for name in members} == members


def test_tar_headers_say_nothing_of_the_writer(tmp_path: Path, members: dict[str, bytes]) -> None:
    write_shard(tmp_path / "x.tar", [("clip-0", members)])
    with tarfile.open(tmp_path / "x.tar") as tar:
        for info in tar:
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, 0, "", "", 0o644)


def test_every_flipped_bit_of_a_member_is_found_and_named(tmp_path: Path, members: dict[str, bytes]) -> None:
    shard = write_shard(tmp_path / "x.tar", [("clip-0", members)])
    content = (tmp_path / "x.tar").read_bytes()
    rng = np.random.default_rng(0)
    for member in shard.members:
        data = bytearray(content[member.offset : member.offset + member.size])
        assert check_member(bytes(data), member) == data
        for _ in range(20):
            place, bit = rng.integers(len(data)), rng.integers(8)
            data[place] ^= 1 << bit
            with pytest.raises(CorruptShardError, match=f"x.tar, clip clip-0, member {member.member}"):
                check_member(bytes(data), member)
            data[place] ^= 1 << bit


@pytest.mark.parametrize("cut", [1, 600, 5000])
def test_a_truncated_shard_is_refused(tmp_path: Path, members: dict[str, bytes], cut: int) -> None:
    path = tmp_path / "x.tar"
    write_shard(path, [("clip-0", members)])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(CorruptShardError, match=r"x\.tar"):
        index_shard(path)


def test_keys_with_dots_and_double_keys_are_refused(tmp_path: Path) -> None:
    for samples in ([("a.b", {"x": b""})], [("a", {"x": b""}), ("a", {"x": b""})]):
        with pytest.raises(ValueError, match="sample key"):
            write_shard(tmp_path / "x.tar", samples)
        assert list(tmp_path.iterdir()) == []


def test_a_frame_comes_back_exactly(tmp_path: Path) -> None:
    frame = make_frame()
    assert stored_input_hash(tmp_path, 3) is None
    write_frame(tmp_path, frame, "input")
    assert stored_input_hash(tmp_path, 3) == "input"
    back = read_frame(tmp_path, 3)
    assert back.attributes.to_json() == frame.attributes.to_json()
    for field in fields(FrameArrays):
        array = getattr(back.arrays, field.name)
        np.testing.assert_array_equal(array, getattr(frame.arrays, field.name))
        assert array.dtype == getattr(frame.arrays, field.name).dtype


def test_a_lost_or_flipped_chunk_is_an_error_not_zeros(tmp_path: Path) -> None:
    write_frame(tmp_path, make_frame(), "input")
    path = frame_path(tmp_path, 3)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    chunks = [name for name in entries if "/c/" in name]
    assert len(chunks) > 10
    for chunk in chunks:
        data = bytearray(entries[chunk])
        data[len(data) // 2] ^= 4
        for changed in ({**entries, chunk: bytes(data)}, {name: entries[name] for name in entries if name != chunk}):
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in changed.items():
                    archive.writestr(name, content)
            with pytest.raises(CorruptFrameError, match=r"f0003\.zarr\.zip"):
                read_frame(tmp_path, 3)
            # Arrays that were not asked for are not read.
            others = [name for name in ARRAYS if name != chunk.split("/")[0]]
            assert read_frame(tmp_path, 3, others).frame == 3


def test_the_same_frame_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_frame(tmp_path / folder, make_frame(), "input")
    assert frame_path(tmp_path / "a", 3).read_bytes() == frame_path(tmp_path / "b", 3).read_bytes()


def test_manifest_hash_is_its_content_and_nothing_else() -> None:
    parts = {
        "config": {"b": 1, "a": [2]},
        "shards": {},
        "indexes": {},
        "counts": {"train/x": 1},
        "left_out": {},
        "schema": hash_bytes(schema_json()),
    }
    manifest = Manifest(**parts)
    shuffled = Manifest(**{**parts, "config": {"a": [2], "b": 1}})
    assert manifest.version == shuffled.version == hash_bytes(manifest.to_json())
    assert parse_manifest(manifest.to_json(), manifest.version) == manifest
    assert Manifest(**{**parts, "counts": {"train/x": 2}}).version != manifest.version
    with pytest.raises(CorruptManifestError, match="hashes to"):
        parse_manifest(manifest.to_json().replace(b":1", b":3", 1), manifest.version)


def test_canonical_json_refuses_what_has_no_one_form() -> None:
    assert canonical_json({"b": 1.5, "a": "é"}) == '{"a":"é","b":1.5}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_parquet_pages_are_checked() -> None:
    rows = [
        {"clip_id": f"c{i}", "member": "m" * 40, "shard": "s", "offset": i, "size": 1, "blake3": "h" * 64}
        for i in range(500)
    ]
    data = tables.to_parquet(tables.MEMBERS, rows)
    assert tables.from_parquet(tables.MEMBERS, data) == [{n: r[n] for n in tables.MEMBERS.names} for r in rows]
    broken = bytearray(data)
    broken[60] ^= 1
    with pytest.raises(OSError):  # noqa: PT011 - the message is pyarrow's
        tables.from_parquet(tables.MEMBERS, bytes(broken))
    assert io.BytesIO(data).read(4) == b"PAR1"
