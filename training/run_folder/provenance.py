"""Provenance of a run: data, code, packages and hardware, for ``run.json``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from evaluation.run_folder.seen_frames import CLIPS_SEEN, FRAMES_SEEN, SeenFrames
from store_schema.clip import ClipRecord
from store_schema.version.provenance import code_commit, cpu_model, package_versions

PACKAGES = (
    "torch",
    "numpy",
    "spconv-cu120",
    "spconv-triton",
    "gsplat",
    "numba",
    "simplejpeg",
    "safetensors",
    "tyro",
    "tensorboard",
)
_DRIVER = Path("/proc/driver/nvidia/version")


def run_record(
    dataset_version: str, seen: Sequence[ClipRecord], device: torch.device, world_size: int
) -> dict[str, Any]:
    """The content of ``run.json``.

    Args:
        dataset_version: hash of the version that is trained on.
        seen: its clips that are trained on; the record names them and the frames they span.
        device: of this process.
        world_size: processes that train together.
    """
    return {
        "dataset_version": dataset_version,
        CLIPS_SEEN: sorted(record.clip_id for record in seen),
        FRAMES_SEEN: SeenFrames.of_clips(seen).to_json(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_commit": code_commit(),
        "world_size": world_size,
        "packages": {"python": platform.python_version(), **package_versions(PACKAGES)},
        "hardware": hardware(device),
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run is on; None is unknown, or not there."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "device": str(device),
        "gpu": None if gpu is None else gpu.name,
        "gpu_gb": None if gpu is None else round(gpu.total_memory / 1e9, 1),
        "gpus": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "driver": _driver(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
    }


def _driver() -> str | None:
    """Version of NVIDIA's driver, as its kernel module says."""
    found = re.search(r"Kernel Module[^\n]*?\s(\d+(?:\.\d+)+)", _DRIVER.read_text()) if _DRIVER.is_file() else None
    return None if found is None else found[1]
