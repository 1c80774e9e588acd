"""3D Gaussians to splats of a spinning LiDAR's image (EWA splatting on azimuth and elevation), differentiable.

Every Gaussian is taken where it is, seen from where the sensor is, when the beam passes it. That moment depends on the
azimuth it is seen at, and the azimuth on the moment: a few fixed-point steps settle both, and a last Newton step
carries the gradient. One vector a component instead of stacks of small matrices, as in `flux4d.rasterize.projection`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flux4d.lifetime import presence
from flux4d.rasterize.constants import ALPHA_THRESHOLD, MAX_EXTENT
from flux4d.rasterize.projection import rotation_rows
from flux4d.rasterize.spinning.motion import Turn, Vector, apparent_speed, to_sensor, turned
from flux4d.rasterize.spinning.sensor import SpinningLidar

SEAM_SHARE = 0.125
"""Share of the turn beside the seam in which every Gaussian is looked for at both ends of the sweep: what lies there,
or moves through it while the sensor turns, is seen first and last. What is wide or fast is looked for from farther."""
POLE_COSINE = 0.1
"""Gaussians with cos(elevation) below this (84 degrees) are left out: a pixel's azimuth is nothing there, their splat
would be as wide as the image, and no beam points there (`spinning.MAX_ELEVATION`)."""
_STEPS = 3  # of the fixed point; each brings the moment nearer by a factor of 10 or more
_BOX_SLACK = 0.01  # px
_TINY = 1e-6  # m
_HALF_TURN = 0.55  # of a turn, and a tenth more for speeds that change within it
_SIGMA_SLACK = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class SpinningSplats:
    """M splats of one turn, by rising range (ties by row); a Gaussian at the seam gives two."""

    index: Tensor  # [M] int64 rows of the Gaussians
    means2d: Tensor  # [M, 2] px: x columns from the begin of the turn, y column widths below the horizon
    conics: Tensor  # [M, 3] inverse 2D covariance xx, xy, yy, 1/px^2
    ranges: Tensor  # [M] m, from where the sensor then is
    opacities: Tensor  # [M]
    boxes: Tensor  # [M, 4] int32 x0, x1, row0, row1 (half open) that can reach the alpha threshold


def project_spinning(
    paths: Tensor,  # [N, L + 2, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    lidar: SpinningLidar,
    *,
    lifetimes: tuple[Tensor, Tensor] | None = None,
    near: float,
    far: float,
    eps2d: float,
) -> SpinningSplats:
    """Splats of the Gaussians that the beams can meet.

    Args:
        paths: Where each Gaussian is at a time t: ``sum_k paths[:, k] t^k``, m in world axes, t in s.
        quats: Rotations wxyz, any norm but zero.
        scales: Standard deviations, m.
        opacities: In [0, 1].
        lidar: The turn; its poses carry no gradient.
        lifetimes: Own times and lifetimes, [N] s each: opacities are those of the moment the beam passes. None: they
            stay as they are.
        near: Gaussians nearer than this are left out, m. The linearisation is wrong for what is as near as it is large.
        far: Gaussians farther than this are left out, m.
        eps2d: Added to the diagonal of the 2D covariance, px^2.

    Returns:
        SpinningSplats: differentiable in the tensors.
    """
    turn = Turn.of(lidar)
    rows = torch.as_tensor(lidar.row_centers, dtype=paths.dtype, device=paths.device)
    index, share = _candidates(paths, scales, opacities, turn, rows, near, far, eps2d)
    paths, quats, scales = (value.index_select(0, index) for value in (paths, quats, scales))
    opacities = opacities.index_select(0, index)
    share = _newton(paths, share, turn)
    if lifetimes is not None:
        own, sigma_t = (value.index_select(0, index) for value in lifetimes)
        opacities = opacities * presence(own, sigma_t, turn.begin + turn.period * share)
    q = to_sensor(paths, share, turn)
    flat2 = q[0] * q[0] + q[1] * q[1]
    range2 = flat2 + q[2] * q[2]
    x, y = share * turn.columns, _below(q, turn)
    cov_xx, cov_xy, cov_yy = _covariance2d(q, flat2, range2, share, quats, scales, turn)
    cov_xx, cov_yy = cov_xx + eps2d, cov_yy + eps2d
    det = cov_xx * cov_yy - cov_xy * cov_xy
    # A needle seen from its end has a determinant of rounding noise.
    good = det > 0
    det = torch.where(good, det, torch.ones_like(det))
    with torch.no_grad():
        drawn = good & (opacities >= ALPHA_THRESHOLD)  # some have faded since the candidates were chosen
        boxes = _boxes(x, y, cov_xx, cov_yy, opacities, rows, turn) * drawn[:, None]
    return SpinningSplats(
        index=index,
        means2d=torch.stack([x, y], dim=1),
        conics=torch.stack([cov_yy / det, -cov_xy / det, cov_xx / det], dim=1),
        ranges=range2.sqrt(),
        opacities=opacities,
        boxes=boxes.int().contiguous(),
    )


@torch.no_grad()
def _candidates(
    paths: Tensor,
    scales: Tensor,
    opacities: Tensor,
    turn: Turn,
    rows: Tensor,
    near: float,
    far: float,
    eps2d: float,
) -> tuple[Tensor, Tensor]:
    """Rows that a beam may meet, by range, and the share of the turn after which it does. Leaves none out."""
    index = (opacities >= ALPHA_THRESHOLD).nonzero().squeeze(1)
    paths, largest = paths.index_select(0, index), scales.abs().amax(dim=1).index_select(0, index)
    share = torch.full_like(largest, 0.5)
    q = to_sensor(paths, share, turn)
    margin = _seam_margin(paths, q, share, largest, turn, eps2d)
    share = _column(q, None, turn) / turn.columns
    early, late = (share < margin).nonzero().squeeze(1), (share > 1 - margin).nonzero().squeeze(1)
    share = torch.cat([share, share[early] + 1, share[late] - 1])
    of = torch.cat([torch.arange(len(index), device=index.device), early, late])
    index, paths, largest = index[of], paths.index_select(0, of), largest[of]
    for _ in range(_STEPS):
        q = to_sensor(paths, share, turn)
        share = _column(q, share * turn.columns, turn) / turn.columns
    flat2 = q[0] * q[0] + q[1] * q[1]
    distance = (flat2 + q[2] * q[2]).sqrt()
    keep = (distance >= near) & (distance <= far) & (flat2 >= (POLE_COSINE * distance) ** 2)
    across, up = (_reach(largest, away, turn, eps2d) for away in (flat2.sqrt(), distance))
    x, y = share * turn.columns, _below(q, turn)
    keep &= (x + across > 0) & (x - across < turn.columns)
    keep &= torch.searchsorted(rows, y - up) < torch.searchsorted(rows, y + up, right=True)
    kept = keep.nonzero().squeeze(1)
    # Two splats of one Gaussian follow each other, whatever their order in `of`.
    kept = kept[torch.sort(index[kept], stable=True).indices]
    kept = kept[torch.sort(distance[kept], stable=True).indices]
    return index[kept], share[kept]


def _reach(largest: Tensor, away: Tensor, turn: Turn, eps2d: float) -> Tensor:
    """px [N] from the centre that a ball as large as the largest axis covers: the same bound for every orientation."""
    return 1.001 * MAX_EXTENT * ((largest / (turn.width * away)) ** 2 + eps2d).sqrt() + 2  # 2 px for the last step


def _seam_margin(paths: Tensor, q: Vector, share: Tensor, largest: Tensor, turn: Turn, eps2d: float) -> Tensor:
    """Share of the turn [N] between the seam and where a splat may lie at mid-turn that has a copy beyond it."""
    x, y, z = apparent_speed(paths, q, share, turn)
    travel = _HALF_TURN * (x * x + y * y + z * z).sqrt()
    nearest = ((q[0] * q[0] + q[1] * q[1]).sqrt() - travel).clamp(min=_TINY)
    # Its own half width where it is nearest, and what its centre can move by: asin(t / d) <= t / (d - t).
    pixels = _reach(largest, nearest, turn, eps2d) + travel / (turn.width * nearest)
    return (pixels / turn.columns).clamp(min=SEAM_SHARE)


def _newton(paths: Tensor, share: Tensor, turn: Turn) -> Tensor:
    """The share s with ``s = column(s) / columns`` after one Newton step, its gradient that of the solution."""
    q = to_sensor(paths, share, turn)
    found = _column(q, share * turn.columns, turn) / turn.columns
    with torch.no_grad():
        speed = apparent_speed(paths, q, share, turn)
        flat2 = q[0] * q[0] + q[1] * q[1]
        slope = turn.sign * (q[0] * speed[1] - q[1] * speed[0]) / (flat2 * 2 * math.pi)
        # Below a slope of one half the beam overtakes what it looks at at least twice as fast.
        slope = slope.clamp(-0.5, 0.5)
    return share + (found - share) / (1 - slope)


def _column(q: Vector, near: Tensor | None, turn: Turn) -> Tensor:
    """x [N] of a place in sensor axes: within the image, or the one of all turns nearest to `near`."""
    x = turn.sign * (torch.atan2(q[1], q[0]) - turn.start) / turn.width
    turns = torch.floor(x.detach() / turn.columns) if near is None else torch.round((x - near).detach() / turn.columns)
    return x - turn.columns * turns


def _below(q: Vector, turn: Turn) -> Tensor:
    """y [N]."""
    return -torch.atan2(q[2], (q[0] * q[0] + q[1] * q[1]).sqrt()) / turn.width


def _covariance2d(
    q: Vector, flat2: Tensor, range2: Tensor, share: Tensor, quats: Tensor, scales: Tensor, turn: Turn
) -> tuple[Tensor, Tensor, Tensor]:
    """``(J W R S)(J W R S)^T`` in px^2 as (xx, xy, yy), J that of (azimuth, elevation), W the sensor's rotation."""
    across = turn.sign / (turn.width * flat2)
    flat = flat2.sqrt()
    up = 1 / (turn.width * range2)
    rows = (
        (-q[1] * across, q[0] * across, torch.zeros_like(flat)),
        (q[0] * q[2] / flat * up, q[1] * q[2] / flat * up, -flat * up),
    )
    R = rotation_rows(quats)
    axes = scales.unbind(dim=1)
    spread = []
    for row in rows:
        begin = turned(row, share, 1.0, turn)
        world = [sum(turn.rotation[i][k] * begin[k] for k in range(3)) for i in range(3)]
        spread.append([(world[0] * R[0][j] + world[1] * R[1][j] + world[2] * R[2][j]) * axes[j] for j in range(3)])
    (a0, a1, a2), (b0, b1, b2) = spread
    return a0 * a0 + a1 * a1 + a2 * a2, a0 * b0 + a1 * b1 + a2 * b2, b0 * b0 + b1 * b1 + b2 * b2


def _boxes(x: Tensor, y: Tensor, cov_xx: Tensor, cov_yy: Tensor, opacities: Tensor, rows: Tensor, turn: Turn) -> Tensor:
    """Pixels whose centre can reach the alpha threshold. [M, 4]"""
    cut = torch.sqrt(2 * (torch.log((opacities / ALPHA_THRESHOLD).clamp(min=1)) + _SIGMA_SLACK))
    across, up = cut * cov_xx.sqrt() + _BOX_SLACK, cut * cov_yy.sqrt() + _BOX_SLACK
    # Wider than a turn, a splat would lie over its own copy at the other end.
    across = across.clamp(max=turn.columns / 2)
    low = torch.ceil(x - across - 0.5).clamp(0, turn.columns)
    high = torch.floor(x + across + 0.5).clamp(0, turn.columns)
    first, last = torch.searchsorted(rows, y - up), torch.searchsorted(rows, y + up, right=True)
    return torch.stack([low.long(), torch.maximum(low, high).long(), first, torch.maximum(first, last)], dim=1)
