"""Progress bars: alike everywhere, and only where somebody looks."""

from __future__ import annotations

import io

from rich.console import Console

from store_schema.command_line.progress import Bars, progress_bars


def shown(*, terminal: bool, keep: bool) -> str:
    file = io.StringIO()
    with progress_bars(Console(file=file, force_terminal=terminal, width=80), keep=keep) as bars:
        assert list(bars.track("clips", iter("abc"), 3)) == ["a", "b", "c"]
        bars.update("shards", 1, 2)
    return file.getvalue()


def test_a_terminal_shows_bars_with_counts() -> None:
    for keep in (True, False):
        text = shown(terminal=True, keep=keep)
        assert "clips" in text
        assert "3/3" in text
        assert "1/2" in text


def test_output_to_a_file_has_bars_only_where_they_are_kept() -> None:
    assert shown(terminal=False, keep=False).strip() == ""
    assert "3/3" in shown(terminal=False, keep=True)


def test_what_is_tracked_counts_when_the_next_one_is_asked_for() -> None:
    seen: list[tuple[str, int, int | None]] = []

    class Noted(Bars):
        def __init__(self) -> None:
            pass

        def update(self, name: str, done: int, total: int | None) -> None:
            seen.append((name, done, total))

    results = Noted().track("frames", [2, 3], 5, steps=lambda result: result)
    next(results)
    assert seen == [("frames", 0, 5)]
    assert list(results) == [3]
    assert seen[1:] == [("frames", 2, 5), ("frames", 5, 5)]
