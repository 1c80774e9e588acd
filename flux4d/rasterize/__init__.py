"""Differentiable rasterisation of 3D Gaussians: gsplat on CUDA, own kernels on a CPU, one meaning."""

from flux4d.rasterize.api import Backend, Rasterized, RasterMeta, RenderMode, rasterize
from flux4d.rasterize.constants import MAX_ALPHA

__all__ = ["MAX_ALPHA", "Backend", "RasterMeta", "Rasterized", "RenderMode", "rasterize"]
