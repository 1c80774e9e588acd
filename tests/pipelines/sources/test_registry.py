"""Sources by name: which there are, which one is meant, and what is said where that is not clear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from pipelines.inspect.command import Inspect, run_inspect
from pipelines.sources import registry
from pipelines.sources.base import LogError
from pipelines.sources.registry import get_source, register, resolve_source, source_names, source_of_log, unregister
from pipelines.sources.source import Source
from store_schema.frame_store import frames_key
from tests.support.logs.fake_log import write_log
from tests.support.logs.own_source import SOURCE, OwnLog, write_own_log


@pytest.fixture
def own() -> Iterator[Source]:
    register(SOURCE)
    yield SOURCE
    unregister("own")


def point(name: str, value: str) -> metadata.EntryPoint:
    return metadata.EntryPoint(name, value, registry.GROUP)


def install(monkeypatch: pytest.MonkeyPatch, *points: metadata.EntryPoint) -> None:
    def entry_points(*, group: str) -> tuple[metadata.EntryPoint, ...]:
        assert group == registry.GROUP
        return points

    monkeypatch.setattr(registry.metadata, "entry_points", entry_points)


def test_pandaset_is_there_and_an_unknown_name_is_told_what_is() -> None:
    assert "pandaset" in source_names()
    assert get_source("pandaset").name == "pandaset"
    with pytest.raises(ValueError, match=r"no source 'nuscenes', only .*pandaset.*: take one of these, or install"):
        get_source("nuscenes")


def test_auto_takes_the_source_whose_logs_lie_there(own: Source, tmp_path: Path) -> None:
    write_own_log(tmp_path / "own" / "a", frames=1)
    write_log(tmp_path / "pandaset" / "002", frames=1)
    for name in ("own", "pandaset"):
        assert resolve_source("auto", tmp_path / name).name == name
        config = BuildConfig(root=tmp_path / name, out=tmp_path / "store", workers=0)
        assert config.resolved().content()["source"] == name
        assert config.resolved().resolved() == config.resolved()
        assert source_of_log("auto", next((tmp_path / name).iterdir())).name == name


def test_logs_of_two_sources_under_one_root_are_ambiguous(own: Source, tmp_path: Path) -> None:
    write_own_log(tmp_path / "a", frames=1)
    write_log(tmp_path / "002", frames=1)
    with pytest.raises(ValueError, match=r"several sources \(own: a; pandaset: 002\): say which with --source"):
        resolve_source("auto", tmp_path)
    assert resolve_source("own", tmp_path).name == "own"
    assert resolve_source("auto", tmp_path, ["002"]).name == "pandaset"
    assert SOURCE.logs(tmp_path) == (tmp_path / "a",)
    (tmp_path / "a" / "lidar").mkdir()
    with pytest.raises(ValueError, match="could be a log of own, pandaset: say which with --source"):
        source_of_log("auto", tmp_path / "a")


def test_a_link_that_leads_nowhere_does_not_choose_the_source(own: Source, tmp_path: Path) -> None:
    write_own_log(tmp_path / "a", frames=1)
    (tmp_path / "b").symlink_to(tmp_path / "nowhere")
    assert resolve_source("auto", tmp_path).name == "own"


def test_where_no_source_fits_the_known_ones_are_named(own: Source, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(ValueError, match=r"no logs of a known source \(own: a folder a drive.*; pandaset: PandaSet"):
        resolve_source("auto", tmp_path)
    with pytest.raises(LogError, match=r"no log of a known source \(own: .*; pandaset: .*give the folder of one log"):
        source_of_log("auto", tmp_path / "notes")
    log = write_own_log(tmp_path / "a", frames=1)
    with pytest.raises(ValueError, match="is itself a log; give the folder that holds it"):
        resolve_source("auto", log)
    with pytest.raises(ValueError, match="is not a folder"):
        resolve_source("auto", tmp_path / "nowhere")


def test_another_package_brings_a_source_by_an_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, point("own", "tests.support.logs.own_source:SOURCE"))
    assert source_names() == ("own", "pandaset")
    assert get_source("own") is SOURCE
    write_own_log(tmp_path / "a", frames=1)
    # Workers find it in their own metadata: it may be built by them.
    assert BuildConfig(root=tmp_path, out=tmp_path / "store", workers=2).resolved().source == "own"


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ((point("own", "no_such_package:SOURCE"),), "cannot be loaded: ModuleNotFoundError.*mend it"),
        ((point("own", "tests.support.logs.own_source:K"),), "must lead to a Source of that name"),
        ((point("other", "tests.support.logs.own_source:SOURCE"),), "must lead to a Source of that name"),
        ((point("own", "a:SOURCE"), point("own", "b:SOURCE")), "several packages bring a source 'own'"),
    ],
)
def test_a_broken_package_is_named_and_does_not_keep_others_from_working(
    points: tuple[metadata.EntryPoint, ...], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, *points)
    with pytest.raises(ValueError, match=reason):
        get_source(points[0].name)
    write_log(tmp_path / "002", frames=1)
    with pytest.raises(ValueError, match=reason):
        resolve_source("auto", tmp_path)
    assert resolve_source("pandaset", tmp_path).name == "pandaset"


def test_a_name_is_given_once(own: Source) -> None:
    register(own)
    with pytest.raises(ValueError, match="there is a source 'own' already"):
        register(replace(SOURCE))
    with pytest.raises(ValueError, match="there is a source 'pandaset' already"):
        register(replace(SOURCE, name="pandaset"))
    for name in ("auto", "Own", "a b", ""):
        with pytest.raises(ValueError, match="name is lower-case letters"):
            replace(SOURCE, name=name)


@pytest.mark.parametrize("where", [{"workers": 1}, {"workers": 0, "scheduler": "tcp://127.0.0.1:1"}])
def test_workers_do_not_know_what_one_process_registered(own: Source, tmp_path: Path, where: dict) -> None:
    write_own_log(tmp_path / "logs" / "a", frames=1)
    with pytest.raises(ValueError, match=r"workers do not know it: build with workers=0, or .*flux4d_street\.sources"):
        build(BuildConfig(root=tmp_path / "logs", out=tmp_path / "store", **where), Console(quiet=True))
    assert not (tmp_path / "store").exists()


def test_frames_are_of_one_source_and_one_version_of_its_reader(
    monkeypatch: pytest.MonkeyPatch, own: Source, tmp_path: Path
) -> None:
    def key(source: str) -> str:
        return frames_key(BuildConfig(root=tmp_path, out=tmp_path, source=source).content())

    before = {key("own"), key("pandaset")}
    monkeypatch.setitem(registry._REGISTERED, "own", replace(SOURCE, version=2))
    assert len(before | {key("own")}) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agents": ("car", "")}, "agents are named"),
        ({"agents": ()}, "agents are named"),
        ({"agents": ("a.b", "c")}, "use letters, digits"),
        ({"agents": ("car", "car")}, "each another name"),
        ({"cameras": ("front@car", "front@car")}, "two cameras have one name"),
        ({"cameras": ("front.0@car",)}, "cannot name files"),
        ({"cameras": ("front@car@lorry",)}, "cannot name files"),
        ({"log_id": "a.b"}, "becomes part of clip ids"),
    ],
)
def test_names_that_could_not_be_told_apart_stop_the_log(changes: dict, reason: str, tmp_path: Path) -> None:
    class Odd(OwnLog):
        def __init__(self, root: Path) -> None:
            super().__init__(root)
            for name, value in changes.items():
                setattr(self, name, value)

    log = write_own_log(tmp_path / "a", frames=1)
    with pytest.raises(LogError, match=reason):
        replace(SOURCE, open=Odd).open_log(log)


def test_inspect_shows_a_frame_of_any_source(own: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for lidar in (True, False):
        log = write_own_log(tmp_path / f"lidar-{lidar}", frames=2, lidar=lidar)
        console = Console(quiet=True)
        assert (
            run_inspect(Inspect(log=str(log), frame=1, out=tmp_path, source="own" if lidar else "auto"), console) == 0
        )
        page = Path(capsys.readouterr().out.strip()).read_text()
        assert "front@lorry" in page
        assert ("no LiDAR" in page) == (not lidar)
