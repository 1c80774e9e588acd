"""One call for every backend: Gaussians and cameras in, feature images out, with gsplat's words and semantics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from flux4d.rasterize.constants import MAX_ALPHA, RasterSettings
from flux4d.rasterize.gsplat_backend import rasterize_gsplat
from flux4d.rasterize.projection import project

Backend = Literal["auto", "gsplat", "cpu", "torch"]
RenderMode = Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"]


@dataclass(frozen=True, slots=True, eq=False)
class RasterMeta:
    """What densification, statistics and tests want to know besides the images."""

    radii: Tensor  # [C, N, 2] int32 px, 0 where culled
    means2d: Tensor  # [C, N, 2] px, 0 where culled

    @property
    def visible(self) -> Tensor:
        """Gaussians not culled, by camera. [C] int64."""
        return (self.radii > 0).all(dim=-1).sum(dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Rasterized:
    """Images of C cameras."""

    features: Tensor  # [C, H, W, X] X = D, 1 or D + 1 by render mode; depth is the last channel
    alphas: Tensor  # [C, H, W, 1]
    meta: RasterMeta


class Blend(Protocol):
    """Front-to-back blending of splats in depth order: what `cpu` and `torch` differ in."""

    def __call__(self, splats: Tensor, boxes: Tensor, settings: RasterSettings) -> tuple[Tensor, Tensor]:
        """Splats [M, 6 + D] and their pixel boxes [M, 4] to features [H, W, D] and alphas [H, W, 1]."""


def rasterize(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, D]
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]
    width: int,
    height: int,
    *,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    backgrounds: Tensor | None = None,  # [C, D]
    render_mode: RenderMode = "RGB",
    max_alpha: float = MAX_ALPHA,
    backend: Backend = "auto",
) -> Rasterized:
    """Render N Gaussians with D features each into C pinhole cameras.

    Args:
        means: Centres in world axes, m.
        quats: Rotations wxyz, any norm but zero.
        scales: Standard deviations, m.
        opacities: In [0, 1].
        features: What is blended: colours, velocities, anything.
        viewmats: World to camera (OpenCV axes).
        Ks: Intrinsics in pixels, pixel centres at +0.5.
        width: Image width in pixels.
        height: Image height in pixels.
        near_plane: Gaussians with a smaller z-depth are left out, m.
        far_plane: Gaussians with a larger z-depth are left out, m.
        radius_clip: Gaussians of this 2D radius or less are left out, px.
        eps2d: Added to the diagonal of the 2D covariance, px^2.
        backgrounds: Features behind everything; depth has none.
        render_mode: Features ("RGB"), accumulated depth ("D"), expected depth ("ED" = D / alpha), or both.
        max_alpha: Alphas are clamped here; the gsplat backend takes only the value built into it.
        backend: "auto" is gsplat for CUDA tensors and cpu for CPU tensors; "torch" is the slow plain twin.

    float16 and bfloat16 are rendered in float32, float64 stays (gsplat: always float32).

    Returns:
        Rasterized: Images, differentiable in every tensor argument but `Ks` (gsplat: as gsplat is).

    Raises:
        ValueError: a wrong shape, a value that is not finite, a zero quaternion, an unknown word, or a backend
            that cannot render tensors of this device or dtype.
        RuntimeError: gsplat is wanted and not installed, or cannot build its kernels.
    """
    settings = RasterSettings(width, height, near_plane, far_plane, radius_clip, eps2d, max_alpha)
    if render_mode not in get_args(RenderMode):
        raise ValueError(f"render_mode {render_mode!r} is not one of {', '.join(get_args(RenderMode))}")
    values = [means, quats, scales, opacities, features, viewmats, Ks]
    means, quats, scales, opacities, features, viewmats, Ks = (_at_least_single(value) for value in values)
    backgrounds = None if backgrounds is None else _at_least_single(backgrounds)
    _check_shapes(means, quats, scales, opacities, features, viewmats, Ks, backgrounds)
    _check_values(means=means, quats=quats, scales=scales, opacities=opacities, features=features)
    name = _resolve(backend, means)
    if name == "gsplat" and len(means):
        rendered, alphas, radii, means2d = rasterize_gsplat(
            means, quats, scales, opacities, features, viewmats, Ks, backgrounds, render_mode, settings
        )
        return Rasterized(rendered, alphas, RasterMeta(radii, means2d))
    blend = _blend(name, means)
    gaussians = means, quats, scales, opacities, features
    images = [
        _one_camera(
            *gaussians,
            viewmat=viewmats[camera],
            K=Ks[camera],
            background=None if backgrounds is None else backgrounds[camera],
            render_mode=render_mode,
            settings=settings,
            blend=blend,
        )
        for camera in range(len(viewmats))
    ]
    rendered, alphas, radii, means2d = (torch.stack(values) for values in zip(*images, strict=True))
    return Rasterized(rendered, alphas, RasterMeta(radii, means2d))


def _one_camera(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    *,
    viewmat: Tensor,
    K: Tensor,
    background: Tensor | None,
    render_mode: RenderMode,
    settings: RasterSettings,
    blend: Blend,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    seen = project(means, quats, scales, opacities, viewmat, K, settings)
    columns = [seen.means2d, seen.conics, seen.opacities[:, None]]
    if render_mode in ("RGB", "RGB+D", "RGB+ED"):
        columns.append(features.index_select(0, seen.index))
    if render_mode != "RGB":
        columns.append(seen.depths[:, None])
    image, alpha = blend(torch.cat(columns, dim=1), seen.boxes, settings)
    if background is not None and render_mode not in ("D", "ED"):
        behind = torch.nn.functional.pad(background, (0, image.shape[-1] - len(background)))
        image = image + (1 - alpha) * behind
    if render_mode in ("ED", "RGB+ED"):
        image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp(min=1e-10)], dim=-1)
    drawn = (seen.radii > 0).all(dim=1, keepdim=True)
    radii = seen.radii.new_zeros(len(means), 2).index_copy(0, seen.index, seen.radii)
    means2d = torch.where(drawn, seen.means2d.detach(), 0)
    means2d = means2d.new_zeros(len(means), 2).index_copy(0, seen.index, means2d)
    return image, alpha, radii, means2d


def _resolve(backend: Backend, means: Tensor) -> Literal["gsplat", "cpu", "torch"]:
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is not one of {', '.join(get_args(Backend))}")
    if backend != "auto":
        return backend
    if means.device.type not in ("cuda", "cpu"):
        raise ValueError(f"no backend renders on {means.device}; move the Gaussians to cuda or cpu")
    return "gsplat" if means.device.type == "cuda" else "cpu"


def _blend(name: str, means: Tensor) -> Blend:
    if name != "cpu":
        from flux4d.rasterize.blend_torch import blend as plain

        return plain
    if means.device.type != "cpu":
        raise ValueError(f"backend 'cpu' needs CPU tensors, got {means.device}; use backend='auto' or move the tensors")
    from flux4d.rasterize.blend_cpu import blend as compiled  # numba takes a second to import

    return compiled


def _at_least_single(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    backgrounds: Tensor | None,
) -> None:
    N, C, D = len(means), len(viewmats), features.shape[-1]
    wanted = {
        "means": (means, (N, 3)),
        "quats": (quats, (N, 4)),
        "scales": (scales, (N, 3)),
        "opacities": (opacities, (N,)),
        "features": (features, (N, D)),
        "viewmats": (viewmats, (C, 4, 4)),
        "Ks": (Ks, (C, 3, 3)),
    }
    if backgrounds is not None:
        wanted["backgrounds"] = (backgrounds, (C, D))
    for name, (value, shape) in wanted.items():
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
        if value.dtype != means.dtype or value.device != means.device:
            raise ValueError(
                f"{name} is {value.dtype} on {value.device} and means is {means.dtype} on {means.device}; convert one"
            )
    if not C or not D:
        raise ValueError(f"need at least one camera and one feature channel, got {C} and {D}")


@torch.no_grad()
def _check_values(**values: Tensor) -> None:
    """One question to the device when all is well; names the culprit when not."""
    length = values["quats"].square().sum(dim=1)
    good = torch.stack([*(value.isfinite().all() for value in values.values()), (length > 0).all()])
    if bool(good.all()):
        return
    for name, value in values.items():
        bad = (~value.isfinite().reshape(len(value), -1).all(dim=1)).nonzero().squeeze(1)
        if len(bad):
            raise ValueError(
                f"{name} of {len(bad)} Gaussians is not finite, first row {int(bad[0])}; check what made them"
            )
    bad = (length <= 0).nonzero().squeeze(1)
    raise ValueError(
        f"quats of {len(bad)} Gaussians have norm zero, first row {int(bad[0])}; no rotation is meant by that"
    )
