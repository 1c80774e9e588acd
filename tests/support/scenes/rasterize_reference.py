"""Brute force in float64: every Gaussian at every pixel, no tiles, no culling but gsplat's; and random scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CUT, STOP = 1 / 255, 1e-4
PAIRS_AT_ONCE = 2_000_000
"""Splat-pixel pairs evaluated in one go: what bounds the memory."""


@dataclass(frozen=True)
class Scene:
    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    features: Tensor
    viewmats: Tensor  # [C, 4, 4]
    Ks: Tensor
    width: int
    height: int

    def parameters(self, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Fresh leaves: means, quats, scales, opacities, features, viewmats."""
        names = ("means", "quats", "scales", "opacities", "features", "viewmats")
        return [getattr(self, name).to(dtype).clone().requires_grad_() for name in names]


def random_scene(
    count: int, width: int, height: int, *, channels: int = 3, cameras: int = 1, seed: int = 0, size: float = 0.15
) -> Scene:
    """Gaussians before, beside and behind the cameras; every value is a float32."""
    g = torch.Generator().manual_seed(seed)
    means = torch.rand(count, 3, generator=g) * torch.tensor([8.0, 6.0, 12.0]) + torch.tensor([-4.0, -3.0, -2.0])
    viewmats = torch.eye(4).repeat(cameras, 1, 1)
    turn = torch.linalg.qr(torch.eye(3) + 0.1 * torch.randn(cameras, 3, 3, generator=g)).Q
    viewmats[:, :3, :3] = turn * torch.sign(torch.diagonal(turn, dim1=1, dim2=2))[:, None, :]
    viewmats[:, :3, 3] = 0.2 * torch.randn(cameras, 3, generator=g)
    K = torch.tensor([[0.8 * width, 0, width / 2 + 1.3], [0, 0.85 * width, height / 2 - 0.7], [0, 0, 1]])
    return Scene(
        means=means,
        quats=torch.randn(count, 4, generator=g),
        scales=size * torch.exp(0.6 * torch.randn(count, 3, generator=g)),
        opacities=torch.rand(count, generator=g),
        features=torch.randn(count, channels, generator=g),
        viewmats=viewmats,
        Ks=K.repeat(cameras, 1, 1),
        width=width,
        height=height,
    )


def project_matrices(
    means: Tensor, quats: Tensor, scales: Tensor, viewmat: Tensor, K: Tensor, width: int, height: int, eps2d: float
) -> tuple[Tensor, Tensor, Tensor]:
    """means2d [N, 2], covariances [N, 2, 2], depths [N] with the textbook's matrices."""
    w, x, y, z = (quats / quats.norm(dim=1, keepdim=True)).T
    R = torch.stack(
        [
            torch.stack([1 - 2 * (y**2 + z**2), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x**2 + z**2), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x**2 + y**2)], -1),
        ],
        dim=1,
    )
    M = viewmat[:3, :3] @ R * scales[:, None, :]
    cam = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    depth = cam[:, 2]
    size = torch.tensor([width, height], dtype=means.dtype)
    focal, centre = torch.stack([K[0, 0], K[1, 1]]), K[:2, 2]
    margin = 0.3 * 0.5 * size / focal
    slope = (cam[:, :2] / depth[:, None]).clamp(-(centre / focal + margin), (size - centre) / focal + margin)
    J = torch.zeros(len(means), 2, 3, dtype=means.dtype)
    J[:, 0, 0], J[:, 1, 1] = focal[0] / depth, focal[1] / depth
    J[:, :, 2] = -focal * slope / depth[:, None]
    cov = J @ M @ M.mT @ J.mT + eps2d * torch.eye(2, dtype=means.dtype)
    return focal * cam[:, :2] / depth[:, None] + centre, cov, depth


def pixel_grid(width: int, height: int) -> Tensor:
    """Every pixel as x, y, row by row. [W * H, 2] int64."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)


def blend_brute_force(
    means2d: Tensor,  # [M, 2] front to back
    conics: Tensor,  # [M, 3]
    opacities: Tensor,  # [M]
    features: Tensor,  # [M, D]
    points: Tensor,  # [P, 2] px, the pixels' centres
    *,
    max_alpha: float = 0.999,
    doubt: float = 2e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features [P, D], alphas [P], and pixels that rounding may tip [P] bool.

    Tipped: an alpha within `doubt` (relative) of the threshold or the clamp, or light near the stop.
    """
    splats = torch.cat([means2d, conics, opacities[:, None], features], dim=1)
    at_once = max(1, PAIRS_AT_ONCE // max(1, len(splats)))
    parts = [_blend_points(splats, chunk, max_alpha, doubt) for chunk in points.to(splats.dtype).split(at_once)]
    image, alpha, doubtful = (torch.cat(values) for values in zip(*parts, strict=True))
    return image, alpha, doubtful


def sigmas(splats: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Exponents of splats [..., >= 5] at x, y."""
    u, v, a, b, c = splats[..., :5].unbind(dim=-1)
    dx, dy = x - u, y - v
    return 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy


def _blend_points(splats: Tensor, points: Tensor, max_alpha: float, doubt: float) -> tuple[Tensor, Tensor, Tensor]:
    x, y = points[:, :1], points[:, 1:]
    with torch.no_grad():  # every splat at every point; only those that may count are differentiated
        point, splat = (sigmas(splats, x, y) <= torch.log(splats[:, 5] / CUT) + 2 * doubt).nonzero(as_tuple=True)
    if not len(splats):
        nothing = points.new_zeros(len(points), splats.shape[1] - 6) + splats.sum()
        return nothing, nothing.sum(dim=1), torch.zeros(len(points), dtype=torch.bool)
    counts = torch.bincount(point, minlength=len(points))
    place = torch.arange(len(point)) - (counts.cumsum(0) - counts)[point]
    table = torch.full((len(points), max(1, int(counts.max()))), -1)
    table[point, place] = splat  # front to back, as `splats` is
    chosen = splats[table.clamp(min=0)]
    raw = torch.where(table >= 0, chosen[..., 5] * torch.exp(-sigmas(chosen, x, y)), 0)
    alpha = torch.where(raw >= CUT, raw.clamp(max=max_alpha), 0)
    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    open_ = after > STOP
    weight = torch.where(open_, alpha * before, 0)
    image = (weight[:, :, None] * chosen[..., 6:]).sum(dim=1)
    left = torch.where(open_, 1 - alpha, 1).prod(dim=1)
    near = ((raw / CUT - 1).abs() < doubt) | ((raw / max_alpha - 1).abs() < doubt)
    near = (near & (before > 0.99 * STOP)) | (((after / STOP - 1).abs() < 50 * doubt) & (alpha > 0))
    return image, 1 - left, near.any(dim=1)


def brute_force(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    viewmat: Tensor,  # [4, 4]
    K: Tensor,
    width: int,
    height: int,
    *,
    pixels: Tensor | None = None,  # [P, 2] integer x, y; all by default
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    eps2d: float = 0.3,
    max_alpha: float = 0.999,
    doubt: float = 2e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features and accumulated depth [P, D + 1], alphas [P], and pixels that rounding may tip [P] bool."""
    keep = means @ viewmat[2, :3] + viewmat[2, 3]
    keep = (keep >= near_plane) & (keep <= far_plane) & (opacities >= CUT)
    means, quats, scales, opacities, features = (v[keep] for v in (means, quats, scales, opacities, features))
    means2d, cov, depth = project_matrices(means, quats, scales, viewmat, K, width, height, eps2d)
    inverse = torch.linalg.inv(cov)
    conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], dim=1)
    features = torch.cat([features, depth[:, None]], dim=1)
    order = torch.argsort(depth, stable=True)
    points = (pixel_grid(width, height) if pixels is None else pixels) + 0.5
    splats = means2d[order], conics[order], opacities[order], features[order]
    return blend_brute_force(*splats, points, max_alpha=max_alpha, doubt=doubt)
