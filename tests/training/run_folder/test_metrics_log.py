"""Logs that a run continues: whole rows stay to the byte, later ones go, and only a cut last line is forgiven."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.run_folder.rows import read_rows
from training.run_folder.metrics_log import JsonLines, truncate_after


def write(path: Path, steps: list[int]) -> None:
    log = JsonLines(path)
    for step in steps:
        log.append({"step": step, "loss": step / 7, "clip": "ü\n"})
    log.close()


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_rows_can_be_read_at_once_and_are_added_to(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.jsonl"
    log = JsonLines(path)
    log.append({"step": 1})
    assert steps_of(path) == [1]
    log.close()
    write(path, [2, 3])
    assert steps_of(path) == [1, 2, 3]


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "m")
    log.append({"step": 1, "a": float("nan"), "b": {"c": [float("inf"), 1.5]}, "d": (float("-inf"),)})
    log.close()
    assert (tmp_path / "m").read_text() == '{"step": 1, "a": null, "b": {"c": [null, 1.5]}, "d": [null]}\n'


@given(cut=st.integers(0, 400), step=st.integers(-1, 9))
def test_cut_anywhere_a_run_continues_as_if_it_had_not_stopped(
    tmp_path_factory: pytest.TempPathFactory, cut: int, step: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    write(path, list(range(1, 9)))
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    truncate_after(path, step)
    kept = path.read_bytes()
    assert whole.startswith(kept)
    # A row whose line end alone is gone is whole.
    rows = whole[:cut].count(b"\n") + (
        cut < len(whole) and whole[cut : cut + 1] == b"\n" and whole[cut - 1 : cut] == b"}"
    )
    assert steps_of(path) == list(range(1, 1 + max(0, min(rows, step))))
    write(path, list(range(len(steps_of(path)) + 1, 9)))
    assert path.read_bytes() == whole


@given(
    lines=st.lists(
        st.one_of(
            st.integers(0, 9).map(lambda step: b'{"step": %d, "a": "x"}' % step),
            st.sampled_from(
                [b"", b"[1]", b'{"loss": 1}', b'{"step": 1', b"\xff", b'{"step": %d}' % 10**400, b"[" * 9000]
            ),
        ),
        max_size=5,
    ),
    ended=st.booleans(),
    step=st.integers(0, 9),
)
def test_what_is_kept_is_what_a_report_would_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool, step: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended and lines else b""))
    before = path.read_bytes()
    try:
        rows = read_rows(path)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            truncate_after(path, step)
        assert path.read_bytes() == before
        return
    truncate_after(path, step)
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [row for row in rows if row["step"] <= step]
    assert path.read_bytes()[-1:] in (b"", b"\n")


@pytest.mark.parametrize(
    "broken", ['{"step": 2', "[2]", '{"loss": 1}', '{"step": "2"}', '{"step": true}', "", "\0\0", "\udcff"]
)
def test_a_broken_line_elsewhere_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "metrics.jsonl"
    for tail in ('{"step": 3}\n', ""):
        data = f'{{"step": 1}}\n{broken}\n{tail}'.encode(errors="surrogateescape")
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: "):
            truncate_after(path, 5)
        assert path.read_bytes() == data


def test_garbage_after_the_last_row_goes(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b'{"step": 1}\n\0\0\xff\r{"st')
    truncate_after(path, 5)
    assert path.read_bytes() == b'{"step": 1}\n'


def test_nothing_to_do_leaves_the_file_alone(tmp_path: Path) -> None:
    truncate_after(tmp_path / "none", 3)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "m", [1, 2])
    inode = (tmp_path / "m").stat().st_ino
    truncate_after(tmp_path / "m", 2)
    assert (tmp_path / "m").stat().st_ino == inode


def test_a_file_that_ends_within_a_line_is_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "m").write_text('{"step": 1}\n{"ste')
    with pytest.raises(ValueError, match="ends within a line"):
        JsonLines(tmp_path / "m")
