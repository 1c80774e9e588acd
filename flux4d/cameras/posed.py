"""The protocol of a posed camera: time, pose, intrinsics and size, without an image."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from store_schema.camera_model import PINHOLE, CameraModel
from store_schema.clip import ImageFormat


class Posed(Protocol):
    """A camera at its own time: a `store_schema.clip.View`, a `store_schema.codec.ViewHeader` or alike."""

    @property
    def frame(self) -> int:
        """Clip-relative frame."""

    @property
    def name(self) -> str:
        """What names the camera in its clip: two views of one name are of one agent's one camera."""

    @property
    def model(self) -> CameraModel:
        """What the lens does before K; `pinhole` is how to ask for K."""

    @property
    def image_format(self) -> ImageFormat:
        """Of the view's image file."""

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


def pinhole(view: Posed) -> NDArray[np.float64]:
    """K [3, 3] of a view, for code that projects and renders with K alone; every projection of this package asks here.

    Raises:
        ValueError: the lens does more than a pinhole; names camera and model.
    """
    if view.model != PINHOLE:
        raise ValueError(
            f"frame {view.frame}, {view.name}: its lens is of model {view.model.kind}, and only {PINHOLE.kind} is "
            "rendered so far: build the dataset from undistorted images, or without this camera"
        )
    return view.K


def rendered_size(view: Posed, width: int | None) -> tuple[int, int]:
    """Width and height of a view rendered `width` pixels wide (height keeps the aspect); None keeps its own size.

    Raises:
        ValueError: nothing would be left of the image.
    """
    width = view.width if width is None else width
    height = round(view.height * width / view.width)
    if width < 1 or height < 1:
        raise ValueError(
            f"frame {view.frame}, {view.name}: a {view.width}x{view.height} image would be {width}x{height} pixels: "
            "use a larger width"
        )
    return width, height
