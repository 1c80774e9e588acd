from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from store_schema.version.dataset import open_dataset
from store_schema.version.manifest import CorruptManifestError
from store_schema.version.shards import CorruptShardError
from store_schema.version.verify import verify_version
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store


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


def test_members_are_read_together_and_unknown_ones_are_named(store: Path) -> None:
    dataset = open_dataset(store)
    clip_id = dataset.records[0].clip_id
    names = list(dataset.members[clip_id])
    found = dataset.read_members(clip_id, names[::-1])
    assert found == {name: dataset.read_member(clip_id, name) for name in names}
    assert found == {
        name: (dataset.folder / "shards" / place.shard).read_bytes()[place.offset : place.offset + place.size]
        for name, place in dataset.members[clip_id].items()
    }
    assert dataset.read_members(clip_id, []) == {}
    assert list(dataset.read_members(clip_id, [names[0], names[0]])) == [names[0]]
    with pytest.raises(KeyError, match=f"clip {clip_id} has no member 'x'; it has .*points.arrow"):
        dataset.read_members(clip_id, ["x"])


def test_one_open_file_serves_all_members_of_a_clip(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(store)
    opened: list[Path] = []
    original = Path.open

    def counting(path: Path, *arguments: object, **options: object) -> object:
        opened.append(path)
        return original(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", counting)
    dataset.read(dataset.records[0].clip_id)
    assert [path.name for path in opened] == ["all.tar"]


def test_a_dataset_pickles(store: Path) -> None:
    dataset = open_dataset(store)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.records == dataset.records
    assert len(again.read(dataset.records[0].clip_id).points)
