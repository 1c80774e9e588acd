"""Wall time of the frame stage with one and with two Dask worker processes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from rich.progress import Progress

from pipelines.build.plan import BuildConfig, LogPlan, inspect_log
from pipelines.build.run import FRAMES_PER_TASK
from pipelines.build.runner import open_runner
from pipelines.build.tasks import FrameSource, build_frames
from store_schema.protocol import ClipProtocol


def frame_stage_scaling(log: Path, folder: Path, progress: Progress, repeats: int = 5) -> dict[str, Any]:
    """Best of several runs each, taken in turn; the start of the cluster and of every worker's kernels is left out.

    The log is built twice under two names, so that the tasks can be shared out evenly.
    """
    root = folder / "twice"
    root.mkdir()
    names = [f"{log.name}a", f"{log.name}b"]
    for name in names:
        (root / name).symlink_to(log.resolve())
    config = BuildConfig(root=root, out=folder / "scaled", protocol=ClipProtocol(test_logs=()))
    plans = [plan for name in names if isinstance(plan := inspect_log(root / name, config), LogPlan)]
    assert len(plans) == len(names), "the log was readable a moment ago"
    task = progress.add_task("1 and 2 workers", total=2 * repeats)
    times: dict[int, list[float]] = {1: [], 2: []}
    startups = []
    for repeat in range(repeats):
        for workers in (1, 2):
            startup, seconds = _frame_stage(plans, config, folder / f"frames-{workers}-{repeat}", workers)
            startups.append(startup)
            times[workers].append(seconds)
            progress.advance(task)
    pairs = [one / two for one, two in zip(times[1], times[2], strict=True)]
    return {
        "workers_1_s": min(times[1]),
        "workers_2_s": min(times[2]),
        "speedup": statistics.median(pairs),
        "speedup_low": min(pairs),
        "speedup_high": max(pairs),
        "all_workers_1_s": times[1],
        "all_workers_2_s": times[2],
        "startup_s": max(startups),
        "frames": sum(len(plan.frames) for plan in plans),
    }


def _frame_stage(plans: list[LogPlan], config: BuildConfig, frames: Path, workers: int) -> tuple[float, float]:
    """Seconds until all workers are warm, and seconds of the frame stage."""
    start = time.perf_counter()
    # The build's own runner, so that its settings of the workers are what is measured.
    with open_runner(workers, None) as runner:
        # More than one a worker: each has a single thread, so none can take them all.
        warm = [FrameSource.of(plans[0], frames / f"warm{number}", config.features) for number in range(3 * workers)]
        done = list(runner.map(build_frames, [(source, plans[0].frames[:1]) for source in warm]))
        ready = time.perf_counter()
        calls = [
            (FrameSource.of(plan, frames, config.features), plan.frames[first : first + FRAMES_PER_TASK])
            for plan in plans
            for first in range(0, len(plan.frames), FRAMES_PER_TASK)
        ]
        done += runner.map(build_frames, calls)
        seconds = time.perf_counter() - ready
    if errors := [result.error for result in done if result.error is not None]:
        raise errors[0]
    return ready - start, seconds
