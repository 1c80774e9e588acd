"""What a run folder says of its origin: data, code, packages, hardware."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

import torch

from store_schema.provenance import code_commit, package_versions

PACKAGES = ("torch", "numpy", "spconv-cu120", "spconv-triton", "gsplat", "numba")


def run_record(dataset_version: str, clips_seen: list[str], device: torch.device) -> dict[str, Any]:
    """The content of ``run.json``."""
    return {
        "dataset_version": dataset_version,
        "clips_seen": clips_seen,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_commit": code_commit(),
        "packages": package_versions(PACKAGES),
        "hardware": hardware(device),
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run is on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": str(device),
        "gpu": gpu,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }
