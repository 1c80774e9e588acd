"""Damaged logs: every damage of every kind of file ends in an error that says what to do, for that log alone."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from upath import UPath

from pipelines.__main__ import main
from pipelines.build.plan import BuildConfig
from pipelines.build.run import BuildResult, build
from pipelines.features.config import FeatureConfig, check_cameras
from pipelines.features.frame_features import compute_frame
from pipelines.sources.base import LogError
from pipelines.sources.pandaset import safe_pickle
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.sources.pandaset.source import SOURCE
from store_schema.clip import Clip
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import Dataset, open_dataset
from store_schema.version.verify import verify_version
from tests.support.logs.fake_log import edit_table, write_log
from tests.support.stores import damage
from tests.support.stores.damage import Case
from tests.support.stores.damage_cases import (
    ALL,
    BACK,
    BAD,
    BOXES,
    BUILT,
    FRONT,
    GPS,
    INTRINSICS,
    LABELS,
    POSES,
    STAMPS,
    SWEEP,
)

CONFIG = FeatureConfig()
NEXT_STEP = re.compile(r"fetch|replace|remove|rename|make it readable|check|save|it has")


class HangsError(BaseException):
    """No `except` of the product may take it for bad input."""


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangsError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("pristine") / "007", frames=3, points=60)


@pytest.fixture
def log(pristine: Path, tmp_path: Path) -> Path:
    """A log of three frames that the test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "007"))


def take_in(path: Path) -> None:
    """Read a log and make its features as the build does, without a store."""
    reader = PandaSetLog(path)
    check_cameras(reader, CONFIG)
    for frame in sorted(set(range(reader.num_frames)) - set(reader.missing_frames())):
        compute_frame(reader, frame, CONFIG)


def check_error(error: LogError, log: Path, case: Case) -> None:
    """The error names log, frame, file and reason, gives a next step, and can be printed and sent."""
    text = str(error)
    assert re.search(case.reason, error.reason), text
    assert (error.log_id, error.frame) == (log.name, case.frame)
    assert text.startswith(f"log {log.name}")
    file = log / (case.file if case.names is None else case.names)
    if case.name == "two names":
        assert Path(str(error.file)).parent == file.parent
    else:
        assert Path(str(error.file)) == file
    assert str(error.file).replace("\n", r"\n") in text
    assert case.frame is None or f"frame {case.frame}" in text
    assert NEXT_STEP.search(error.reason), text
    assert text.isprintable()
    assert len(error.reason) < 1000
    assert str(pickle.loads(pickle.dumps(error))) == text


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_damage_ends_in_an_error_that_says_what_to_do(case: Case, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_pickle, "MAX_BYTES", 2 << 20 if case.name == "bomb" else safe_pickle.MAX_BYTES)
    monkeypatch.chdir(log)
    case.damage(log / case.file)
    with pytest.raises(LogError) as caught:
        take_in(log)
    check_error(caught.value, log, case)
    assert not list(log.rglob("marker"))


def test_the_corpus_damages_what_was_whole(log: Path) -> None:
    take_in(log)
    assert len({case.id for case in ALL}) == len(ALL)


def answer(log: Path) -> LogError | None:
    try:
        take_in(log)
    except LogError as error:
        return error
    return None


def test_random_damage_never_ends_in_another_error(log: Path) -> None:
    """Bytes are flipped where no checksum sees it: what is taken in then has the form it should have."""
    for path in log.rglob("*.pkl.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    rng = np.random.default_rng(0)
    files = [f"{FRONT}/01.jpg", f"{BACK}/01.jpg", "lidar/01.pkl", "annotations/cuboids/01.pkl", *POSES, *STAMPS, GPS]
    refused = 0
    for file in files * 12:
        data = (log / file).read_bytes()
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(0, 8)
        (log / file).write_bytes(bytes(damaged))
        error = answer(log)
        if error is not None:
            assert error.log_id == "007"
            assert Path(str(error.file)).name == Path(file).name, error
            assert NEXT_STEP.search(error.reason), error
            refused += 1
        (log / file).write_bytes(data)
    assert 12 * len(files) // 3 < refused < 12 * len(files)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    folder.chmod(0o755)
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("root cannot become another user here")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A temporary folder that other users may enter."""
    place = Path(tempfile.mkdtemp(prefix="flux4d-test-"))
    yield place
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(place)


def read_frame(log: Path) -> None:
    reader = PandaSetLog(log)
    reader.sweep(BAD)
    reader.cuboids(BAD)
    for name in reader.cameras:
        reader.camera(name, BAD).image()


PERMISSIONS = [
    *[
        Case("denied", file, lambda p: p.chmod(0), "Permission denied", BAD)
        for file in (SWEEP, BOXES, f"{BACK}/01.jpg")
    ],
    *[Case("denied", file, lambda p: p.chmod(0), "Permission denied") for file in (STAMPS[0], INTRINSICS, GPS)],
    *[
        Case("denied", file, lambda p: p.chmod(0), "Permission denied")
        for file in ("annotations", "annotations/cuboids", "meta", "camera", BACK)
    ],
    Case("denied", "", lambda p: p.chmod(0), "Permission denied", names=STAMPS[0]),
    Case("denied", "lidar", lambda p: p.chmod(0), "Permission denied", names=STAMPS[0]),
    Case("only listed", "lidar", lambda p: p.chmod(0o444), "Permission denied", names=STAMPS[0]),
    Case("only listed", "", lambda p: p.chmod(0o444), "Permission denied", names=STAMPS[0]),
    Case("only listed", "annotations", lambda p: p.chmod(0o444), "Permission denied", names="annotations/cuboids"),
]


@pytest.mark.parametrize("case", PERMISSIONS, ids=lambda case: case.id)
def test_what_may_not_be_read_is_named(case: Case, pristine: Path, open_place: Path) -> None:
    log = Path(shutil.copytree(pristine, open_place / "007"))
    case.damage(log / case.file)
    with as_nobody(open_place):
        assert SOURCE.logs(open_place) == (log,)
        with pytest.raises(LogError) as caught:
            read_frame(log)
    check_error(caught.value, log, case)


def test_a_root_that_may_not_be_read_is_named(open_place: Path) -> None:
    (open_place / "logs").mkdir(mode=0)
    with as_nobody(open_place), pytest.raises(ValueError, match="logs cannot be listed: Permission denied; make it"):
        SOURCE.logs(open_place / "logs")


# Through the whole build: a good log among damaged ones.

NAMES = ("a b", "lög", "日本", "0.2", "[red]", "a\nb", "x" * 100 + ".d", os.fsdecode(b"\xff\xfe"))
LOST: dict[str, tuple[str, damage.Damage]] = {
    "lost-sweep": (SWEEP, Path.unlink),
    "lost-boxes": (BOXES, Path.unlink),
    "lost-labels": (LABELS, Path.unlink),
    "lost-image": (f"{BACK}/01.jpg", Path.unlink),
    "lost-link": (SWEEP, damage.link_to("nowhere")),
    "lost-loop": (f"{FRONT}/01.jpg", damage.link_to_itself),
}
"""Legal damage by log: a frame that is not there."""


@dataclass(frozen=True)
class Built:
    """A build of the good log alone, then one of all logs into the same store."""

    root: Path
    store: Path
    alone: BuildResult
    result: BuildResult
    good: Clip
    """The good log's clip as the first build wrote it."""

    @property
    def dataset(self) -> Dataset:
        return open_dataset(self.store)

    def error(self, log_id: str) -> LogError:
        (error,) = [error for error in self.result.errors if error.log_id == log_id]
        return error

    def clips(self, log_id: str) -> list[str]:
        return [record.clip_id for record in self.dataset.records if record.log_id == log_id]


def run(root: Path, store: Path, logs: tuple[str, ...] | None = None) -> BuildResult:
    config = BuildConfig(
        root=root, out=store, workers=0, protocol=ClipProtocol(test_logs=("good", "linked")), logs=logs
    )
    return build(config, Console(quiet=True))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("built")
    root, store = place / "logs", place / "store"
    write_log(root / "good", frames=16, points=60)
    short = write_log(place / "elsewhere/short", frames=11, points=60)
    (root / "linked").symlink_to(Path(shutil.copytree(root / "good", place / "elsewhere/linked")))
    for number, case in enumerate(BUILT):
        log = Path(shutil.copytree(short, root / f"bad{number}"))
        case.damage(log / case.file)
    for name in NAMES:
        shutil.copytree(short, root / name)
    for name, (file, lose) in LOST.items():
        lose(Path(shutil.copytree(short, root / name)) / file)
    shutil.copytree(root / "good", root / "lost-late")
    (root / "lost-late/lidar/12.pkl.gz").unlink()
    for path in Path(shutil.copytree(short, root / "unused") / "annotations/semseg").iterdir():
        path.write_bytes(b"damaged")
    (root / "gone").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "notes").mkdir()
    (root / "readme.txt").write_text("neither of these two is a log")
    os.mkfifo(root / "pipe")
    alone = run(root, store, ("good",))
    good = open_dataset(store).read("good-evaluation-s000")
    return Built(root, store, alone, run(root, store), good)


@pytest.mark.parametrize("number", range(len(BUILT)), ids=lambda number: BUILT[number].id)
def test_the_build_names_a_damaged_log_and_lists_nothing_of_it(number: int, built: Built) -> None:
    log = built.root / f"bad{number}"
    check_error(built.error(log.name), log, BUILT[number])
    assert built.clips(log.name) == []


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_build_names_a_log_that_must_be_renamed(name: str, built: Built) -> None:
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)
    error = built.error(shown)
    assert error.file == built.root / name
    assert "rename it to letters, digits, - and _" in str(error)
    str(error).encode()


@pytest.mark.parametrize("name", ["gone", "loop"])
def test_a_link_that_leads_nowhere_is_no_log_that_is_left_out_silently(name: str, built: Built) -> None:
    error = built.error(name)
    assert error.file == built.root / name
    assert "there is no such folder; check the name, or where a link leads" in str(error)


@pytest.mark.parametrize("name", LOST)
def test_clips_with_a_lost_frame_are_left_out_and_counted(name: str, built: Built) -> None:
    assert name not in {error.log_id for error in built.result.errors}
    assert built.clips(name) == []
    reason = built.result.manifest.left_out[f"{name}-train_interpolation-s000"]
    assert reason == f"frame 1 of log {name} is missing"


def test_clips_before_a_lost_frame_are_built(built: Built) -> None:
    assert built.clips("lost-late") == ["lost-late-train_interpolation-s000"]
    assert "lost-late-train_future-s000" in built.result.manifest.left_out


def test_files_that_no_feature_is_made_of_may_be_damaged(built: Built) -> None:
    """No feature is made of the labels: what is in their files is read by who asks for it, not by the build."""
    assert built.clips("unused") == ["unused-train_interpolation-s000"]
    with pytest.raises(LogError, match=r"log unused, frame 1, .*semseg/01\.pkl\.gz: .*; fetch it"):
        PandaSetLog(built.root / "unused").semantics(BAD)


def test_good_logs_are_built_whatever_lies_beside_them(built: Built) -> None:
    assert built.alone.errors == ()
    assert built.alone.frames_made == 16
    assert built.result.frames_kept == 16
    assert {record.log_id for record in built.dataset.records} == {"good", "linked", "lost-late", "unused"}
    assert len(built.result.errors) == len(BUILT) + len(NAMES) + 2
    assert list(verify_version(built.result.folder)) == []
    for clip_id in ("good-evaluation-s000", "linked-evaluation-s000"):
        clip = built.dataset.read(clip_id)
        np.testing.assert_array_equal(clip.points.means, built.good.points.means)
        assert [view.image for view in clip.views] == [view.image for view in built.good.views]


def test_the_command_lists_every_stopped_log(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--root", str(built.root), "--out", str(built.store), "--workers", "0"]
    assert main([*arguments, "--protocol.test-logs", "good", "linked"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == built.result.version
    assert "Traceback" not in captured.err
    shown = re.sub(r"\s", "", captured.err)
    for error in built.result.errors:
        assert re.sub(r"\s", "", str(error)) in shown


# What no file alone shows.


def box_that_jumps(log: Path) -> None:
    """A box around all points is 500 m further in the next frame: the store's flow holds 32 m. Frame 2 is an input."""
    for frame, x in ((BAD + 1, 0.0), (BAD + 2, 500.0)):
        place = {"position.x": x, "position.y": 0.0, "position.z": 0.0}
        sides = {f"dimensions.{axis}": 300.0 for axis in "xyz"}
        edit_table(log / f"annotations/cuboids/{frame:02d}.pkl.gz", lambda t, c=place | sides: t[:1].assign(**c))


TOGETHER: dict[str, damage.Damage] = {
    "two points": lambda log: edit_table(log / SWEEP, lambda t: t[:2]),
    "one place": lambda log: edit_table(log / SWEEP, lambda t: t.assign(x=1.0, y=2.0, z=3.0)),
    "a box that jumps": box_that_jumps,
}


@pytest.mark.parametrize("name", TOGETHER)
def test_damage_that_only_the_features_show(name: str, built: Built, tmp_path: Path) -> None:
    TOGETHER[name](write_log(tmp_path / "logs/bad", frames=11, points=60))
    (tmp_path / "logs/good").symlink_to(built.root / "good")
    result = run(tmp_path / "logs", tmp_path / "store")
    (error,) = result.errors
    assert error.log_id == "bad"
    assert error.frame is not None
    assert "log bad, frame" in str(error)
    assert {record.log_id for record in open_dataset(tmp_path / "store").records} == {"good"}


# Behind a URL.


@pytest.fixture
def remote(pristine: Path) -> Iterator[UPath]:
    place = UPath("memory://fuzz/logs")
    for file in pristine.rglob("*"):
        if file.is_file():
            target = place / "007" / file.relative_to(pristine).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    yield place
    place.fs.rm("/fuzz", recursive=True)


def test_a_log_behind_a_url_is_read_as_a_local_one(remote: UPath, pristine: Path) -> None:
    (path,) = SOURCE.logs(remote)
    log, local = pickle.loads(pickle.dumps(PandaSetLog(path))), PandaSetLog(pristine)
    assert (log.log_id, log.cameras, log.missing_frames()) == ("007", local.cameras, {})
    for frame in range(3):
        np.testing.assert_array_equal(log.sweep(frame).points, local.sweep(frame).points)
        assert log.cuboids(frame).track == local.cuboids(frame).track
        np.testing.assert_array_equal(log.semantics(frame), local.semantics(frame))
        assert [log.camera(name, frame).image() for name in log.cameras] == [
            local.camera(name, frame).image() for name in local.cameras
        ]
    np.testing.assert_array_equal(log.gps(), local.gps())
    names = [file.relative_to(path.parent).as_posix() for file in log.input_files()]
    assert names == [file.relative_to(pristine.parent).as_posix() for file in local.input_files()]


REMOTE = [
    *[case for case in ALL if case.file in (SWEEP, f"{BACK}/01.jpg") and case.name == "cut at 0.3"],
    *[case for case in ALL if case.file in (INTRINSICS, GPS) and case.name == "cut at 0.5"],
    Case("missing", STAMPS[1], lambda path: path.unlink(), "the file is missing"),
    Case("no folder", "annotations/cuboids", lambda p: (p.fs.rm(p.path, recursive=True), p.write_bytes(b"x")), "not a"),
]


@pytest.mark.parametrize("case", REMOTE, ids=lambda case: case.id)
def test_damage_behind_a_url_is_named(case: Case, remote: UPath) -> None:
    case.damage(remote / "007" / case.file)
    with pytest.raises(LogError) as caught:
        take_in(remote / "007")
    error = caught.value
    assert (error.log_id, error.frame) == ("007", case.frame)
    assert error.file == remote / "007" / case.file
    assert re.search(case.reason, error.reason)
    assert NEXT_STEP.search(error.reason)


def test_places_behind_a_url_without_logs_are_named(remote: UPath) -> None:
    for place, reason in ((remote / "nowhere", "not a folder"), (remote / "007", "is itself a log")):
        with pytest.raises(ValueError, match=reason):
            SOURCE.logs(place)
