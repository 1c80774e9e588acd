"""The CUDA backend: gsplat, in float32 whatever autocast says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings


def rasterize_gsplat(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, D]
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]
    backgrounds: Tensor | None,  # [C, D]
    render_mode: str,
    settings: RasterSettings,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Call `gsplat.rasterization`.

    Returns:
        tuple: features [C, H, W, X], alphas [C, H, W, 1], radii [C, N, 2] int32, means2d [C, N, 2].

    Raises:
        ValueError: the tensors are not on a CUDA device, or `max_alpha` is not that of the installed gsplat.
        RuntimeError: gsplat is not installed, or cannot build its kernels.
    """
    if means.device.type != "cuda":
        raise ValueError(
            f"backend 'gsplat' needs CUDA tensors, got {means.device}; use backend='cpu' or move the tensors"
        )
    gsplat = _load()
    own = gsplat_max_alpha(gsplat.__version__)
    if settings.max_alpha != own:
        raise ValueError(
            f"gsplat {gsplat.__version__} has max_alpha {own} built in, got {settings.max_alpha}; pass {own}"
        )
    values = [means, quats, scales, opacities, features, viewmats, Ks]
    means, quats, scales, opacities, features, viewmats, Ks = (value.float() for value in values)
    with torch.autocast(device_type="cuda", enabled=False):
        try:
            rendered, alphas, meta = gsplat.rasterization(
                means=means,
                quats=quats,
                scales=scales,
                opacities=opacities,
                colors=features,
                viewmats=viewmats,
                Ks=Ks,
                width=settings.width,
                height=settings.height,
                near_plane=settings.near_plane,
                far_plane=settings.far_plane,
                radius_clip=settings.radius_clip,
                eps2d=settings.eps2d,
                packed=False,
                backgrounds=None if backgrounds is None else backgrounds.float(),
                render_mode=render_mode,
            )
        except ImportError as error:
            raise RuntimeError(
                "gsplat could not build its CUDA kernels; install the CUDA toolkit (nvcc) and `pip install .[cuda]`"
            ) from error
    return rendered, alphas, meta["radii"], meta["means2d"]


def gsplat_max_alpha(version: str) -> float:
    """The largest alpha compiled into a gsplat version."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return 0.999 if (major, minor) < (1, 6) else 0.99


def _load() -> Any:
    try:
        import gsplat
    except ImportError as error:
        raise RuntimeError("backend 'gsplat' needs gsplat: pip install '.[cuda]'") from error
    return gsplat
