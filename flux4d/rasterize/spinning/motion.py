"""Where Gaussians are in a turning sensor's axes, each at its own moment: the motion behind `project.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flux4d.rasterize.spinning.sensor import SpinningLidar

Vector = tuple[Tensor, Tensor, Tensor]
"""Components x, y, z, each [N]."""


@dataclass(frozen=True, slots=True)
class Turn:
    """`SpinningLidar` as plain numbers: sensor motion is exp(share * twist) after the first pose."""

    rotation: list[list[float]]  # lidar2world at the begin
    origin: list[float]
    axis: list[float]
    angle: float  # rad a turn
    shift: list[float]  # m a turn
    columns: int
    width: float  # rad
    start: float  # rad
    sign: float  # of azimuth over time
    begin: float  # s
    period: float  # s

    @classmethod
    def of(cls, lidar: SpinningLidar) -> Turn:
        """The numbers of a turn."""
        turn, shift = lidar.twist
        angle = math.sqrt(float(turn @ turn))
        return cls(
            rotation=lidar.lidar2world[0, :3, :3].tolist(),
            origin=lidar.lidar2world[0, :3, 3].tolist(),
            axis=(turn / angle).tolist() if angle else [0.0, 0.0, 1.0],
            angle=angle,
            shift=shift.tolist(),
            columns=lidar.columns,
            width=lidar.column_width,
            start=lidar.start_azimuth,
            sign=-1.0 if lidar.clockwise else 1.0,
            begin=lidar.times[0],
            period=lidar.times[1] - lidar.times[0],
        )


def _place(paths: Tensor, time: Tensor) -> Vector:
    """Horner's rule. World axes."""
    terms = paths.unbind(dim=1)
    place = terms[-1]
    for term in reversed(terms[:-1]):
        place = place * time[:, None] + term
    x, y, z = place.unbind(dim=1)
    return x, y, z


def to_sensor(paths: Tensor, share: Tensor, turn: Turn) -> Vector:
    """Sensor axes after `share` [N] of the turn: ``R^T (R0^T (p - o0) - d)`` with pose ``(R0, o0) (R, d)``."""
    place = _place(paths, turn.begin + turn.period * share)
    p = tuple(value - origin for value, origin in zip(place, turn.origin, strict=True))
    R = turn.rotation
    q = tuple(R[0][i] * p[0] + R[1][i] * p[1] + R[2][i] * p[2] for i in range(3))
    q = tuple(value - moved for value, moved in zip(q, _moved(share, turn), strict=True))
    return turned(q, share, -1.0, turn)


def _moved(share: Tensor, turn: Turn) -> list[Tensor]:
    """Translation of exp(share * twist)."""
    a, u = turn.axis, turn.shift
    if turn.angle < 1e-6:
        return [share * value for value in u]
    phi = share * turn.angle
    ratio = torch.sinc(phi / math.pi) * share
    rest = torch.sinc(phi / (2 * math.pi)) ** 2 * phi / 2 * share  # (1 - cos phi) / phi
    along = a[0] * u[0] + a[1] * u[1] + a[2] * u[2]
    cross = a[1] * u[2] - a[2] * u[1], a[2] * u[0] - a[0] * u[2], a[0] * u[1] - a[1] * u[0]
    return [ratio * (u[i] - along * a[i]) + share * (along * a[i]) + rest * cross[i] for i in range(3)]


def turned(v: tuple[Tensor, ...], share: Tensor, sign: float, turn: Turn) -> Vector:
    """Rotation of exp(share * twist), or its inverse with sign -1, applied to v (Rodrigues)."""
    x, y, z = v
    if turn.angle == 0.0:
        return x, y, z
    a, phi = turn.axis, share * (sign * turn.angle)
    cos, sin = torch.cos(phi), torch.sin(phi)
    along = (a[0] * x + a[1] * y + a[2] * z) * (1 - cos)
    return (
        x * cos + (a[1] * z - a[2] * y) * sin + a[0] * along,
        y * cos + (a[2] * x - a[0] * z) * sin + a[1] * along,
        z * cos + (a[0] * y - a[1] * x) * sin + a[2] * along,
    )


def apparent_speed(paths: Tensor, q: Vector, share: Tensor, turn: Turn) -> Vector:
    """d q / d share: the Gaussian's own motion, less the sensor's."""
    degrees = torch.arange(1, paths.shape[1], dtype=paths.dtype, device=paths.device)
    velocity = _place(paths[:, 1:] * degrees[:, None], turn.begin + turn.period * share)
    R = turn.rotation
    own = tuple(turn.period * (R[0][i] * velocity[0] + R[1][i] * velocity[1] + R[2][i] * velocity[2]) for i in range(3))
    own = turned(own, share, -1.0, turn)
    swung = _cross([turn.angle * value for value in turn.axis], q)
    x, y, z = (own[i] - swung[i] - turn.shift[i] for i in range(3))
    return x, y, z


def _cross(a: list[float], b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
