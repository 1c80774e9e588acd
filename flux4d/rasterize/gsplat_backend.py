"""The CUDA backend: gsplat 1.5 and 1.6, in float32 whatever autocast says."""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.inputs import RasterInputs
from flux4d.rasterize.meta import Rasterized, RasterMeta

DEVICES = ("cuda",)
"""Device types that gsplat has kernels for."""
_COLUMNS = ("camera_ids", "gaussian_ids", "radii", "depths", "conics", "opacities")
_TOOLKIT = (
    "install a CUDA toolkit that fits torch, set CUDA_HOME to it and `pip install '.[cuda]'`, or use backend='torch'"
)


def rasterize_gsplat(inputs: RasterInputs, render_mode: str, settings: RasterSettings, packed: bool) -> Rasterized:
    """Call `gsplat.rasterization`.

    Args:
        inputs: Gaussians and cameras; float64 is rendered in float32.
        render_mode: As `rasterize`.
        settings: Image size, planes, clips; `max_alpha` must be the one built into gsplat.
        packed: gsplat's own: less memory when a camera sees few of the Gaussians.

    Returns:
        Rasterized: gsplat's tensors.

    Raises:
        ValueError: the tensors are not on a CUDA device, `max_alpha` is not that of the installed gsplat, or a gradient
            is wanted that gsplat does not give.
        RuntimeError: gsplat is missing, too old, cannot be imported, or cannot build its kernels.
    """
    device = inputs.means.device
    if device.type not in DEVICES:
        raise ValueError(f"backend 'gsplat' needs CUDA tensors, got {device}; use backend='cpu' or move the tensors")
    gsplat = load_gsplat()
    own = built_in_max_alpha(gsplat)
    if settings.max_alpha != own:
        raise ValueError(
            f"gsplat {gsplat.__version__} has max_alpha {own} built in, got {settings.max_alpha}; pass max_alpha={own}"
        )
    single: dict[str, Tensor | None] = {name: value.float() for name, value in inputs.named().items()}
    single["colors"] = single.pop("features")
    single.setdefault("backgrounds", None)
    if render_mode in ("D", "ED"):
        single["backgrounds"] = None  # depth has none
        if _version(gsplat.__version__) >= (1, 6):
            single["colors"] = None  # 1.5 cannot do without
    with torch.autocast(device_type=device.type, enabled=False):
        try:
            features, alphas, meta = gsplat.rasterization(
                **single,
                width=settings.width,
                height=settings.height,
                near_plane=settings.near_plane,
                far_plane=settings.far_plane,
                radius_clip=settings.radius_clip,
                eps2d=settings.eps2d,
                packed=packed,
                render_mode=render_mode,
            )
        except Exception as error:
            if not _is_build_error(error):
                raise
            raise RuntimeError(f"gsplat could not build or load its CUDA kernels ({error}): {_TOOLKIT}") from error
    return Rasterized(features, alphas, _meta(meta, inputs, settings, packed))


def _meta(meta: dict[str, Any], inputs: RasterInputs, settings: RasterSettings, packed: bool) -> RasterMeta:
    """Keeps the columns that are asked for; the lists of intersections are let go."""
    columns: dict[str, Tensor | None] = {name: meta.get(name) for name in _COLUMNS}
    for name in ("camera_ids", "gaussian_ids"):
        ids = columns[name]
        columns[name] = ids.long() if packed and ids is not None else None
    return RasterMeta(
        meta["means2d"],
        settings.width,
        settings.height,
        n_cameras=len(inputs.viewmats),
        n_gaussians=len(inputs.means),
        packed=packed,
        column=columns.__getitem__,
    )


def load_gsplat() -> Any:
    """The module, imported only here: importing it may already try to build its kernels.

    Raises:
        RuntimeError: it is missing, older than 1.5, or its import fails.
    """
    try:
        gsplat = importlib.import_module("gsplat")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"backend 'gsplat' needs {error.name}, which is not installed: pip install '.[cuda]'"
        ) from error
    except Exception as error:  # 1.6 builds at import where it finds nvcc, and may fail with anything
        raise RuntimeError(f"gsplat cannot be imported ({type(error).__name__}: {error}): {_TOOLKIT}") from error
    if _version(gsplat.__version__) < (1, 5):
        raise RuntimeError(f"gsplat {gsplat.__version__} culls by other rules: pip install 'gsplat>=1.5'")
    return gsplat


def built_in_max_alpha(gsplat: Any) -> float:
    """The largest alpha compiled into a loaded gsplat: from its constants, before 1.6 from its version.

    Builds from source between the two carry the version 1.5.3 and the constant of 1.6.
    """
    try:
        constants = importlib.import_module(f"{gsplat.__name__}.cuda._constants")
    except ModuleNotFoundError:
        return gsplat_max_alpha(gsplat.__version__)
    return float(getattr(constants, "MAX_ALPHA", gsplat_max_alpha(gsplat.__version__)))


def gsplat_max_alpha(version: str) -> float:
    """The largest alpha compiled into a released gsplat version."""
    return 0.999 if _version(version) < (1, 6) else 0.99


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        raise RuntimeError(f"gsplat calls itself version {text!r}; pip install 'gsplat>=1.5'")
    return int(found[1]), int(found[2])


def _is_build_error(error: Exception) -> bool:
    """Whether the kernels are missing, as far as the ways that 1.5 and 1.6 fail tell."""
    text = str(error)
    if isinstance(error, ImportError | OSError):
        return True
    if isinstance(error, AttributeError):
        return "'NoneType' object" in text  # 1.5.3 without a toolkit: its module of kernels is None
    return isinstance(error, RuntimeError) and any(
        word in text for word in ("Error building extension", "Error compiling", "Ninja is required")
    )
