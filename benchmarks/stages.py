"""CPU time of the parts of a program, by functions put in their place for a while."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


class StageClock:
    """CPU seconds of this process by stage. A stage within a stage counts for the inner one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []  # of every stage that is running: time of the stages it called

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with its time added to `stage`."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._within.append(0.0)
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.process_time() - start
                self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed - self._within.pop()
                if self._within:
                    self._within[-1] += elapsed

        return call


@contextmanager
def stages_timed(functions: Mapping[str, Sequence[str]]) -> Iterator[StageClock]:
    """Time functions while inside.

    Args:
        functions: stage to ``module:name`` or ``module:Class.name`` of the functions it is made of, named where they
            are looked up, not where they are defined.

    Raises:
        AttributeError: a function is not there (any more).
    """
    clock, restore = StageClock(), []
    try:
        for stage, names in functions.items():
            for name in names:
                module, _, path = name.partition(":")
                *parents, last = path.split(".")
                owner = functools.reduce(getattr, parents, importlib.import_module(module))
                plain = getattr(owner, last)
                restore.append((owner, last, vars(owner)[last]))  # not `plain`: a class method would come back bound
                setattr(owner, last, clock.timed(stage, plain))
        yield clock
    finally:
        for owner, last, plain in restore:
            setattr(owner, last, plain)


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads, in one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and the 10 % and 90 % quantiles."""
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.1, 0.5, 0.9])
    return {"median": float(middle), "p10": float(low), "p90": float(high)}
