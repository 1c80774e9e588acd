"""Small training runs: a store of toy clips, settings that take milliseconds a step, and whole processes of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from store_schema.clip import Clip
from store_schema.version.dataset import open_dataset
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store
from training.config import CheckpointConfig, LoaderConfig, OptimizerConfig, StreamConfig, TrainConfig, presets

TIMED = ("seconds", "data_seconds", "samples_per_second", "max_rss_mb", "gpu_mb")
"""Columns of a report that no run has twice."""
OPTIONS = (
    *("--network.channels", "8", "16", "--stream.width", "48", "--optimizer.warmup-steps", "5"),
    *("--stream.settings", "train_interpolation", "train_future", "--no-tensorboard"),
)
"""What `small` sets, on a command line."""


def numbered(number: int, setting: str = "train_future", **changes: Any) -> Clip:
    """One of several toy clips of a store."""
    clip = make_clip(setting=setting, seed=number, per_frame=90, **changes)
    record = replace(clip.record, clip_id=f"toy{number}-{setting}-s000", log_id=f"toy{number}")
    return replace(clip, record=record)


def write_clips(folder: Path, count: int = 5) -> Path:
    """A store of `count` training clips of two settings and one evaluation clip."""
    settings = ("train_future", "train_interpolation")
    clips = [numbered(number, settings[number % 2]) for number in range(count)]
    write_store(folder, [*clips, numbered(count, "evaluation")])
    return folder


def small(store: Path, out: Path, **changes: Any) -> TrainConfig:
    """A run of six steps."""
    base = presets()["cpu"][1]
    config = replace(
        base,
        store=str(store),
        out=out,
        steps=6,
        tensorboard=False,
        network=replace(base.network, channels=(8, 16)),
        stream=StreamConfig(settings=("train_interpolation", "train_future"), width=48),
        optimizer=OptimizerConfig(lr=1e-2, warmup_steps=5),
        checkpoint=CheckpointConfig(every=3),
        loader=LoaderConfig(workers=2, prefetch=2, memory_clips=8),
    )
    return replace(config, **changes)


def damage(store: Path, clip_id: str) -> None:
    """Flip a bit of a clip's points in its shard."""
    dataset = open_dataset(store)
    member = dataset.members[clip_id]["points.arrow"]
    path = dataset.folder / "shards" / member.shard
    data = bytearray(path.read_bytes())
    data[member.offset + 10] ^= 1
    path.write_bytes(bytes(data))


def command(store: Path | str, out: Path, *options: str) -> list[str]:
    """The command line of `small`."""
    return ["cpu", "--store", str(store), "--out", str(out), *OPTIONS, *options]


def start(arguments: list[str], ranks: int = 1, module: str = "training", extra: list[str] | None = None) -> list[Any]:
    """Start the processes of one run; the caller waits for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "FLUX4D_TEST_RANK": str(rank)}
        if ranks > 1:
            place = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "MASTER_PORT": port}
            environment |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in place.items()}}
        line = [sys.executable, "-m", module, *(extra or []), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(line, env=environment, **pipes))
    return processes


def finish(processes: list[Any], timeout: float = 240.0) -> list[tuple[int, str, str]]:
    """Wait for the processes; exit status, output and errors of each."""
    return [(p.returncode, *texts) for p in processes for texts in [p.communicate(timeout=timeout)]]


def metrics(run: Path) -> list[dict[str, Any]]:
    """What every step gave, but for its times and memory."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def same_weights(a: Path, b: Path, name: str = "weights.safetensors") -> bool:
    """Are the weights of two runs equal to the last bit?"""
    one, other = load_file(a / name), load_file(b / name)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
