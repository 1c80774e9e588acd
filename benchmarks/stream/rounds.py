"""How the sides of the streaming benchmark are timed: settings tried, then rounds with a window of each in turn."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stages import spread
from benchmarks.stream.sides.side import Side

WARM = 12
"""Samples taken before a window: more than any side has ready."""
Row = dict[str, float]


@dataclass(slots=True)
class Timed:
    """One side and what was measured of it."""

    side: Side
    workers: Sequence[int]
    """Settings to try."""
    options: dict[str, Any]
    """Of ``open``, without the workers."""
    tried: dict[int, float] = field(default_factory=dict)
    """Samples/s by number of workers."""
    rows: list[Row] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The fastest number of workers."""
        return max(self.tried, key=lambda workers: self.tried[workers])

    def open(self, workers: int) -> None:
        """A new loader."""
        self.side.ask(do="open", workers=workers, **self.options)

    def tune(self, seconds: float) -> None:
        """Try each setting for about `seconds`, and leave the loader open with the best."""
        for workers in self.workers:
            self.open(workers)
            count = self._count(seconds / 2, self.side.ask(do="run", warm=WARM, count=WARM))
            self.tried[workers] = _rate(self.side.ask(do="run", warm=WARM, count=count))
        if self.best != workers:
            self.open(self.best)

    def window(self, seconds: float) -> None:
        """One window of about `seconds`."""
        count = max(WARM, round(self.tried[self.best] * seconds))
        self.rows.append(self.side.ask(do="run", warm=WARM, count=count))

    @staticmethod
    def _count(seconds: float, row: Row) -> int:
        return max(WARM, round(_rate(row) * seconds))

    def result(self) -> dict[str, Any]:
        """Medians and spreads over the windows, and the setting they had."""
        return {**summary(self.rows), "workers": self.best, "samples_per_s_by_workers": self.tried}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Medians and spreads over windows."""
    rates = [_rate(row) for row in rows]
    costs = [_cost(row) for row in rows]
    return {
        "samples_per_s": median(rates),
        "samples_per_s_spread": _range(rates),
        "cpu_ms_per_sample": median(costs),
        "cpu_ms_spread": _range(costs),
        "mb_per_sample": rows[0]["mb_per_sample"],
        "windows": len(rates),
        "samples_per_window": rows[0]["count"],
    }


@dataclass(slots=True)
class FirstEpoch:
    """Our first epoch: every clip is read from the shards, checked, lifted and written to an empty cache."""

    side: Side
    options: dict[str, Any]
    """Of ``open``, without the cache."""
    clips: int
    rows: list[Row] = field(default_factory=list)

    def fill(self, cache: Path) -> Row:
        """One whole first epoch into an empty cache."""
        self.side.ask(do="open", cache=str(cache), **self.options)
        row: Row = self.side.ask(do="run", warm=0, count=self.clips)
        return row

    def window(self, cache: Path) -> None:
        """One whole first epoch, measured; the cache is thrown away."""
        self.rows.append(self.fill(cache))
        shutil.rmtree(cache)

    def result(self) -> dict[str, Any]:
        """Medians and spreads over the epochs."""
        return {**summary(self.rows), "workers": self.options["workers"]}


def second_epoch(ours: Timed, clips: int, epochs: int) -> dict[str, float]:
    """Our second epoch, in which other views of each clip are asked for than in the first; then on to the steady state.

    All views of the clips were asked for once after so many `epochs`.
    """
    ours.open(ours.workers[0])
    row = ours.side.ask(do="run", warm=clips, count=clips)
    ours.side.ask(do="run", warm=max(0, epochs - 2) * clips, count=1)
    return {"samples_per_s": _rate(row), "cpu_ms_per_sample": _cost(row)}


def run_rounds(sides: Mapping[str, Timed], rounds: int, seconds: float) -> None:
    """Each side's window in turn; every round starts with another side."""
    order = list(sides.values())
    for number in range(rounds):
        turn = number % len(order)
        for timed in order[turn:] + order[:turn]:
            timed.window(seconds)


def ratios(sides: Mapping[str, Timed], peers: Sequence[str]) -> dict[str, Any]:
    """Our samples/s over the fastest peer's and over the floor's, round by round; the peers' are None without one."""
    rates = {name: [_rate(row) for row in timed.rows] for name, timed in sides.items()}
    costs = {name: [_cost(row) for row in timed.rows] for name, timed in sides.items()}
    fastest = max(peers, key=lambda name: median(rates[name]), default=None)
    cheapest = min(peers, key=lambda name: median(costs[name]), default=None)
    return {
        "fastest_peer": fastest,
        "ours_to_fastest_peer": None if fastest is None else _over(rates["ours"], rates[fastest]),
        "ours_to_floor": _over(rates["ours"], rates["floor"]),
        "cheapest_peer": cheapest,
        "cpu_ours_to_cheapest_peer": None if cheapest is None else _over(costs["ours"], costs[cheapest]),
        "cpu_ours_to_floor": _over(costs["ours"], costs["floor"]),
        "ours_to_each_peer": {name: _over(rates["ours"], rates[name])["median"] for name in peers},
    }


def _rate(row: Row) -> float:
    return row["count"] / row["wall_s"]


def _cost(row: Row) -> float:
    return 1e3 * row["cpu_s"] / row["count"]


def _over(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def _range(values: Sequence[float]) -> dict[str, float]:
    return {**spread(values), "min": min(values), "max": max(values)}
