"""What the GPU check works on: the toy clip or a stored one, at a size that fits the kind of run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.network.model import NetworkConfig, small
from store_schema.clip import Clip, View

Outcome = tuple[dict[str, Any], list[str]]
"""What a section measured, and in words what of it is out of tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much work the sections do."""

    toy_width: int
    toy_points: int  # a frame
    max_width: int | None  # rendered width of a clip is at most this; None is the stored size
    max_gaussians: int | None
    sky_spacing: float  # rad
    networks: dict[str, NetworkConfig]  # the first is the one that is compared between libraries
    warmup: int
    steps: int
    training_steps: int


QUICK = Size(
    toy_width=96,
    toy_points=300,
    max_width=480,
    max_gaussians=10_000,
    sky_spacing=0.02,
    networks={"small": small()},
    warmup=1,
    steps=2,
    training_steps=4,
)
FULL = Size(
    toy_width=960,
    toy_points=30_000,
    max_width=None,
    max_gaussians=None,
    sky_spacing=SkyConfig().spacing,
    networks={"paper": NetworkConfig(), "small": small()},
    warmup=5,
    steps=20,
    training_steps=200,
)


@dataclass(frozen=True)
class Check:
    """One run of the check: where it computes, how much, and on what."""

    device: torch.device
    size: Size
    quick: bool = False
    store: Path | None = None
    clip_id: str | None = None

    @property
    def raster_backend(self) -> str:
        """gsplat, or its plain twin when there is no CUDA and only the script is tried."""
        return "gsplat" if self.device.type == "cuda" else "torch"

    @property
    def scene(self) -> SceneConfig:
        sky = SkyConfig(spacing=self.size.sky_spacing)
        return SceneConfig(max_gaussians=self.size.max_gaussians, sky=sky)

    @cached_property
    def toy(self) -> Clip:
        from tests.support.scenes.toy import make_clip

        width = self.size.toy_width
        return make_clip(width=width, height=width * 9 // 16, per_frame=self.size.toy_points)

    @cached_property
    def reader(self) -> Callable[[], Clip] | None:
        """Reads the store's clip anew at each call; None when no store was given.

        Raises:
            RuntimeError: a package that reading a store needs is missing.
        """
        if self.store is None:
            return None
        try:
            from store_schema.version.dataset import open_dataset
        except ImportError as error:
            raise RuntimeError(f"a store cannot be read here: {error}; pip install pyarrow blake3") from error
        dataset = open_dataset(self.store)
        records = dataset.select(setting="evaluation") or dataset.records
        clip_id = self.clip_id or records[0].clip_id
        return lambda: dataset.read(clip_id)

    @cached_property
    def clip(self) -> Clip:
        """The store's clip when there is one, else the toy clip."""
        return self.toy if self.reader is None else self.reader()

    def width_of(self, clip: Clip) -> int:
        stored = clip.views[0].width
        return stored if self.size.max_width is None else min(stored, self.size.max_width)

    def lift(self, clip: Clip) -> Gaussians:
        return lift_clip(clip, self.scene, self.device)

    def facts(self, clip: Clip) -> dict[str, Any]:
        return {"clip": clip.record.clip_id, "points": len(clip.points), "stored_width": clip.views[0].width}


def targets(clip: Clip) -> list[View]:
    return list(clip.views_of("interpolation", "future"))


def camera(view: View, width: int) -> Cameras:
    return Cameras.from_views([view], width)


def uneven(gaussians: Gaussians) -> Gaussians:
    """The same scene with rotations, unequal axes, opacities and velocities: as lifted it is of balls that stand still.

    Drawn on the CPU from a fixed seed, so that every device gets the same.
    """
    g = torch.Generator().manual_seed(0)
    count = len(gaussians)
    stretch = torch.exp(0.4 * torch.randn(count, 3, generator=g))
    return replace(
        gaussians,
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=g), dim=1),
        scales=gaussians.scales * stretch,
        opacities=0.2 + 0.75 * torch.rand(count, generator=g),
        velocities=2.0 * torch.randn(gaussians.velocities.shape, generator=g) * ~gaussians.is_sky[:, None, None],
    )


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Seconds by part; waits for the device before and after each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        synchronise(self._device)
        start = time.perf_counter()
        yield
        synchronise(self._device)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def spread_ms(self, warmup: int) -> dict[str, dict[str, float]]:
        """Median, least and most of each part after `warmup` rounds, ms."""
        rows = {name: [1e3 * value for value in values[warmup:]] for name, values in self.seconds.items()}
        return {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for name, values in rows.items()
        }


def difference(value: Tensor, reference: Tensor) -> dict[str, float | None]:
    """Relative L2 and cosine of two tensors as vectors, in float64; None where the reference is zero."""
    value, reference = (x.detach().double().cpu().flatten() for x in (value, reference))
    norm = float(reference.norm())
    if norm == 0.0:
        return {"relative_l2": None, "cosine": None, "reference_norm": 0.0}
    own = float(value.norm())
    return {
        "relative_l2": float((value - reference).norm()) / norm,
        "cosine": float(value @ reference) / (norm * own) if own else 0.0,
        "reference_norm": norm,
    }


def at_most(name: str, value: float | None, limit: float) -> list[str]:
    """A problem in words unless `value` is a number of at most `limit`; NaN and None are problems."""
    if value is not None and value <= limit:
        return []
    return [f"{name} is {value}, more than {limit:g}" if value is not None else f"{name}: nothing to compare"]
