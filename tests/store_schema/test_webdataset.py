"""The examples and byte layouts of docs/store_format.md, run as they are printed there."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from store_schema import tables
from store_schema.clip import Clip
from store_schema.frame_store import ARRAYS
from store_schema.hashing import hash_json
from store_schema.version.dataset import Dataset, open_dataset
from store_schema.version.provenance import read_provenance
from tests.support.stores.small_version import SHARDS, write_small_version

DOCS = Path(__file__).parents[2] / "docs" / "store_format.md"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    write_small_version(store)
    return store


@pytest.fixture(scope="module")
def dataset(store: Path) -> Dataset:
    return open_dataset(store)


def code_block(name: str) -> str:
    (code,) = re.findall(rf"<!-- {name} example -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert not re.search(r"\b(store_schema|pipelines|flux4d|evaluation|training)\b", code)
    return code


def section(title: str) -> str:
    return re.split(r"^##+ ", DOCS.read_text().split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_webdataset_example_reads_what_our_reader_reads(dataset: Dataset) -> None:
    code = code_block("webdataset")
    function = code.split("def clips")[1].split("\n\n\n")[0]
    assert len(function.splitlines()) <= 20
    url = "STORE/versions/VERSION/shards/SHARD.tar"
    assert code.count(url) == 1
    read = {}
    for shard in SHARDS:
        names: dict[str, Any] = {}
        exec(compile(code.replace(url, str(dataset.folder / "shards" / shard)), str(DOCS), "exec"), names)
        for header, *rest in names["clips"](str(dataset.folder / "shards" / shard)):
            read[header["record"]["clip_id"]] = (header, *rest)
    assert set(read) == {record.clip_id for record in dataset.records}
    for clip_id, sample in read.items():
        check_sample(dataset.read(clip_id), *sample)


def check_sample(
    clip: Clip,
    header: dict[str, Any],
    means: np.ndarray,
    flow: np.ndarray,
    images: list[np.ndarray],
    depth_maps: list[np.ndarray],
) -> None:
    np.testing.assert_array_equal(means.astype(np.float32), clip.points.means)
    np.testing.assert_array_equal(flow.astype(np.float32), clip.points.flow)
    assert np.abs(flow).max() > 0.1
    assert len(images) == len(depth_maps) == len(header["views"]) == len(clip.views)
    for view, stated, image, depth in zip(clip.views, header["views"], images, depth_maps, strict=True):
        assert (view.frame, view.camera) == (stated["frame"], stated["camera"])
        np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(view.image))))
        assert image.shape == (view.height, view.width, 3)
        expected = np.full(view.height * view.width, np.nan, np.float32)
        assert not view.depth_visible.all()
        expected[view.depth_pixel[view.depth_visible]] = view.depth[view.depth_visible]
        np.testing.assert_array_equal(depth.astype(np.float32).ravel(), expected)
        assert np.isfinite(depth).any()


def run_range_example(store: str) -> dict[str, Any]:
    code = code_block("range")
    assert code.count('"STORE"') == 1
    names: dict[str, Any] = {}
    exec(compile(code.replace('"STORE"', repr(store)), str(DOCS), "exec"), names)
    return names


def test_the_range_example_reads_every_member_and_refuses_damage(store: Path, dataset: Dataset) -> None:
    names = run_range_example(str(store))
    assert len(names["points"]) == len(dataset.read(names["clip_id"]).points)
    place = names["files"], names["folder"], names["members"]
    for clip_id, members in dataset.members.items():
        for name in members:
            assert names["read_member"](*place, clip_id, name) == dataset.read_member(clip_id, name)
    member = dataset.members[names["clip_id"]]["points.arrow"]
    for path, byte, message in [
        (dataset.folder / "shards" / member.shard, member.offset, f"clip {member.clip_id}, member points.arrow"),
        (dataset.folder / "manifest.json", 30, "the manifest"),
    ]:
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[byte] ^= 2
        path.write_bytes(flipped)
        try:
            with pytest.raises(ValueError, match=f"{message} is not what was written"):
                run_range_example(str(store))
        finally:
            path.write_bytes(content)


def test_the_range_example_reads_from_an_object_store(store: Path, dataset: Dataset) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{store}/", "/range-example/", recursive=True)
    try:
        names = run_range_example("memory://range-example")
        assert len(names["points"]) == len(dataset.read(names["clip_id"]).points)
    finally:
        memory.rm("/range-example", recursive=True)


def header_of_the_docs(name: str, size: int) -> bytes:
    """A tar header from the table in the docs alone."""
    fields: dict[int, bytes] = {
        0: name.encode(),
        100: b"0000644\0",
        108: b"0000000\0",
        116: b"0000000\0",
        124: f"{size:011o}\0".encode(),
        136: b"00000000000\0",
        148: b" " * 8,
        156: b"0",
        257: b"ustar\x0000",
    }
    block = bytearray(512)
    for offset, value in fields.items():
        block[offset : offset + len(value)] = value
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize("shard", SHARDS)
def test_a_shard_is_byte_for_byte_what_the_docs_say(dataset: Dataset, shard: str) -> None:
    rows = sorted(
        (m.clip_id, m.member, m) for members in dataset.members.values() for m in members.values() if m.shard == shard
    )
    tar = b""
    for clip_id, name, member in rows:
        content = dataset.read_member(clip_id, name)
        tar += header_of_the_docs(f"{clip_id}.{name}", len(content))
        assert member.offset == len(tar)
        tar += content + bytes(-len(content) % 512)
    assert (dataset.folder / "shards" / shard).read_bytes() == tar + bytes(1024)


def test_the_provenance_s_hash_is_of_the_bytes_the_docs_say(dataset: Dataset) -> None:
    data = (dataset.folder / "provenance.json").read_bytes()
    assert "its bytes from 90 (counted from 0)" in DOCS.read_text()
    assert blake3(data[90 : data.rindex(b"}")]).hexdigest() == json.loads(data)["blake3"]
    assert set(read_provenance(dataset.folder)["files"]) == {"clips.parquet", "members.parquet", "logs.parquet"}


def test_the_docs_name_every_column_with_its_type() -> None:
    members, indexes = section("Arrow members"), section("Index files")
    for table, schema in tables.FILES.items():
        text = indexes if table.endswith(".parquet") else members
        block = re.split(r"\n\n", text.split(f"`{table}`", 1)[1], maxsplit=2)
        text = "\n\n".join(block[:2])
        for field in schema:
            assert f"`{field.name}`" in text, (table, field.name)
            kind = str(field.type).replace("list<item: ", "list of ").rstrip(">").replace("double", "float64")
            after = text.split(f"`{field.name}`", 1)[1]
            found = re.search(r"list of \w+|\b(u?int(8|16|32|64)|float64|string)\b", after)
            assert found is not None
            assert found[0] == kind, (table, field.name)


def test_the_docs_name_every_array_of_the_frame_store() -> None:
    text = section("Frame store")
    for name in ARRAYS:
        assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (-0.0, "-0.0"),
        (1557539958.5, "1557539958.5"),
        (3, "3"),
        (None, "null"),
        ('\x01\b\t\n\f\r"\\/\x7f\u2028é', '"\\u0001\\b\\t\\n\\f\\r\\"\\\\/\x7f\u2028é"'),
        ({"\U0001f600": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f600":1}'),
    ],
)
def test_canonical_json_is_what_the_docs_say(value: object, text: str) -> None:
    assert hash_json(value) == blake3(text.encode()).hexdigest()
