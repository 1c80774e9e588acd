from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store_schema.dataset import open_dataset
from store_schema.manifest import CorruptManifestError
from store_schema.shards import CorruptShardError
from store_schema.verify import verify_version
from tests.toy import make_clip
from tests.toy_store import write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path, [make_clip(), make_clip(setting="train_interpolation", seed=1)])
    return tmp_path


def test_clips_are_read_by_id(store: Path) -> None:
    dataset = open_dataset(store)
    assert [record.clip_id for record in dataset.records] == ["toy-evaluation-s000", "toy-train_interpolation-s000"]
    clip = dataset.read("toy-train_interpolation-s000")
    np.testing.assert_allclose(
        clip.points.means, make_clip(seed=1, setting="train_interpolation").points.means, atol=6e-4
    )
    assert len(dataset.select(split="test")) == 1
    assert list(verify_version(dataset.folder)) == []


def test_a_version_opens_by_its_beginning_and_unknown_ones_are_named(store: Path) -> None:
    version = open_dataset(store).version
    assert open_dataset(store, version[:8]).version == version
    with pytest.raises(FileNotFoundError, match="matches 0 of"):
        open_dataset(store, "zz")
    with pytest.raises(FileNotFoundError, match="flux4d-build build"):
        open_dataset(store / "elsewhere")
    with pytest.raises(KeyError, match="no clip 'x'"):
        open_dataset(store).read("x")


def test_a_flipped_bit_in_a_shard_is_found_on_read_and_by_verify(store: Path) -> None:
    dataset = open_dataset(store)
    member = dataset.members["toy-evaluation-s000"]["points.arrow"]
    path = dataset.folder / "shards" / member.shard
    data = bytearray(path.read_bytes())
    data[member.offset + 100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptShardError, match="clip toy-evaluation-s000, member points"):
        dataset.read("toy-evaluation-s000")
    dataset.read("toy-train_interpolation-s000")
    problems = list(verify_version(dataset.folder))
    assert len(problems) == 1
    assert "toy-evaluation-s000" in str(problems[0])
    assert "toy-train_interpolation-s000" not in str(problems[0])
    path.unlink()
    assert "missing" in str(next(verify_version(dataset.folder)))
    with pytest.raises(CorruptShardError, match="is missing"):
        dataset.read("toy-evaluation-s000")


@pytest.mark.parametrize("name", ["manifest.json", "clips.parquet", "members.parquet"])
def test_flipped_bits_in_manifest_or_index_are_found_on_opening(store: Path, name: str) -> None:
    path = open_dataset(store).folder / name
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 25):
        data = bytearray(content)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            rows = open_dataset(store).records
        except CorruptManifestError:
            continue
        # A flip in Parquet's own bookkeeping may change nothing that is read.
        path.write_bytes(content)
        assert rows == open_dataset(store).records
