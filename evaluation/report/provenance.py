"""Provenance of an evaluation: data, weights, configuration and machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from typing import Any

import torch

from evaluation.run_folder.seen_frames import CLIPS_SEEN, FRAMES_SEEN
from store_schema.pages.line_chart import Curve
from store_schema.version.provenance import cpu_model, package_versions

_PACKAGES = ("flux4d-street", "torch", "numpy", "gsplat", "spconv-cu120", "spconv-triton", "numba")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Provenance of an evaluation, for the report."""

    dataset_version: str
    store: str
    weights: str
    """Empty where no network was scored; so is its hash."""
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
    files: dict[str, str] = field(default_factory=dict)
    """Folder and hash of what was scored from files, by method."""


def flat_record(record: dict[str, Any]) -> dict[str, str]:
    """A run record as lines of text, the lists of clips and frames left out."""
    lines: dict[str, str] = {}
    for name, value in record.items():
        if name in (CLIPS_SEEN, FRAMES_SEEN):
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
