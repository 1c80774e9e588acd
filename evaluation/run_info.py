"""Where the numbers came from: data, weights, configuration, machine, and how the training went."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evaluation.run_log import Row, number_of, read_rows
from store_schema.provenance import cpu_model, package_versions

CURVES = ("loss", "psnr")
"""Columns of ``metrics.jsonl`` that are drawn."""
_PACKAGES = ("flux4d-street", "torch", "numpy", "gsplat", "spconv-cu120", "spconv-triton", "numba")


@dataclass(frozen=True, slots=True)
class Curve:
    """One column of the training log."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Provenance of an evaluation, for the report."""

    dataset_version: str
    store: str
    weights: str
    weights_hash: str
    config: str
    """Resolved training configuration as JSON text; empty without a run folder."""
    record: dict[str, str]
    """What the run folder says of its origin, one line each."""
    machine: dict[str, str]
    """Where the evaluation ran."""
    clips_seen: tuple[str, ...] = ()
    scene: str = ""
    """Settings the scored scenes were lifted with, as JSON text: the run's, and today's defaults with weights alone."""
    curves: tuple[Curve, ...] = field(default_factory=tuple)


def read_record(run: Path) -> dict[str, Any]:
    """``run.json`` of a training run.

    Raises:
        FileNotFoundError: the folder is not a run.
    """
    path = run / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {run} is not a run folder of flux4d-train (or use --weights FILE)")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def read_curves(path: Path) -> tuple[Curve, ...]:
    """Training curves of a ``metrics.jsonl``; nothing when there is no such file.

    Raises:
        ValueError: a line that is complete is not JSON.
    """
    rows = read_rows(path)
    curves = (curve_of(rows, name) for name in CURVES)
    return tuple(curve for curve in curves if curve.steps)


def curve_of(rows: Iterable[Row], name: str) -> Curve:
    """One column of a training log, steps without a value left out."""
    points = [(int(row["step"]), value) for row in rows if (value := number_of(row, name)) is not None]
    return Curve(name, tuple(step for step, _ in points), tuple(value for _, value in points))


def flat_record(record: dict[str, Any]) -> dict[str, str]:
    """A run record as lines of text, the list of clips left out."""
    lines: dict[str, str] = {}
    for name, value in record.items():
        if name == "clips_seen":
            continue
        if isinstance(value, dict):
            lines[name] = ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
        elif value is not None:
            lines[name] = str(value)
    return lines


def machine_lines(device: torch.device) -> dict[str, str]:
    """What the evaluation runs on."""
    lines = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "CPU": f"{cpu_model()}, {os.cpu_count()} logical cores, {torch.get_num_threads()} torch threads",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    packages = ", ".join(f"{name} {version}" for name, version in package_versions(_PACKAGES).items())
    return {**lines, "packages": packages}
