"""Every damage to a stored byte is found and named, and none is ever read as data."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import webdataset

from store_schema import tables
from store_schema.clip import Clip
from store_schema.frame_store import (
    CorruptFrameError,
    FrameArrays,
    StoredFrame,
    frame_path,
    read_frame,
    stored_input_hash,
    write_frame,
)
from store_schema.version.dataset import LOGS_INDEX, open_dataset, read_index
from store_schema.version.manifest import CorruptManifestError
from store_schema.version.reader import ClipReader
from store_schema.version.shards import CorruptShardError, Member
from store_schema.version.verify import Problem, verify_frames, verify_version
from tests.support.logs.small_frame import make_frame
from tests.support.stores.small_version import SHARDS, same, write_small_version

T = TypeVar("T")
READ_ON_OPENING = ("manifest.json", "clips.parquet", "members.parquet")
NOT_READ_ON_OPENING = ("logs.parquet", "provenance.json", "schema.json")
SHARD_FILES = tuple(f"shards/{name}" for name in SHARDS)
FILES = READ_ON_OPENING + NOT_READ_ON_OPENING + SHARD_FILES
FLIPS = dict.fromkeys(READ_ON_OPENING + NOT_READ_ON_OPENING, 45) | dict.fromkeys(SHARD_FILES, 100)
TRUNCATIONS = 12
END_MARK = 1024


@dataclass(frozen=True)
class Version:
    """An intact version and what it holds."""

    store: Path
    folder: Path
    contents: Mapping[str, bytes]
    clips: Mapping[str, Clip]
    members: Mapping[str, tuple[Member, ...]]
    """By file, in order."""
    logs: list[dict[str, object]]

    def verify(self) -> dict[str, Problem]:
        """Problems by the file they name; no file is named twice."""
        problems = list(verify_version(self.folder))
        found = {str(problem.file.relative_to(self.folder)): problem for problem in problems}
        assert len(found) == len(problems)
        return found

    @contextmanager
    def with_files(self, files: Mapping[str, bytes | None]) -> Iterator[None]:
        """The version with other content in some files; None removes one."""
        try:
            for name, data in files.items():
                path = self.folder / name
                path.parent.mkdir(exist_ok=True)
                path.unlink() if data is None else path.write_bytes(data)
            yield
        finally:
            for name in files:
                (self.folder / name).unlink(missing_ok=True)
                if name in self.contents:
                    (self.folder / name).write_bytes(self.contents[name])


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    store = tmp_path_factory.mktemp("store")
    folder = write_small_version(store)
    dataset = open_dataset(store)
    members: dict[str, list[Member]] = {}
    for places in dataset.members.values():
        for member in places.values():
            members.setdefault(f"shards/{member.shard}", []).append(member)
    return Version(
        store=store,
        folder=folder,
        contents={str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()},
        clips={record.clip_id: dataset.read(record.clip_id) for record in dataset.records},
        members={name: tuple(sorted(held, key=lambda m: m.offset)) for name, held in members.items()},
        logs=read_index(folder, LOGS_INDEX, dataset.manifest),
    )


def flipped(content: bytes, place: int, bit: int) -> bytes:
    data = bytearray(content)
    data[place] ^= 1 << bit
    return bytes(data)


def after_header(member: Member) -> tuple[int, int]:
    """First byte of a member's tar header and the byte behind its padding."""
    return member.offset - 512, -(-(member.offset + member.size) // 512) * 512


def part_at(members: Iterable[Member], place: int) -> tuple[str, Member | None]:
    """What of a tar lies at a byte."""
    for member in members:
        start, end = after_header(member)
        if start <= place < end:
            if place < member.offset:
                return "header", member
            return ("content" if place < member.offset + member.size else "padding"), member
    return "end mark", None


def attempt(read: Callable[[], T]) -> T | Exception:
    """What is read, or the error that refuses it; any other error fails the test."""
    try:
        return read()
    except (CorruptManifestError, CorruptFrameError, FileNotFoundError) as error:
        return error


def check_reading(version: Version, damaged: Iterable[str], hit: Iterable[str] = ()) -> str:
    """Reading raises with the file's name, or drops exactly the `hit` clips and gives all others as they were."""
    hit, damaged = set(hit), set(damaged)
    dataset = attempt(lambda: open_dataset(version.store))
    if isinstance(dataset, Exception):
        assert any(name in str(dataset) for name in damaged), dataset
        assert damaged & set(READ_ON_OPENING)
        return "refused"
    reader = ClipReader(dataset, on_corrupt="skip")
    read = {clip.record.clip_id: clip for clip in reader.read_all()}
    assert set(reader.skipped) == hit
    assert set(read) == set(version.clips) - hit
    for clip_id, clip in read.items():
        assert same(clip, version.clips[clip_id]), clip_id
    for clip_id in hit:
        shard = next(m.shard for held in version.members.values() for m in held if m.clip_id == clip_id)
        with pytest.raises(CorruptShardError, match=rf"{shard}.*clip {clip_id}, member \S+\.(json|arrow|jpg)"):
            dataset.read(clip_id)
        assert f"clip {clip_id}" in reader.skipped[clip_id]
    logs = attempt(lambda: read_index(version.folder, LOGS_INDEX, dataset.manifest))
    if isinstance(logs, Exception):
        assert LOGS_INDEX in str(logs)
        assert LOGS_INDEX in damaged
    else:
        assert logs == version.logs
    return "dropped" if hit else "read"


def test_the_files_are_all_there_are_and_the_intact_version_has_no_problem(version: Version) -> None:
    assert set(version.contents) == set(FILES) == set(FLIPS)
    assert sum(FLIPS.values()) >= 500
    assert min(FLIPS.values()) >= 40
    assert version.verify() == {}
    assert check_reading(version, []) == "read"
    assert len(version.clips) == 6


@pytest.mark.parametrize("name", READ_ON_OPENING + NOT_READ_ON_OPENING)
def test_every_flipped_bit_beside_the_shards_is_found_and_never_read(version: Version, name: str) -> None:
    rng = np.random.default_rng(FILES.index(name))
    content = version.contents[name]
    outcomes: Counter[str] = Counter()
    for place in rng.integers(len(content), size=FLIPS[name]):
        with version.with_files({name: flipped(content, place, rng.integers(8))}):
            assert set(version.verify()) == {name}, place
            outcomes[check_reading(version, [name])] += 1
    if name == "manifest.json":
        assert set(outcomes) == {"refused"}
    elif name in READ_ON_OPENING:
        # Some of Parquet's bookkeeping is not needed to read the rows; that is why verify compares the bytes.
        assert set(outcomes) == {"refused", "read"}
    else:
        assert set(outcomes) == {"read"}


@pytest.mark.parametrize("name", SHARD_FILES)
def test_every_flipped_bit_of_a_shard_names_its_clip_and_drops_no_other(version: Version, name: str) -> None:
    rng = np.random.default_rng(FILES.index(name))
    content = version.contents[name]
    in_end_mark = rng.integers(len(content) - END_MARK, len(content), 5)
    places = np.concatenate([rng.integers(len(content), size=FLIPS[name] - 5), in_end_mark])
    parts: Counter[str] = Counter()
    for place in places:
        part, member = part_at(version.members[name], place)
        parts[part] += 1
        clips = () if member is None else (member.clip_id,)
        with version.with_files({name: flipped(content, place, rng.integers(8))}):
            problems = version.verify()
            assert set(problems) == {name}
            assert problems[name].clips == clips
            if member is None:
                assert "end mark" in str(problems[name])
            else:
                assert f"{member.clip_id}.{member.member}" in str(problems[name])
            check_reading(version, [name], clips if part == "content" else ())
    assert set(parts) == {"header", "content", "padding", "end mark"}


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found_and_never_read(version: Version, name: str) -> None:
    content = version.contents[name]
    places = np.random.default_rng(FILES.index(name)).integers(len(content), size=TRUNCATIONS)
    for place in (0, len(content) - 1, *places.tolist()):
        held = version.members.get(name, ())
        broken = tuple(dict.fromkeys(member.clip_id for member in held if after_header(member)[1] > place))
        hit = {member.clip_id for member in held if member.offset + member.size > place}
        with version.with_files({name: content[:place]}):
            problems = version.verify()
            assert set(problems) == {name}
            assert problems[name].clips == broken
            outcome = check_reading(version, [name], hit)
            assert outcome == "refused" or name not in READ_ON_OPENING


@pytest.mark.parametrize("name", FILES)
def test_a_removed_file_is_found_and_named(version: Version, name: str) -> None:
    clips = tuple(dict.fromkeys(member.clip_id for member in version.members.get(name, ())))
    with version.with_files({name: None}):
        problems = version.verify()
        assert set(problems) == {name}
        assert problems[name].clips == clips
        assert (check_reading(version, [name], clips) == "refused") == (name in READ_ON_OPENING)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("tail", [b"\n", b"\0", bytes(512), b"\xa5" * 700], ids=["newline", "zero", "block", "noise"])
def test_bytes_added_at_the_end_are_found_and_never_read(version: Version, name: str, tail: bytes) -> None:
    with version.with_files({name: version.contents[name] + tail}):
        problems = version.verify()
        assert set(problems) == {name}
        assert problems[name].clips == ()
        check_reading(version, [name])


@pytest.mark.parametrize(("one", "other"), [(SHARD_FILES[0], SHARD_FILES[1]), (SHARD_FILES[2], SHARD_FILES[1])])
def test_shards_that_changed_places_are_both_named_with_all_their_clips(version: Version, one: str, other: str) -> None:
    with version.with_files({one: version.contents[other], other: version.contents[one]}):
        problems = version.verify()
        assert set(problems) == {one, other}
        clips = {name: {member.clip_id for member in version.members[name]} for name in (one, other)}
        assert {name: set(problem.clips) for name, problem in problems.items()} == clips
        assert check_reading(version, [one, other], clips[one] | clips[other]) == "dropped"


def test_indexes_and_json_files_that_changed_places_are_named(version: Version) -> None:
    beside = READ_ON_OPENING + NOT_READ_ON_OPENING
    for one, other in zip(beside, beside[1:] + beside[:1], strict=True):
        with version.with_files({one: version.contents[other], other: version.contents[one]}):
            # Without a manifest nothing else can be compared.
            expected = {"manifest.json"} if "manifest.json" in (one, other) else {one, other}
            assert set(version.verify()) == expected
            outcome = check_reading(version, [one, other])
            assert (outcome == "refused") == bool({one, other} & set(READ_ON_OPENING))


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [("clips.parquet", "num_frames", 3), ("members.parquet", "offset", 1024), ("logs.parquet", "start", 1.25)],
)
def test_an_index_with_other_rows_is_refused_though_its_checksums_are_right(
    version: Version, name: str, column: str, value: object
) -> None:
    rows = tables.from_parquet(tables.FILES[name], version.contents[name])
    assert rows[0][column] != value
    rows[0][column] = value
    with version.with_files({name: tables.to_parquet(tables.FILES[name], rows)}):
        problems = version.verify()
        assert set(problems) == {name}
        assert "rows are not those of the manifest" in str(problems[name])
        assert check_reading(version, [name]) == ("refused" if name in READ_ON_OPENING else "read")


@pytest.mark.parametrize("name", ["notes.txt", "shards/train-evaluation-00009.tar", "shards/old/x.tar"])
def test_a_file_that_is_not_of_the_version_is_named(version: Version, name: str) -> None:
    with version.with_files({name: version.contents[SHARD_FILES[0]]}):
        assert set(version.verify()) == {name}
        assert check_reading(version, [name]) == "read"


def test_damage_in_several_files_at_once_is_all_named(version: Version) -> None:
    members, shard, other = "members.parquet", SHARD_FILES[0], SHARD_FILES[1]
    broken = {name: flipped(version.contents[name], 600, 3) for name in (members, shard)}
    with version.with_files({**broken, other: None}):
        problems = version.verify()
        assert set(problems) == {members, shard, other}
        # Without the member index no one knows where in the shard: all its clips are named.
        assert set(problems[shard].clips) == {member.clip_id for member in version.members[shard]}


def test_the_reader_stops_at_damage_unless_told_to_skip(version: Version) -> None:
    name = SHARD_FILES[1]
    member = version.members[name][0]
    with version.with_files({name: flipped(version.contents[name], member.offset, 0)}):
        with pytest.raises(CorruptShardError, match=f"clip {member.clip_id}, member {member.member}"):
            list(ClipReader(open_dataset(version.store)).read_all())
        reader = ClipReader(open_dataset(version.store), on_corrupt="skip")
        assert reader.read(member.clip_id) is None
        assert list(reader.skipped) == [member.clip_id]


def test_latest_is_a_hash_of_a_version_that_is_there_or_an_error_that_names_it(version: Version) -> None:
    latest = version.store / "LATEST"
    content = latest.read_bytes()
    damaged = [flipped(content, place, bit) for place in range(len(content)) for bit in range(8)]
    damaged += [content[:length] for length in range(len(content))] + [content + b"0", b" " + content[1:]]
    try:
        for data in damaged:
            latest.write_bytes(data)
            with pytest.raises((CorruptManifestError, FileNotFoundError), match="LATEST"):
                open_dataset(version.store)
        assert open_dataset(version.store, version.folder.name).version == version.folder.name
        latest.unlink()
        with pytest.raises(FileNotFoundError, match="LATEST is missing: name one of the versions"):
            open_dataset(version.store)
        latest.write_bytes(content + b"\n")
        assert open_dataset(version.store).version == version.folder.name
    finally:
        latest.write_bytes(content)


def test_plain_webdataset_returns_a_flipped_bit_silently(version: Version) -> None:
    """Why members carry hashes: tar has a checksum for its headers only."""
    name = SHARD_FILES[0]
    member = next(held for held in version.members[name] if held.member == "f00_front_camera.jpg")
    content = version.contents[name]
    with version.with_files({name: flipped(content, member.offset + member.size // 2, 3)}):
        samples = list(webdataset.WebDataset(str(version.folder / name), shardshuffle=False))
        assert [sample["__key__"] for sample in samples] == sorted({held.clip_id for held in version.members[name]})
        read = samples[0]["f00_front_camera.jpg"]
        assert read != content[member.offset : member.offset + member.size]
        assert len(read) == member.size
        with pytest.raises(CorruptShardError):
            open_dataset(version.store).read(member.clip_id)


def same_frame(a: StoredFrame, b: StoredFrame) -> bool:
    arrays = all(same(getattr(a.arrays, f.name), getattr(b.arrays, f.name)) for f in fields(FrameArrays))
    return arrays and a.attributes.to_json() == b.attributes.to_json() and a.frame == b.frame


def check_frame(folder: Path, expected: StoredFrame) -> str:
    assert stored_input_hash(folder, 3) in (None, "input")
    frame = attempt(lambda: read_frame(folder, 3))
    if isinstance(frame, Exception):
        assert "f0003.zarr.zip" in str(frame)
        return "refused"
    assert same_frame(frame, expected)
    return "read"


@pytest.mark.parametrize("seed", [0, 1])
def test_flipped_bits_of_a_stored_frame_are_never_read(tmp_path: Path, seed: int) -> None:
    frame = make_frame(seed)
    write_frame(tmp_path, frame, "input")
    path = frame_path(tmp_path, 3)
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for place in rng.integers(len(content), size=150):
        path.write_bytes(flipped(content, place, rng.integers(8)))
        outcomes[check_frame(tmp_path, frame)] += 1
    # What is read in spite of a flip is the zip's dates and other fields that say nothing of the content.
    assert set(outcomes) == {"refused", "read"}
    for place in rng.integers(len(content), size=20):
        path.write_bytes(content[:place])
        assert check_frame(tmp_path, frame) == "refused"
        path.write_bytes(content + content[:place])
        check_frame(tmp_path, frame)


def test_flips_of_a_frame_s_attributes_and_hashes_are_never_read(tmp_path: Path) -> None:
    frame = make_frame()
    write_frame(tmp_path, frame, "input")
    path = frame_path(tmp_path, 3)
    content = path.read_bytes()
    start = content.index(b'"attributes"')
    end = content.index(b"PK", start)
    rng = np.random.default_rng(2)
    for place in rng.integers(start, end, 60):
        path.write_bytes(flipped(content, place, rng.integers(8)))
        assert check_frame(tmp_path, frame) == "refused"


def test_attributes_changed_with_a_matching_zip_checksum_are_refused(tmp_path: Path) -> None:
    """A tool that rewrites the zip makes its checksums right again; the hash over the attributes stays."""
    frame = make_frame()
    write_frame(tmp_path, frame, "input")
    path = frame_path(tmp_path, 3)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    changed = entries["zarr.json"].replace(b"0.25", b"0.35")
    assert changed != entries["zarr.json"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**entries, "zarr.json": changed}.items():
            archive.writestr(name, data)
    with pytest.raises(CorruptFrameError, match=r"f0003.*attributes do not match"):
        read_frame(tmp_path, 3)
    assert stored_input_hash(tmp_path, 3) is None


def test_a_frame_under_another_frame_s_name_is_refused(tmp_path: Path) -> None:
    write_frame(tmp_path, make_frame(), "input")
    frame_path(tmp_path, 3).rename(frame_path(tmp_path, 4))
    with pytest.raises(CorruptFrameError, match=r"f0004.*holds frame 3"):
        read_frame(tmp_path, 4)
    assert stored_input_hash(tmp_path, 4) is None
    with pytest.raises(FileNotFoundError, match="f0003"):
        read_frame(tmp_path, 3)


def test_every_flipped_bit_of_a_stored_frame_is_found_by_verify(tmp_path: Path) -> None:
    folder = tmp_path / "frames" / "key" / "log"
    write_frame(folder, make_frame(), "input")
    path = frame_path(folder, 3)
    assert list(verify_frames(tmp_path)) == []
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    for place in rng.integers(0, len(content), 300):
        data = bytearray(content)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        assert [problem.file for problem in verify_frames(tmp_path)] == [path], place
    path.write_bytes(content[: len(content) // 2])
    assert [problem.file for problem in verify_frames(tmp_path)] == [path]
    path.write_bytes(content)
    (folder / "notes.txt").touch()
    assert [problem.file.name for problem in verify_frames(tmp_path)] == ["notes.txt"]
