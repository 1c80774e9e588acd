"""The protocol of a posed camera: time, pose, intrinsics and size, without an image."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Posed(Protocol):
    """A camera at its own time: a `store_schema.clip.View`, a `store_schema.codec.ViewHeader` or alike."""

    @property
    def frame(self) -> int:
        """Clip-relative frame."""

    @property
    def camera(self) -> str:
        """Name of the camera."""

    @property
    def time(self) -> float:
        """Seconds since the clip's first sweep stamp."""

    @property
    def cam2ego0(self) -> NDArray[np.float64]:
        """[4, 4] OpenCV camera axes to ego0."""

    @property
    def K(self) -> NDArray[np.float64]:  # noqa: N802
        """[3, 3] pixels of the full-size image, pixel centres at +0.5."""

    @property
    def width(self) -> int:
        """Pixels of the full-size image."""

    @property
    def height(self) -> int:
        """Pixels of the full-size image."""


def rendered_size(view: Posed, width: int | None) -> tuple[int, int]:
    """Width and height of a view rendered `width` pixels wide (height keeps the aspect); None keeps its own size.

    Raises:
        ValueError: nothing would be left of the image.
    """
    width = view.width if width is None else width
    height = round(view.height * width / view.width)
    if width < 1 or height < 1:
        raise ValueError(
            f"frame {view.frame}, {view.camera}: a {view.width}x{view.height} image would be {width}x{height} pixels: "
            "use a larger width"
        )
    return width, height
