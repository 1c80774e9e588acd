from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipelines.store_tools.commands import Diff, ExportIndex, Show, run_diff, run_export_index, run_show
from pipelines.store_tools.flatten import flatten
from pipelines.store_tools.summary import VersionSummary, summarise
from pipelines.store_tools.summary_page import write_summary
from pipelines.store_tools.summary_text import bar_lines
from pipelines.store_tools.thumbnails import BACKGROUND_RGB, IMAGE_WIDTH, MOVING_RGB, PLAN_WIDTH, REACH_M, plan_picture
from store_schema.files.paths import files_below, location, relative_name
from store_schema.labels import FlowClass
from store_schema.pages.bar_charts import pooled
from store_schema.pages.histogram import histogram
from store_schema.pages.values import share_text, size_text
from store_schema.version.dataset import open_dataset
from tests.support.html import MARKUP, Page, same_elements, self_contained
from tests.support.stores.many_versions import CONFIG, as_schema_1, flip_member, tiny_clip, write_shards


@pytest.fixture
def store(tmp_path: Path) -> Path:
    clip = tiny_clip("001")
    camera = clip.points.camera.copy()
    camera[:50] = -1
    dim = replace(clip, points=replace(clip.points, camera=camera))
    write_shards(
        tmp_path,
        {
            "test-evaluation-00000.tar": [dim, tiny_clip("001", 20, seed=1)],
            "train-train-future-00000.tar": [tiny_clip("002", 0, "train_future", 2)],
        },
        provenance={
            "built_at": "2026-03-04T05:06:07+00:00",
            "code_commit": "abc123",
            "packages": {"numpy": "2.0"},
            "inputs": {"001": {"a": "1", "b": "2"}, "002": {"c": "3"}},
            "failed_logs": {"003": MARKUP},
        },
        left_out={"001-evaluation-s040": f"frame 41 {MARKUP}"},
    )
    return tmp_path


def show(capsys: pytest.CaptureFixture[str], *arguments: object, **options: object) -> tuple[int, str]:
    status = run_show(Show(*map(str, arguments), **options), Console(stderr=True))  # type: ignore[arg-type]
    return status, capsys.readouterr().out


def test_totals_are_those_of_the_clips(store: Path) -> None:
    summary = summarise(store)
    dataset = open_dataset(store)
    clips = [dataset.read(record.clip_id) for record in dataset.records]
    total = summary.total()
    assert total.clips == 3
    assert total.points == sum(len(clip.points) for clip in clips)
    assert total.coloured == total.points - 50
    for kind in FlowClass:
        assert total.flow[kind] == sum(int((clip.points.flow_class == kind).sum()) for clip in clips)
    assert total.bytes == sum(member.size for held in dataset.members.values() for member in held.values())
    groups = summary.groups()
    assert [(group.split, group.setting, group.clips) for group in groups] == [
        ("test", "evaluation", 2),
        ("train", "train_future", 1),
    ]
    assert sum(group.points or 0 for group in groups) == total.points


def test_text_needs_no_shard_and_marks_the_provenance(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(open_dataset(store).folder / "shards")
    status, text = show(capsys, store)
    assert status == 0
    assert re.search(r"test +evaluation +2 ", text)
    assert re.search(r"config features\.neighbours +3", text)
    assert re.search(r"built at\* +2026-03-04T05:06:07", text)
    assert re.search(r"code commit\* +abc123", text)
    assert "not part of it" in text
    assert "3 files of 2 logs" in text
    assert re.search(r"foreground dynamic +180 +33.3%", text)
    assert "001-evaluation-s040: frame 41" in text
    assert "001-evaluation-s020" in text


def test_long_lists_are_cut_with_a_notice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path, {"all.tar": [tiny_clip("001", start) for start in range(52)]})
    _, text = show(capsys, tmp_path)
    assert "first 50 of 52 clips; --all" in text
    assert "s049" in text
    assert "s050" not in text
    _, text = show(capsys, tmp_path, all=True)
    assert "s051" in text
    assert "--all" not in text


def test_what_schema_1_did_not_record_is_absent_not_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_schema_1(tmp_path, write_shards(tmp_path, {"all.tar": [tiny_clip("001")]}))
    status, text = show(capsys, tmp_path, html=tmp_path / "page.html")
    assert status == 0
    assert re.search(r"foreground dynamic +n/a +n/a", text)
    assert re.search(r"schema version +1", text)
    assert "no log index" in text
    page = (tmp_path / "page.html").read_text()
    assert page.count("not recorded in this version") == 2
    assert "n/a moving" in page


def test_provenance_that_cannot_be_read_is_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (open_dataset(store).folder / "provenance.json").write_bytes(b"{}")
    status, text = show(capsys, store)
    assert status == 0
    assert "holds no provenance" in text


def test_page_is_one_well_formed_file_without_outside_references(store: Path) -> None:
    calls: list[tuple[int, int]] = []
    assert write_summary(summarise(store), store / "page.html", lambda *call: calls.append(call)) == {}
    assert calls == [(1, 3), (2, 3), (3, 3)]
    page = self_contained(store / "page.html", scripts=1)
    assert len(page.addresses) == 6
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    assert f"frame 41 {MARKUP}" in page.text


def with_texts(summary: VersionSummary, text: str) -> VersionSummary:
    """The summary with a text in the place of every name that a store gives."""
    clips = [{**row, "log_id": text, "split": text, "setting": text, "shard": text} for row in summary.clips]
    logs = [{**row, "log_id": text, "split": text} for row in summary.logs]
    provenance = {**summary.provenance, "host": text, "packages": {text: text}, "failed_logs": {text: text}}
    manifest = replace(summary.manifest, config={text: {"a": [text]}}, left_out={text: text})
    return replace(summary, clips=tuple(clips), logs=tuple(logs), provenance=provenance, manifest=manifest)


def test_no_text_of_a_store_makes_an_element(tmp_path: Path) -> None:
    pages = []
    for number, text in enumerate((MARKUP, "harmless")):
        # One clip of three is damaged: its error names it.
        store = tmp_path / str(number)
        clips = [tiny_clip("001", start) for start in (0, 20, 40)]
        clips = [replace(c, record=replace(c.record, clip_id=f"{text}{c.record.clip_id}")) for c in clips]
        write_shards(store, {"all.tar": clips})
        flip_member(store, open_dataset(store).version, clips[1].record.clip_id, "points.arrow")
        assert list(write_summary(with_texts(summarise(store), text), store / "page.html")) == [clips[1].record.clip_id]
        pages.append(self_contained(store / "page.html", scripts=1))
    same_elements(*pages)
    assert f"{MARKUP}001-evaluation-s000 from above" in pages[0].values("alt")
    assert any(MARKUP.lower() in words for words in pages[0].values("data-text"))
    assert f"log {MARKUP}, frames 0" in pages[0].text


def test_page_shows_every_clip_in_order_with_its_pictures(store: Path) -> None:
    write_summary(summarise(store), store / "page.html")
    text = (store / "page.html").read_text()
    page = Page(text)
    assert [name.split()[0] for name in page.values("data-text")] == [
        "001-evaluation-s000",
        "001-evaluation-s020",
        "002-train_future-s000",
    ]
    sizes = [Image.open(io.BytesIO(base64.b64decode(src.split(",")[1]))).size for src in page.addresses]
    assert sizes == [(IMAGE_WIDTH, round(IMAGE_WIDTH * 18 / 32)), (PLAN_WIDTH, PLAN_WIDTH)] * 3
    assert text.count('loading="lazy"') == 6
    assert "2026-03-04T05:06:07+00:00" in text
    assert "540 points" not in text
    assert text.count("180 points, ") == 3


def test_page_survives_damaged_clips_and_says_why(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = open_dataset(store).version
    flip_member(store, version, "001-evaluation-s020", "points.arrow")
    flip_member(store, version, "002-train_future-s000", "f00_front_camera.jpg")
    status, _ = show(capsys, store, html=store / "page.html")
    assert status == 1
    text = (store / "page.html").read_text()
    page = Page(text)
    assert len(page.values("data-text")) == 3
    assert len(page.addresses) == 2
    assert "2 of 3 clips cannot be read" in text
    assert "clip 001-evaluation-s020, member points.arrow" in text
    assert "clip 002-train_future-s000, member f00_front_camera.jpg" in text


def plain_picture(columns: dict[str, np.ndarray], width: int) -> np.ndarray:
    """Slow twin of `plan_picture`, without the cross."""
    cells: dict[tuple[int, int], list[int]] = {}
    for point in range(len(columns["x"])):
        column = (columns["x"][point] / 1000 + REACH_M) / (2 * REACH_M) * width
        row = (REACH_M - columns["y"][point] / 1000) / (2 * REACH_M) * width
        if 0 <= column < width and 0 <= row < width:
            cells.setdefault((int(row), int(column)), []).append(point)
    picture = np.full((width, width, 3), BACKGROUND_RGB, np.uint8)
    for cell, points in cells.items():
        if any(columns["flow_class"][point] == FlowClass.FOREGROUND_DYNAMIC for point in points):
            picture[cell] = MOVING_RGB
        else:
            picture[cell] = [sum(int(columns[name][point]) for point in points) // len(points) for name in "rgb"]
    return picture


def test_picture_from_above_is_that_of_the_plain_twin() -> None:
    rng = np.random.default_rng(3)
    count, width = 4000, 30
    columns = {
        **{name: rng.integers(-70_000, 70_000, count).astype(np.int32) for name in "xy"},
        **{name: rng.integers(0, 256, count).astype(np.uint8) for name in "rgb"},
        "flow_class": (3 * (rng.random(count) < 0.05)).astype(np.uint8),
    }
    found, expected = plan_picture(columns, width), plain_picture(columns, width)
    cross = np.zeros((width, width), bool)
    cross[12:19, 15] = cross[15, 12:19] = True
    np.testing.assert_array_equal(found[~cross], expected[~cross])
    assert (found[cross] == 255).all()
    assert (expected == MOVING_RGB).all(-1).any()


def test_picture_from_above_has_x_to_the_right_and_y_up() -> None:
    columns = {"x": [30_000], "y": [45_000], "r": [9], "g": [8], "b": [7], "flow_class": [1]}
    picture = plan_picture({name: np.array(value) for name, value in columns.items()}, 120)
    assert picture[15, 90].tolist() == [9, 8, 7]


def test_histogram_counts_everything_between_round_edges() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-6, 0.3, 1.0, 7e5):
        for count in (1, 2, 5, 300):
            values = rng.normal(5, 1, count) * scale
            bins = histogram(values.tolist())
            assert bins is not None
            assert sum(bins.counts) == count
            assert bins.edges[0] <= values.min() <= values.max() <= bins.edges[-1]
            assert len(bins.counts) <= 12
            np.testing.assert_allclose(np.diff(bins.edges), bins.edges[1] - bins.edges[0], rtol=1e-4)
    assert histogram([]) is None
    same, zeros = histogram([7, 7, 7], narrowest=1), histogram([0, 0])
    assert same is not None
    assert zeros is not None
    assert (same.counts, zeros.counts) == ((3,), (2,))
    whole = histogram([3, 4, 4, 5], narrowest=1)
    assert whole is not None
    assert whole.edges == (3, 4, 5)
    assert whole.counts == (1, 3)


def test_bars_are_as_long_as_their_counts() -> None:
    bins = histogram([1] * 80 + [2] * 40 + [9], narrowest=1)
    assert bins is not None
    lines = [line for line in bar_lines(bins, width=10) if not line.endswith(" 0")]
    assert [line.count("█") for line in lines] == [10, 5, 0]
    assert "▏" in lines[2]


def test_neighbours_are_pooled_without_losing_points() -> None:
    counts = np.arange(1, 15).reshape(7, 2)
    shares, together = pooled(counts, most=3)
    assert together == 3
    np.testing.assert_allclose(shares[0], counts[:3].sum(0) / counts[:3].sum())
    np.testing.assert_allclose(shares[2], counts[6] / counts[6].sum())


def test_values_for_people() -> None:
    assert [size_text(size) for size in (0, 999, 40_737_792, 1.5e13, None)] == [
        "0 B",
        "999 B",
        "40.7 MB",
        "15.0 TB",
        "n/a",
    ]
    assert [share_text(*pair) for pair in ((1, 3), (0, 5), (1, 100_000), (0, 0), (None, 3))] == [
        "33.3%",
        "0.0%",
        "0.001%",
        "n/a",
        "n/a",
    ]
    assert flatten({**CONFIG, "x": [], "y": [{"z": None}]}) == {
        "features.neighbours": 3,
        "features.view_cameras": ["front_camera"],
        "features_version": 1,
        "source": "pandaset",
        "source_version": 1,
        "x": [],
        "y.0.z": None,
    }


def test_a_store_behind_a_url(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remote = location("memory://summary-test")
    for path in files_below(store):
        target = remote / relative_name(path, store)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    status, text = show(capsys, "memory://summary-test", html=store / "page.html")
    assert status == 0
    # Above this line the folder's name is folded to the width.
    counts = text.partition("not part of it")[2]
    assert counts
    assert counts == show(capsys, store)[1].partition("not part of it")[2]
    assert len(Page((store / "page.html").read_text()).addresses) == 6
    version = open_dataset(store).version
    assert run_diff(Diff("memory://summary-test", version, version, other=str(store)), Console(stderr=True)) == 0
    assert run_export_index(ExportIndex("memory://summary-test", store / "i.jsonl", "jsonl"), Console(stderr=True)) == 0
    row = json.loads((store / "i.jsonl").read_text().splitlines()[0])
    assert row["url"] == f"memory://summary-test/versions/{version}/shards/test-evaluation-00000.tar"
    assert location(row["url"]).stat().st_size == row["shard_size"]
