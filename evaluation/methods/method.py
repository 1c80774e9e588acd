"""The two kinds of methods: one makes a scene, which is rendered here; the other makes images itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from flux4d.gaussians import Gaussians
from store_schema.clip import Clip, View

_SEEN = "Which clips it learned from is not known: a clip counts as seen only by the run that is named."


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """Name and one line of explanation."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, eq=False)
class ViewImage:
    """One view as a method shows it."""

    rgb: Tensor  # [H, W, 3] in [0, 1], sRGB-coded; what is beyond is clipped
    depth: Tensor | None = None  # [H, W] m, z-depth, 0 where there is nothing
    velocity: Tensor | None = None  # [H, W, 3] m/s in ego0 axes


@dataclass(frozen=True, slots=True)
class SceneMethod:
    """A way to turn a clip into a 4D scene; everything is measured on it."""

    name: str
    description: str
    reconstruct: Callable[[Clip], Gaussians]
    """The clip's scene in its ego0 frame. Raises a ValueError that says what is wrong, or a FileNotFoundError."""
    made_here: bool = True
    """False: scenes come from files, so nobody knows here what making them cost."""

    @property
    def info(self) -> MethodInfo:
        """What results say of it."""
        return MethodInfo(self.name, self.description)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is n/a of it, and why."""
        if self.made_here:
            return ()
        return (f"{self.name}: the scenes come from files, so the time that making them took is n/a. {_SEEN}",)


@dataclass(frozen=True, slots=True)
class ImageMethod:
    """A way to show the views of a clip; scene flow, velocity, Gaussians and times are n/a."""

    name: str
    description: str
    image: Callable[[Clip, View, int, int], ViewImage]
    """The clip's view at a width and height in pixels. Raises as `SceneMethod.reconstruct`."""
    has_depth: bool = False
    """Whether every image comes with depth, or none."""

    @property
    def info(self) -> MethodInfo:
        """What results say of it."""
        return MethodInfo(self.name, self.description)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is n/a of it, and why."""
        depth = "" if self.has_depth else "depth, "
        return (
            f"{self.name} gives images, not scenes: {depth}scene flow, rendered velocity, the number of Gaussians and "
            "times are n/a. The images are scored as they are: no shutter or exposure is added to them. "
            f"{_SEEN}",
        )


Method = SceneMethod | ImageMethod
"""Whatever can be scored."""
