"""Pinhole cameras, each with a time: poses, intrinsics and size of the images to render."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from flux4d.cameras.motion import camera_twists
from flux4d.cameras.posed import Posed, pinhole, rendered_size
from flux4d.cameras.shutter import Shutter


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """C cameras of one image size. OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

    viewmats: Tensor  # [C, 4, 4] ego0 to camera (world2cam in gsplat's words), float32, at `times`
    Ks: Tensor  # [C, 3, 3] pixels of the rendered size
    width: int
    height: int
    times: Tensor  # [C] s since the clip's first sweep stamp
    twists: Tensor | None = None  # [C, 6] own motion in own axes, m/s and rad/s (`camera_twists`); None is not known
    shutter: Shutter | None = None  # when the rows of all C are exposed; None: all rows at `times`

    def __post_init__(self) -> None:
        if self.twists is not None and self.twists.shape != (len(self.viewmats), 6):
            raise ValueError(f"twists must have shape {(len(self.viewmats), 6)}, got {tuple(self.twists.shape)}")
        if self.shutter is not None and not self.shutter.instant and self.twists is None:
            raise ValueError(
                "a shutter needs the cameras' motion (twists): make them with Cameras.from_views(..., path=clip.views)"
            )

    def __len__(self) -> int:
        return len(self.viewmats)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Cameras:
        """The same cameras on another device; `non_blocking` does not wait for the copy if the memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Cameras:
        """The same cameras in page-locked memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Cameras:
        return replace(
            self,
            viewmats=change(self.viewmats),
            Ks=change(self.Ks),
            times=change(self.times),
            twists=None if self.twists is None else change(self.twists),
        )

    @classmethod
    def from_views(
        cls,
        views: Sequence[Posed],
        width: int | None = None,
        *,
        path: Sequence[Posed] | None = None,
        shutter: Shutter | None = None,
    ) -> Cameras:
        """Cameras of stored views, scaled to `width` pixels (height keeps the aspect); None keeps the stored size.

        Args:
            views: One camera each.
            width: Pixels.
            path: Views that tell how the cameras move, usually all of the clip; None leaves that open.
            shutter: When rows are exposed; one that is not instant needs `path`.

        Raises:
            ValueError: no view, views of different sizes, a lens that is no pinhole, a shutter without `path`, or a
                path that does not tell a camera's motion (`flux4d.cameras.motion.camera_twists`).
        """
        sizes = {(view.width, view.height) for view in views}
        if len(sizes) != 1:
            raise ValueError(f"views of one call must share one image size, got {sorted(sizes)}")
        full_width, full_height = sizes.pop()
        width, height = rendered_size(views[0], width)
        scale = np.array([width / full_width, height / full_height, 1.0])[:, None]
        return cls(
            viewmats=torch.from_numpy(np.stack([np.linalg.inv(view.cam2ego0) for view in views])).float(),
            Ks=torch.from_numpy(np.stack([pinhole(view) * scale for view in views])).float(),
            width=width,
            height=height,
            times=torch.tensor([view.time for view in views], dtype=torch.float32),
            twists=None if path is None else torch.from_numpy(camera_twists(views, path)).float(),
            shutter=shutter,
        )
