"""Progress bars on standard error, the same in every command; nothing where that is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

T = TypeVar("T")


class Bars:
    """The bars of a command; one comes into being when it is first named."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, name: str, done: int, total: int | None) -> None:
        """Say how far something is; a `total` of None is not known."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def track(
        self, name: str, results: Iterable[T], total: int, steps: Callable[[T], int] = lambda result: 1
    ) -> Iterator[T]:
        """`results` as they come; each counts when the next one is asked for, as `steps` of `total`."""
        done = 0
        self.update(name, done, total)
        for result in results:
            yield result
            done += steps(result)
            self.update(name, done, total)


@contextmanager
def progress_bars(console: Console, *, keep: bool = False) -> Iterator[Bars]:
    """Show bars while entered.

    Args:
        console: of standard error.
        keep: leave them on the terminal, full as they are, and print them where there is none.
    """
    # Not before a bar is shown: --help does not need it.
    from rich import progress as rich

    columns = (rich.TextColumn("{task.description:<8}"), rich.BarColumn(), rich.MofNCompleteColumn())
    times = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
    with rich.Progress(*columns, *times, console=console, transient=not keep) as progress:
        yield Bars(progress)
