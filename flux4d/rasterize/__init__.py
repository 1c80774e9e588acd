"""Differentiable rasterisation of 3D Gaussians: gsplat on CUDA, own kernels on a CPU, one meaning."""

from flux4d.rasterize.api import Backend, RenderMode, rasterize
from flux4d.rasterize.constants import MAX_ALPHA
from flux4d.rasterize.meta import Rasterized, RasterMeta

__all__ = ["MAX_ALPHA", "Backend", "RasterMeta", "Rasterized", "RenderMode", "rasterize"]
