"""The three commands behave alike: where the store is said, errors in one sentence, exit statuses, a quick --help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evaluation.__main__
import pipelines.__main__
import training.__main__
from evaluation.options import Lidar, Run
from store_schema.command_line.errors import sentence
from store_schema.command_line.options import StoreOptions, store_first
from store_schema.files.retry import RetryPolicy
from tests.support.processes.s3 import S3, s3_server
from tests.support.stores.small_version import write_small_version
from training.command import parse as parse_training

Door = Callable[[list[str]], int]
DOORS: dict[str, tuple[str, Door, list[str]]] = {
    "flux4d-build": ("pipelines", pipelines.__main__.main, ["verify"]),
    "flux4d-train": ("training", training.__main__.main, ["cpu", "--out", "run"]),
    "flux4d-eval": ("evaluation", evaluation.__main__.main, ["lidar", "--out", "out"]),
}
"""Name to package, entry and a verb that reads a store."""
each_door = pytest.mark.parametrize("name", DOORS)
HASTY = ["--retry-minutes", "0.001"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_version(tmp_path_factory.mktemp("store")).parent.parent


@pytest.fixture(scope="module")
def s3(store: Path) -> Iterator[S3]:
    with s3_server() as server:
        fsspec.filesystem("s3").put(f"{store}/", server.url("store/"), recursive=True)
        yield server


def fails(name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says when it fails with status 1."""
    capsys.readouterr()
    assert DOORS[name][1](arguments) == 1
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith(f"{name}: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


@each_door
def test_a_server_that_stops_is_said_in_one_sentence(
    s3: S3, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = DOORS[name][2]
    s3.stop()
    try:
        said = fails(name, [*verb, "--store", s3.url("store"), *HASTY], capsys)
    finally:
        s3.start()
    assert "2 attempts failed" in said
    assert "check the network and that the server answers, then run the command again" in said


@each_door
def test_a_bucket_that_is_not_there_and_a_missing_store(
    s3: S3, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = DOORS[name][2]
    for place in ("nowhere", "s3://no-such-bucket/store", s3.url("nothing")):
        assert "holds no dataset version" in fails(name, [*verb, "--store", place, *HASTY], capsys)
    assert "no file system for nosuch" in fails(name, [*verb, "--store", "nosuch://a/b"], capsys)


@each_door
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read(
    store: Path, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    latest = store / "LATEST"
    latest.chmod(0)
    try:
        said = fails(name, [*DOORS[name][2], "--store", str(store)], capsys)
    finally:
        latest.chmod(0o644)
    assert f"{latest}: permission denied: change its permissions" in said


@each_door
def test_a_file_in_the_place_of_a_folder(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").write_text("")
    (tmp_path / "out").write_text("")
    (tmp_path / "store").write_text("")
    verbs = {
        "flux4d-build": (["build", "store", "--root", str(tmp_path), "--source", "pandaset"], "store: file exists"),
        "flux4d-train": (["cpu", str(store), "--out", "run"], "run"),
        "flux4d-eval": (["report", "out"], "out/evaluation.json is missing"),
    }
    line, reason = verbs[name]
    assert reason in fails(name, line, capsys)


@each_door
def test_options_that_are_unknown_or_contradict_have_status_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb = DOORS[name][2]
    for wrong in (["--no-such-option", "1"], ["--retry-minutes", "-1"], ["--retry-minutes", "many"]):
        with pytest.raises(SystemExit) as left:
            DOORS[name][1]([*verb, "--store", "s", *wrong])
        assert left.value.code == 2
        assert wrong[0] in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as left:
        DOORS[name][1](["no-such-verb"])
    assert left.value.code == 2


_LIKE_A_SHELL = (
    # What a shell runs in the background, as tests may be, is told to ignore SIGINT.
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv = sys.argv[1:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


@each_door
def test_ctrl_c_has_status_130(name: str, tmp_path: Path, s3: S3) -> None:
    package, _, verb = DOORS[name]
    s3.stop()
    try:
        arguments = [package, *verb, "--store", s3.url("store"), "--retry-minutes", "5"]
        process = subprocess.Popen(
            [sys.executable, "-c", _LIKE_A_SHELL, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        seen = ""
        # Until the first attempt failed, and it waits for the second.
        while "next in" not in seen and (more := process.stderr.readline()):
            seen += more
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        s3.start()
    assert process.returncode == 130, seen + said
    assert said.strip().splitlines()[-1] == f"{name}: interrupted"


@each_door
def test_output_that_nobody_reads_ends_without_a_word(name: str, store: Path, tmp_path: Path) -> None:
    package = DOORS[name][0]
    arguments = {
        "flux4d-build": ["ls", str(store)],
        "flux4d-train": ["cpu", "--help"],
        "flux4d-eval": ["run", "--help"],
    }
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", package, *arguments[name]], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@each_door
def test_a_defect_keeps_its_traceback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, main, verb = DOORS[name]

    def broken(*arguments: object, **options: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr("store_schema.version.dataset.version_folders", broken)
    with pytest.raises(KeyError, match="a defect"):
        main([*verb, "--store", "s"])


def test_what_is_said_of_an_error() -> None:
    denied = PermissionError(13, "Permission denied", "a/b")
    assert sentence(denied) == "a/b: permission denied: change its permissions, or name another place"
    assert (
        sentence(IsADirectoryError(21, "Is a directory", "a"))
        == "a: is a directory: it is a folder, and a file is wanted"
    )
    assert sentence(OSError(28, "No space left on device")) == "no space left on device"
    assert sentence(ValueError()) == "ValueError"
    for defect in (KeyError("a"), TypeError("b"), NotImplementedError("c"), RecursionError("d"), AssertionError("e")):
        assert sentence(defect) is None
    assert sentence(KeyError("a"), (KeyError,)) == "'a'"


# --- the store ---


@each_door
def test_the_store_comes_first_or_by_option(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, *rest = DOORS[name][2]
    lines = [[verb, "nowhere", *rest], [verb, *rest, "--store", "nowhere"], [verb, "--store=nowhere", *rest]]
    said = {fails(name, line, capsys) for line in lines}
    assert len(said) == 1
    assert "nowhere holds no dataset version" in said.pop()


def test_every_verb_that_reads_a_store_takes_it_both_ways() -> None:
    assert set(pipelines.__main__._STORE_OPTIONS) == pipelines.__main__.VERBS.keys() - {"synth", "inspect"}
    assert {verb for verb, options in evaluation.__main__.VERBS.items() if issubclass(options, StoreOptions)} == {
        "run",
        "lidar",
    }
    assert parse_training(["cpu", "--steps", "3", "--store", "a"]) == parse_training(["cpu", "a", "--steps", "3"])


def test_a_build_takes_its_store_first_or_by_either_option() -> None:
    for line in (["a", "--root", "r"], ["--root", "r", "--out", "a"], ["--root", "r", "--store=a"]):
        assert store_first(["build", *line], pipelines.__main__._STORE_OPTIONS) == ["build", "a", "--root", "r"]


WORDS = st.lists(st.sampled_from(["a", "b", "--all", "--html", "x=1"]), max_size=5)


@given(before=WORDS, after=WORDS, equals=st.booleans())
def test_the_option_moves_and_all_else_stays(before: list[str], after: list[str], equals: bool) -> None:
    option = ["--store=s"] if equals else ["--store", "s"]
    moved = store_first(["show", *before, *option, *after], {"show": ("--store",)})
    assert moved == ["show", "s", *before, *after]
    assert store_first(["synth", *before, *option], {"show": ("--store",)}) == ["synth", *before, *option]


def test_the_last_of_several_stores_counts() -> None:
    assert store_first(["ls", "--store", "a", "--store=b"], {"ls": ("--store",)}) == ["ls", "b"]
    assert store_first(["ls", "--store"], {"ls": ("--store",)}) == ["ls", "--store"]
    assert store_first([], {"ls": ("--store",)}) == []


# --- patience ---


def test_the_same_option_says_how_long_to_wait() -> None:
    patient = RetryPolicy.lasting(180.0)
    training_run = parse_training(["cpu", "s", "--retry-minutes", "3"])
    assert training_run == parse_training(["cpu", "s", "--loader.retry-minutes", "3"])
    assert training_run.loader.retry == patient  # type: ignore[union-attr]
    assert Run(store="s", weights=Path("w"), out=Path("o"), retry_minutes=3.0).retry == patient
    assert Lidar(store="s", out=Path("o")).retry == RetryPolicy()
    with pytest.raises(ValueError, match="--retry-minutes must be 0 or more"):
        StoreOptions("s", retry_minutes=float("nan"))


@pytest.mark.parametrize("package", ["pipelines", "evaluation"])
def test_help_does_not_import_torch(package: str) -> None:
    code = (
        f"import sys, {package}.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
