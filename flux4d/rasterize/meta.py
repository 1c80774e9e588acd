"""What `rasterize` returns: images, and what was drawn in gsplat's packed or dense form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RasterMeta:
    """What densification, statistics and tests want to know besides the images; gsplat's names and forms.

    packed: one row for each of the nnz pairs of a camera and a Gaussian it sees, by camera. Within a camera the order
        is the backend's (gsplat: by Gaussian; cpu and torch: front to back): go by `gaussian_ids`.
    dense: [C, N, ...]; `radii` is 0 where a Gaussian is culled, and there the other values mean nothing (0 on cpu and
        torch).

    `means2d` is the tensor that the images are made from: ``meta.means2d.retain_grad()`` before the backward pass
    gives its gradient. Every other column is made when it is first asked for, and is differentiable too.
    """

    means2d: Tensor  # [nnz, 2] or [C, N, 2] px
    width: int  # px
    height: int  # px
    n_cameras: int  # C
    n_gaussians: int  # N
    packed: bool
    column: Callable[[str], Tensor | None] = field(repr=False)
    """Makes a column by its name."""

    @cached_property
    def camera_ids(self) -> Tensor | None:
        """Camera of each row [nnz] int64; None when dense."""
        return self.column("camera_ids")

    @cached_property
    def gaussian_ids(self) -> Tensor | None:
        """Gaussian of each row [nnz] int64; None when dense."""
        return self.column("gaussian_ids")

    @cached_property
    def radii(self) -> Tensor:
        """Half sides of the bounding boxes in px, int32. [nnz, 2] or [C, N, 2]."""
        return self._tensor("radii")

    @cached_property
    def depths(self) -> Tensor:
        """z-depths in m. [nnz] or [C, N]."""
        return self._tensor("depths")

    @cached_property
    def conics(self) -> Tensor:
        """Inverse 2D covariances xx, xy, yy in 1/px^2. [nnz, 3] or [C, N, 3]."""
        return self._tensor("conics")

    @cached_property
    def opacities(self) -> Tensor:
        """Opacities. [nnz] or [C, N]."""
        return self._tensor("opacities")

    @property
    def visible(self) -> Tensor:
        """Gaussians not culled, by camera. [C] int64."""
        if self.camera_ids is not None:
            return torch.bincount(self.camera_ids, minlength=self.n_cameras)
        return (self.radii > 0).all(dim=-1).sum(dim=-1)

    def as_dict(self) -> dict[str, Any]:
        """Under gsplat's keys, as its densification strategies take it."""
        names = ("camera_ids", "gaussian_ids", "radii", "means2d", "depths", "conics", "opacities")
        return {name: getattr(self, name) for name in (*names, "width", "height", "n_cameras")}

    def _tensor(self, name: str) -> Tensor:
        value = self.column(name)
        assert value is not None, f"backends must know {name}"
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Rasterized:
    """Images of C cameras; unpacks as gsplat's triple: ``features, alphas, meta = rasterize(...)``."""

    features: Tensor  # [C, H, W, X] X = D, 1 or D + 1 by render mode; depth is the last channel
    alphas: Tensor  # [C, H, W, 1]
    meta: RasterMeta

    def __iter__(self) -> Iterator[Any]:
        return iter((self.features, self.alphas, self.meta))
