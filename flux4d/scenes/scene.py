"""A 4D scene and what is known of it: where it is from, how it was made, and cameras to look through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.gaussians import Gaussians
from store_schema.camera_model import PINHOLE, CameraModel
from store_schema.clip import view_name

_RIGID_TOLERANCE = 1e-6
_TYPES = {"is_sky": torch.bool, "source": torch.int64, "instance": torch.int32}
"""All others are float32."""
_SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "rgb": (3,)}


@dataclass(frozen=True, slots=True, eq=False)
class SceneCamera:
    """A view of the scene: a camera of an agent at its own time."""

    camera: str
    time: float
    """s since the clip's first sweep stamp."""
    cam2ego0: NDArray[np.float64]  # [4, 4] camera axes (x right, y down, z forward) to ego0
    K: NDArray[np.float64]  # [3, 3] pixels of the full-size image, pixel centres at +0.5
    width: int
    """Pixels; so is `height`."""
    height: int
    agent: str = ""
    """Who carries the camera; empty in a log of one agent."""
    model: CameraModel = PINHOLE
    """What the lens does before K."""

    def __post_init__(self) -> None:
        what = f"camera {view_name(self.agent, self.camera)} at {self.time} s"
        if not math.isfinite(self.time):
            raise ValueError(f"{what}: its time is not finite")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{what}: {self.width}x{self.height} pixels; give the size of its image")
        _check_transform(f"cam2ego0 of {what}", self.cam2ego0)
        if self.K.shape != (3, 3) or not np.isfinite(self.K).all() or not (self.K[[0, 1], [0, 1]] > 0).all():
            raise ValueError(f"K of {what} must be [3, 3], finite, focal lengths above 0 px, got {self.K.tolist()}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A reconstructed 4D scene in the ego0 frame of its clip."""

    gaussians: Gaussians
    """On any device; floating-point columns are float32."""
    duration: float
    """s from the clip's first sweep stamp to its last."""
    cameras: tuple[SceneCamera, ...] = ()
    """Views to look through, usually those of the clip."""
    ego02world: NDArray[np.float64] | None = None  # [4, 4] to the log's world frame; None: not known
    clip_id: str = ""
    """Clip it was made from; empty: none, as also the next three."""
    log_id: str = ""
    dataset_version: str = ""
    """Hash of the dataset version that `Gaussians.source` counts the points of."""
    method: str = ""
    """What made it."""
    made: Mapping[str, str] = field(default_factory=dict)
    """How it was made, in words: settings, weights, versions of programs."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration) and self.duration >= 0):
            raise ValueError(f"duration must be a number of seconds, got {self.duration}")
        if self.ego02world is not None:
            _check_transform("ego02world", self.ego02world)
        check_gaussians(self.gaussians)


@torch.no_grad()
def check_gaussians(gaussians: Gaussians) -> None:
    """Refuse columns that do not make a scene.

    Raises:
        ValueError: a column has another length, shape or type than `Gaussians` says, or values that mean nothing.
    """
    count = len(gaussians)
    for name, column in gaussians.columns().items():
        shape = (count, *_SHAPES.get(name, ()))
        fits = column.ndim == 3 and len(column) == count and column.shape[1] >= 1 and column.shape[2] == 3
        if not (fits if name == "velocities" else column.shape == shape):
            wanted = f"({count}, L + 1, 3)" if name == "velocities" else str(shape)
            raise ValueError(f"{name} must have shape {wanted}, got {tuple(column.shape)}")
        if column.dtype != (dtype := _TYPES.get(name, torch.float32)):
            raise ValueError(f"{name} must be {dtype}, got {column.dtype}: convert it first")
        _check_values(name, column)


def _check_values(name: str, column: Tensor) -> None:
    if column.is_floating_point():
        bad = column.isnan() if name == "sigma_t" else ~column.isfinite()
        if bad.any():
            row = int(bad.reshape(len(column), -1).any(dim=1).nonzero()[0])
            raise ValueError(f"{name} holds NaN or infinity in {int(bad.sum())} places, first in row {row}")
    rules = {
        "opacities": ("in [0, 1]", lambda c: (c >= 0) & (c <= 1)),
        "scales": ("at least 0 m (standard deviations, not their logarithms)", lambda c: c >= 0),
        "quats": ("of a norm above 0", lambda c: c.square().sum(dim=1) > 0),
        "sigma_t": ("above 0 s (inf: always there)", lambda c: c > 0),
        "source": ("at least -1", lambda c: c >= -1),
        "instance": ("at least -1", lambda c: c >= -1),
    }
    if name in rules and not (good := rules[name][1](column)).all():
        row = int((~good).reshape(len(column), -1).any(dim=1).nonzero()[0])
        raise ValueError(f"{name} must be {rules[name][0]}, row {row} is {column[row].tolist()}")


def _check_transform(name: str, matrix: NDArray[np.float64]) -> None:
    """A rigid motion: rotation and translation, nothing else."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be [4, 4] and finite, got {np.shape(matrix)}")
    turn = matrix[:3, :3]
    rigid = np.abs(turn @ turn.T - np.eye(3)).max() < _RIGID_TOLERANCE and np.linalg.det(turn) > 0
    if not rigid or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise ValueError(f"{name} must be a rotation and a translation with last row 0 0 0 1, got {matrix.tolist()}")
