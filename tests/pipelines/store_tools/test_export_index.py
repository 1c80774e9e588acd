from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from rich.console import Console

from pipelines.store_tools.commands import ExportIndex, run_export_index
from store_schema.hashing import hash_bytes
from store_schema.version.dataset import CLIPS_INDEX, Dataset, open_dataset, read_index
from tests.support.stores.many_versions import as_schema_1, tiny_clip, write_shards


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    write_shards(
        folder,
        {
            "test-evaluation-00000.tar": [tiny_clip("001", 0), tiny_clip("001", 20, seed=1)],
            "train-train-future-00000.tar": [tiny_clip("002", 0, "train_future", 2)],
            "train-train-interpolation-00000.tar": [tiny_clip("002", 0, "train_interpolation", 3)],
        },
    )
    return folder


def export(store: Path, out: Path, form: Any, **options: Any) -> None:
    assert run_export_index(ExportIndex(str(store), out, form, **options), Console(stderr=True)) == 0


def rows_of(path: Path, form: str) -> list[dict[str, Any]]:
    if form == "parquet":
        return list(pq.read_table(path).to_pylist())
    if form == "jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    rows = []
    for row in csv.DictReader(io.StringIO(path.read_text())):
        numbers = {name: int(value) for name, value in row.items() if value.isdigit() and name != "log_id"}
        lists = {name: json.loads(value) for name, value in row.items() if value.startswith("[")}
        rows.append({**row, **numbers, **lists})
    return rows


def check(dataset: Dataset, rows: list[dict[str, Any]], folder: Path) -> None:
    index = {row["clip_id"]: row for row in read_index(dataset.folder, CLIPS_INDEX, dataset.manifest)}
    for row in rows:
        assert {name: row[name] for name in index[row["clip_id"]]} == index[row["clip_id"]]
        assert row["version"] == dataset.version
        shard = (folder / row["url"]).read_bytes()
        assert len(shard) == row["shard_size"]
        members = row["members"]
        assert [member["member"] for member in members] == sorted(dataset.members[row["clip_id"]])
        for member in members:
            content = shard[member["offset"] : member["offset"] + member["size"]]
            assert hash_bytes(content) == member["blake3"]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_row_leads_to_its_bytes(store: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "elsewhere" / f"index.{form}"
    export(store, out, form)
    rows = rows_of(out, form)
    assert len(rows) == 4
    check(open_dataset(store), rows, out.parent)


def test_parquet_says_what_its_columns_are(store: Path, tmp_path: Path) -> None:
    export(store, tmp_path / "i.parquet", "parquet")
    schema = pq.read_schema(tmp_path / "i.parquet")
    assert schema.field("num_coloured").metadata[b"note"] == b"points that have a colour"
    assert not schema.field("url").nullable


def test_filters_and_an_empty_choice(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(store, tmp_path / "i.jsonl", "jsonl", split="train", setting="train_future")
    assert [row["clip_id"] for row in rows_of(tmp_path / "i.jsonl", "jsonl")] == ["002-train_future-s000"]
    assert capsys.readouterr().out == f"{tmp_path / 'i.jsonl'}\n"
    with pytest.raises(ValueError, match=r"no clip of split test and setting train_future.*'test/evaluation': 2"):
        export(store, tmp_path / "none.jsonl", "jsonl", split="test", setting="train_future")
    assert not (tmp_path / "none.jsonl").exists()


def test_a_prefix_stands_for_the_store(store: Path, tmp_path: Path) -> None:
    export(store, tmp_path / "i.jsonl", "jsonl", url_prefix="s3://bucket/street/")
    version = open_dataset(store).version
    urls = {row["url"] for row in rows_of(tmp_path / "i.jsonl", "jsonl")}
    assert f"s3://bucket/street/versions/{version}/shards/test-evaluation-00000.tar" in urls


def test_wids_has_a_file_per_split_that_webdataset_can_follow(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(store, tmp_path / "index.json", "wids")
    assert capsys.readouterr().out.split() == [str(tmp_path / f"index-{split}.json") for split in ("test", "train")]
    assert not (tmp_path / "index.json").exists()
    seen = {}
    for split in ("test", "train"):
        index = json.loads((tmp_path / f"index-{split}.json").read_bytes())
        assert (index["__kind__"], index["wids_version"]) == ("wids-shard-index-v1", 1)
        for shard in index["shardlist"]:
            path = tmp_path / shard["url"]
            assert path.stat().st_size == shard["filesize"]
            samples = list(wds.WebDataset(str(path), shardshuffle=False))
            assert len(samples) == shard["nsamples"]
            seen.update({sample["__key__"]: split for sample in samples})
    assert seen == {record.clip_id: record.split for record in open_dataset(store).records}


def test_wids_refuses_shards_that_hold_more_than_was_chosen(tmp_path: Path) -> None:
    write_shards(tmp_path, {"all.tar": [tiny_clip("001"), tiny_clip("002", 0, "train_future")]})
    with pytest.raises(ValueError, match=r"all.tar also holds clip 002-train_future-s000 \(train, train_future\)"):
        export(tmp_path, tmp_path / "i.json", "wids", split="test")


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_what_schema_1_did_not_record_is_null(tmp_path: Path, form: str) -> None:
    as_schema_1(tmp_path, write_shards(tmp_path, {"all.tar": [tiny_clip("001")]}))
    export(tmp_path, tmp_path / f"i.{form}", form)
    [row] = rows_of(tmp_path / f"i.{form}", form)
    assert row["num_bytes"] in (None, "")
    assert row["num_points"] == 180
