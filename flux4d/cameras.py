"""Pinhole cameras with a time: what a rendering is taken with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from store_schema.clip import View


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """C cameras of one image size. OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

    viewmats: Tensor  # [C, 4, 4] ego0 to camera (world2cam in gsplat's words), float32
    Ks: Tensor  # [C, 3, 3] pixels of the rendered size
    width: int
    height: int
    times: Tensor  # [C] s since the clip's first sweep stamp

    def __len__(self) -> int:
        return len(self.viewmats)

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on another device."""
        return Cameras(self.viewmats.to(device), self.Ks.to(device), self.width, self.height, self.times.to(device))

    @classmethod
    def from_views(cls, views: Sequence[View], width: int | None = None) -> Cameras:
        """Cameras of stored views, scaled to `width` pixels (height keeps the aspect); None keeps the stored size.

        Raises:
            ValueError: no view, or views of different sizes.
        """
        sizes = {(view.width, view.height) for view in views}
        if len(sizes) != 1:
            raise ValueError(f"views of one call must share one image size, got {sorted(sizes)}")
        full_width, full_height = sizes.pop()
        width = full_width if width is None else width
        height = round(full_height * width / full_width)
        scale = np.array([width / full_width, height / full_height, 1.0])[:, None]
        return cls(
            viewmats=torch.from_numpy(np.stack([np.linalg.inv(view.cam2ego0) for view in views])).float(),
            Ks=torch.from_numpy(np.stack([view.K * scale for view in views])).float(),
            width=width,
            height=height,
            times=torch.tensor([view.time for view in views], dtype=torch.float32),
        )
