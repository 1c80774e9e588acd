"""The report of a training run: complete, offline, honest about what is missing, readable while the run goes on."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluation.__main__ import main
from evaluation.run_folder.rows import read_rows
from evaluation.run_report.folder import read_training_run
from evaluation.run_report.headline import best_evaluation, headline, left_out
from evaluation.run_report.page import MOST_PICTURES, write_run_report
from store_schema.pages.line_chart import HEIGHT, WIDTH, Curve, Line, chart
from tests.support.html import MARKUP, same_elements, self_contained

CLIPS = ["001-evaluation-s000", "011-evaluation-s020"]


def step_row(step: int, **changes: object) -> dict[str, object]:
    return {
        "step": step,
        "epoch": step // 5,
        "clips": ["019-train_future-s011"],
        "loss": 1.0 / step,
        "l1": 0.5 / step,
        "ssim": 0.5,
        "depth": None if step == 3 else 2.0,
        "velocity": 0.1,
        "psnr": 10.0 + step,
        "lr": 1e-3,
        "grad_norm": 1.0,
        "gaussians": 1000,
        "left_out": 2 if step == 4 else 0,
        "seconds": 0.5,
        "data_seconds": 0.1,
        "samples_per_second": 8.0,
        "max_rss_mb": 1000.0 + step,
        "gpu_mb": 30_000.0,
        **changes,
    }


OLD_ROW = {
    **{"step": 1, "clip": "a-train_future-s000", "loss": 0.5, "l1": 0.25, "ssim": 0.5, "depth": 1.0, "velocity": 0.1},
    **{"psnr": 15.5, "lr": 1e-3, "grad_norm": 2.0, "gaussians": 500, "seconds": 0.25, "data_seconds": 0.05},
    "max_rss_mb": 900.0,
}


def evaluation_row(step: int, psnr: float | None, **metrics: float | None) -> dict[str, object]:
    own = {"interpolation/psnr": psnr, "future/psnr": 20.0 - step, "flow/epe_3way": None, MARKUP: 1.0, **metrics}
    counts = {"interpolation/views": 20, "flow/points": 123_456}
    return {"step": step, "weights": "ema", "metrics": own, "counts": counts, "clips": CLIPS}


def jsonl(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "street"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(jsonl([step_row(step) for step in range(1, 13)]))
    rows = [evaluation_row(4, 21.25), evaluation_row(8, 23.75), evaluation_row(12, 22.5)]
    (folder / "evaluations.jsonl").write_text(jsonl(rows))
    record = {
        "dataset_version": "c0ffee" * 10,
        "clips_seen": ["a", "b", "c"],
        "frames_seen": {"street-7": [[0, 15], [40, 55]]},
        "started_at": "2026-01-01T00:00:00+00:00",
        "code_commit": MARKUP,
        "packages": {"torch": "2.13.0"},
        "hardware": {"gpu": "a card", "cores": 16},
        "world_size": 4,
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config.json").write_text(json.dumps({"steps": 30, "store": "s3://bucket/street", "name": MARKUP}))
    (folder / "weights.safetensors").write_bytes(b"12345")
    (folder / "checkpoints" / "best").mkdir(parents=True)
    (folder / "pictures").mkdir()
    for step in (4, 12):
        for number, clip in enumerate(CLIPS):
            pixels = np.full((9, 56, 3), 20 * step + number, np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"step-{step:08d}_{clip}_front_camera-003.jpg")
    return folder


def page(folder: Path) -> str:
    """The report's text, without its pictures."""
    return html.unescape(re.sub(r"base64,[A-Za-z0-9+/=]+", "", write_run_report(folder).read_text()))


def cards(folder: Path) -> dict[str, tuple[str, str, str]]:
    return {card.name: (card.value, card.unit, card.about) for card in headline(read_training_run(folder))}


def test_command_writes_one_offline_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run)])
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert self_contained(run / "report.html").addresses
    first = (run / "report.html").read_bytes()
    main(["report", str(run)])
    assert (run / "report.html").read_bytes() == first


def test_headline_says_how_it_goes(run: Path) -> None:
    found = cards(run)
    assert found["Steps done"] == ("12", "of 30", "6 s in steps, about 9 s to go")
    assert found["Throughput"][:2] == ("8.00", "clips/s")
    assert found["Best PSNR"] == ("23.75", "dB", "held-out interpolation views, step 8")
    assert found["Waiting for data"][0] == "20.0%"
    assert found["Peak memory"] == ("30.0", "GB", "on the GPU; 1.0 GB of the process")
    text = page(run)
    for value, _, about in found.values():
        assert f">{value}" in text
        assert about in text
    assert "stored bytes are damaged: 2 in 1 step (4)." in text


def test_throughput_is_clips_over_time_and_not_the_mean_of_rates(run: Path) -> None:
    rows = [step_row(1, seconds=9.0, samples_per_second=1.0), step_row(2, seconds=1.0, samples_per_second=11.0)]
    (run / "metrics.jsonl").write_text(jsonl(rows))
    assert cards(run)["Throughput"][0] == "2.00"


def test_evaluations_are_listed_newest_first_with_the_best_marked(run: Path) -> None:
    text = page(run)
    assert re.findall(r'<td class="l">(\d+)', text)[:3] == ["12", "8", "4"]
    marked = re.findall(r'<tr class="marked">.*?</tr>', text)
    assert len(marked) == 1
    assert ">8 <span" in marked[0]
    assert '<td class="first"><b>23.75</b></td>' in marked[0]
    assert "<b>16.00</b>" in text  # the best future PSNR is the first evaluation's
    assert "The newest rests on 20 interpolation views, 123,456 flow points. Clips: 001-evaluation-s000" in text
    assert "Scene flow, EPE-3way" not in text  # n/a in all of them: no chart of nothing


@given(st.lists(st.one_of(st.none(), st.floats(0, 60), st.just(float("inf"))), min_size=1, max_size=8))
def test_the_best_evaluation_is_the_first_of_the_highest(values: list[float | None]) -> None:
    best = best_evaluation([evaluation_row(place + 1, value) for place, value in enumerate(values)])
    known = [value for value in values if value is not None]
    if known:
        assert best.metric == "interpolation/psnr"
        assert (best.value, best.place) == (max(known), values.index(max(known)))
        assert best.step == best.place + 1
    else:
        assert (best.metric, best.step) == ("future/psnr", 1)


def test_newest_pictures_and_provenance_are_inside(run: Path) -> None:
    text = write_run_report(run).read_text()
    for path in (run / "pictures").iterdir():
        assert (base64.b64encode(path.read_bytes()).decode() in text) == path.name.startswith("step-00000012")
    shown = page(run)
    assert "Pictures of step 12" in shown
    assert "011-evaluation-s020, front_camera, frame 3" in shown
    for words in ("c0ffee" * 10, "torch 2.13.0", "gpu a card, cores 16", "s3://bucket/street", "world size"):
        assert words in shown
    assert "<dt>training clips</dt><dd>3</dd>" in shown
    assert "street-7" not in shown  # frames of every log are not one line of a page
    assert '"steps": 30' in shown
    assert "<dt>checkpoints</dt><dd>best</dd>" in shown
    assert MARKUP not in text
    assert MARKUP in shown
    assert "Losses that were not finite" not in shown


def test_no_text_of_a_run_makes_an_element(tmp_path: Path) -> None:
    pages = []
    # As long as each other, of what a file name may hold.
    for text in (MARKUP.replace("/", ""), "x" * (len(MARKUP) - 1)):
        folder = tmp_path / text
        for made in (f"dumps/{text}", f"checkpoints/{text}", "pictures"):
            (folder / made).mkdir(parents=True)
        (folder / "dumps" / text / text).write_bytes(b"1")
        for number in range(2):
            path = folder / "pictures" / f"step-00000012_{text}{number}.jpg"
            path.write_bytes(b"no picture")
        Image.new("RGB", (6, 2)).save(path)
        steps = [step_row(1), step_row(12, grad_norm=None, gpu_mb=None)]
        (folder / "metrics.jsonl").write_text(jsonl(steps))
        evaluated = {
            **evaluation_row(12, 20.0),
            "weights": text,
            "metrics": {text: 1.0},
            "counts": {text: 2},
            "clips": [text],
        }
        (folder / "evaluations.jsonl").write_text(jsonl([evaluated]))
        record = {"dataset_version": text, "started_at": text, text: text, "packages": {text: text}}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.json").write_text(json.dumps({"steps": 30, "store": text, text: text}))
        pages.append(self_contained(write_run_report(folder)))
    same_elements(*pages)
    text = MARKUP.replace("/", "")
    assert f"{text}1" in pages[0].values("alt")
    for words in (f"Training run {text}", f"started {text}", f"cannot be read: step-00000012_{text}0.jpg"):
        assert words in pages[0].text


def test_a_picture_that_is_torn_is_named_and_the_others_are_shown(run: Path) -> None:
    good = "step-00000012_001-evaluation-s000_front_camera-003.jpg"
    data = (run / "pictures" / good).read_bytes()
    huge = data[: data.index(b"\xff\xc0") + 5] + b"\xff\xff\xff\xff" + data[data.index(b"\xff\xc0") + 9 :]
    torn = {"000": b"", "001": data[:-40], "002": b"no picture", "003": data[:20], "004": huge}
    for number, part in torn.items():
        (run / "pictures" / f"step-00000012_zz-evaluation-s000_front_camera-{number}.jpg").write_bytes(part)
    (run / "pictures" / "step-00000012_zz-evaluation-s000_front_camera-005.jpg").mkdir()
    (run / "pictures" / ".tmp-0-step-00000012_zz-evaluation-s000_front_camera-006.jpg").write_bytes(data[:9])
    text = page(run)
    for number in (*torn, "005"):
        assert f"cannot be read: step-00000012_zz-evaluation-s000_front_camera-{number}.jpg" in text
    assert text.count("cannot be read") == 6
    assert base64.b64encode(data).decode() in (run / "report.html").read_text()


def test_pictures_of_steps_that_are_yet_to_be_done_again_are_not_shown(run: Path) -> None:
    """A run of 12 steps and an evaluation at 12 was continued from step 8."""
    (run / "metrics.jsonl").write_text(jsonl([step_row(step) for step in range(1, 9)]))
    assert "Pictures of step 4" in page(run)
    (run / "metrics.jsonl").write_text("")
    assert "No early evaluation has drawn pictures." in page(run)


def test_what_is_still_being_written_is_no_checkpoint(run: Path) -> None:
    (run / "checkpoints" / ".tmp-0-step-00000012").mkdir()
    assert "<dt>checkpoints</dt><dd>best</dd>" in page(run)


def test_a_report_is_there_whole_or_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_run_report(run).read_bytes()
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(step_row(13)) + "\n")

    def killed(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: killed(path, text.encode()))
    with pytest.raises(KeyboardInterrupt):
        write_run_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".tmp-*"))


FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e-320, 1e-12, 1.7e308, -1.7e308, 1e100, 1e101])
NUMBERS = FLOATS | st.sampled_from([None, 10**400, -(10**400), 10**18, 10**17, 2**63])
COLUMNS = sorted(set(step_row(1)) - {"step", "clips"})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), NUMBERS), min_size=1, max_size=6), st.data())
def test_no_number_stops_the_report(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    steps = [step_row(number + 1, **row) for number, row in enumerate(rows)]
    (folder / "metrics.jsonl").write_text(jsonl(steps))
    evaluated = evaluation_row(1, data.draw(NUMBERS), **{"future/psnr": data.draw(NUMBERS)})
    evaluated["counts"] = {"interpolation/views": data.draw(NUMBERS), "flow/points": data.draw(NUMBERS)}
    (folder / "evaluations.jsonl").write_text(jsonl([evaluated, evaluation_row(2, 20.0)]))
    (folder / "config.json").write_text(json.dumps({"steps": data.draw(NUMBERS), "other": data.draw(NUMBERS)}))
    (folder / "run.json").write_text(json.dumps({"world_size": data.draw(NUMBERS)}))
    text = re.sub(r"<pre>.*?</pre>", "", page(folder), flags=re.DOTALL)
    assert "Steps done" in text
    for drawn in re.findall(r' points="([^"]*)"', text):
        assert re.fullmatch(r"[-0-9., ]*", drawn), drawn
    assert re.search(r"[\d,]{40}", re.sub(r' points="[^"]*"', "", text)) is None


@given(st.lists(FLOATS, min_size=1, max_size=9), st.booleans())
def test_a_chart_of_any_numbers_stays_in_its_frame(values: list[float], log: bool) -> None:
    svg = chart("any", [Line(Curve("any", tuple(range(len(values))), tuple(values)), style="exact")], log=log)
    for line in re.findall(r'<polyline points="([^"]+)"', svg):
        for x, y in (pair.split(",") for pair in line.split()):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= HEIGHT
    assert svg.count('text-anchor="end"') < 40


def test_steps_and_lines_that_cannot_be_are_named(run: Path) -> None:
    for line in (b'{"step": 1' + b"0" * 400 + b"}", b'{"step": 9007199254740992}', b'{"step": -1}'):
        (run / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b"\n")
        with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: not a row of a training log"):
            write_run_report(run)
    for line in (b"[" * 100_000, b'{"step": 2, "a": "\xff"}', b"\0\0"):
        (run / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b"\n")
        with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: not JSON"):
            write_run_report(run)
    (run / "metrics.jsonl").unlink()
    (run / "config.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        write_run_report(run)


def test_halves_of_characters_are_shown_as_they_were_written(run: Path) -> None:
    (run / "config.json").write_text('{"steps": 30, "store": "a\\ud800b"}')
    (run / "run.json").write_text('{"dataset_version": "\\udfff", "code_commit": "\\ud83d"}')
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(
            '{"step": 12, "weights": "\\udc80", "metrics": {"\\udead": 1}, "counts": {}, "clips": ["\\ud8ff"]}\n'
        )
    text = page(run)
    for shown in ("a\\ud800b", "\\udfff", "\\ud83d", "\\udc80", "\\udead", "\\ud8ff"):
        assert shown in text


def test_nan_is_not_a_number_of_a_table(run: Path) -> None:
    rows = [evaluation_row(4, 21.25), evaluation_row(8, float("nan")), evaluation_row(12, 1e300)]
    (run / "evaluations.jsonl").write_text(jsonl(rows))
    text = page(run)
    assert '<td class="first na">n/a</td>' in text
    assert "<b>1e+300</b>" in text
    (run / "metrics.jsonl").write_text(jsonl([step_row(1, seconds=float("nan"), left_out=float("inf"))]))
    assert "0 s in steps" in page(run)


def test_many_pictures_are_cut_and_counted(run: Path) -> None:
    (run / "metrics.jsonl").write_text(jsonl([step_row(step) for step in range(1, 14)]))
    source = (run / "pictures" / "step-00000012_001-evaluation-s000_front_camera-003.jpg").read_bytes()
    for frame in range(MOST_PICTURES):
        (run / "pictures" / f"step-00000013_a-evaluation-s000_front_camera-{frame:03d}.jpg").write_bytes(source)
    assert "Held-out views." in page(run)
    (run / "pictures" / "step-00000013_a-evaluation-s000_left_camera-000.jpg").write_bytes(source)
    assert f"the first {MOST_PICTURES} of {MOST_PICTURES + 1}" in page(run)


def test_dumps_are_shown_with_what_they_hold(run: Path) -> None:
    dump = run / "dumps" / "step-00000007-rank2"
    dump.mkdir(parents=True)
    (dump / "sample.safetensors").write_bytes(bytes(20_000))
    text = page(run)
    assert "Losses that were not finite" in text
    assert "step-00000007-rank2" in text
    assert "sample.safetensors (20.0 kB)" in text


def test_what_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"dataset_version": "c0ffee"}')
    text = page(tmp_path)
    for words in (
        "no step has finished yet",
        "no early evaluation has scored a view yet",
        "evaluations.jsonl has no early evaluation.",
        "No early evaluation has drawn pictures.",
        "metrics.jsonl has no step.",
        "config.json is missing.",
        "<dt>world size</dt><dd>not recorded</dd>",
        "<dt>weights</dt><dd>none yet</dd>",
        "damaged: not recorded",
    ):
        assert words in text
    assert "<svg" not in text
    (tmp_path / "run.json").unlink()
    (tmp_path / "metrics.jsonl").write_text(jsonl([step_row(1, gpu_mb=None)]))
    text = page(tmp_path)
    assert "run.json is missing" in text
    assert "Not drawn: gpu_mb (no value in any step)." in text


def test_runs_of_before_still_have_a_report(tmp_path: Path) -> None:
    rows = [{**OLD_ROW, "step": step} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text(jsonl(rows))
    (tmp_path / "run.json").write_text('{"dataset_version": "c0ffee", "clips_seen": ["a"]}')
    assert cards(tmp_path)["Throughput"][0] == "4.00"  # one clip in a quarter of a second
    assert cards(tmp_path)["Peak memory"] == ("0.9", "GB", "of the process; no GPU memory was recorded")
    assert left_out(rows) == "not recorded"
    text = page(tmp_path)
    assert "gpu_mb (not recorded)" in text
    assert text.count("<svg") == 11  # eight of learning, three of cost


@given(st.integers(0, 2000))
def test_a_log_cut_off_anywhere_reads_as_the_lines_that_are_whole(tmp_path_factory, cut: int) -> None:  # type: ignore[no-untyped-def]
    whole = jsonl([step_row(step, clips=["ä-train_future-s000"]) for step in range(1, 6)]).encode()
    path = tmp_path_factory.mktemp("cut") / "metrics.jsonl"
    part = whole[: min(cut, len(whole))]
    path.write_bytes(part)
    rows = read_rows(path)
    ended = part.count(b"\n")
    assert [row["step"] for row in rows[:ended]] == list(range(1, ended + 1))
    # The row after the last line break is there only if it is whole.
    assert len(rows) == ended + part.endswith(b"}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 1}\n{"st\n{"step": 3}\n', r"metrics.jsonl, line 2: not JSON.*--resume"),
        ('{"step": 1}\n\n{"step": 3}\n', r"metrics.jsonl, line 2: not JSON"),
        ('{"step": 1}\n[2]\n', r"metrics.jsonl, line 2: not a row of a training log"),
        ('{"step": 1}\n{"loss": 2}', r"metrics.jsonl, line 2: not a row of a training log"),
        ('{"step": "1"}\n', r"metrics.jsonl, line 1: not a row"),
        ('{"step": 7, "loss": "high"}\n', r"step 7: loss is 'high', which is no number"),
    ],
)
def test_any_other_broken_line_is_named(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)
    assert main(["report", str(tmp_path)]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_other_broken_files_are_named(run: Path) -> None:
    (run / "evaluations.jsonl").write_text('{"step": 3, "metrics": 1}\n')
    with pytest.raises(ValueError, match=r"evaluations.jsonl, step 3: metrics is missing or no object"):
        write_run_report(run)
    (run / "evaluations.jsonl").unlink()
    (run / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        write_run_report(run)


def test_a_folder_of_both_kinds_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation.json").write_text("{}")
    assert main(["report", str(run)]) == 1
    assert "holds a training run and an evaluation" in capsys.readouterr().err


def points(svg: str, css_class: str) -> np.ndarray:
    found = re.search(rf'<polyline points="([^"]*)" class="{css_class}"', svg)
    return np.array([pair.split(",") for pair in found[1].split()], float)


def test_no_spike_is_lost_in_a_long_curve_and_far_outliers_do_not_flatten_it() -> None:
    values = np.tile([1.0, 1.2, 1.1, 1.3], 5000)
    values[12_345] = 1.5
    values[17] = 1e6
    svg = chart("loss", [Line(Curve("loss", tuple(range(20_000)), tuple(values)))])
    assert "1 value off the axis" in svg
    raw = points(svg, "raw")
    assert len(raw) < 1000
    heights = np.sort(np.unique(raw[:, 1]))
    assert len(heights) >= 4  # 1e6 at the edge, 1.5, then 1.3 down to 1.0
    assert heights[-1] - heights[2] > 0.3 * HEIGHT  # the ordinary values fill the chart
    assert (np.diff(raw[:, 0]) >= 0).all()


def test_logarithmic_axes_leave_out_and_count_what_has_no_logarithm() -> None:
    curve = Curve("grad_norm", (1, 2, 3, 4), (0.1, 0.0, 10.0, float("nan")))
    svg = chart("norm", [Line(curve, style="exact")], log=True)
    assert "2 values not positive and finite" in svg
    assert len(points(svg, "mean")) == 2
    assert ">1</text>" in svg
    assert "nan" not in svg
