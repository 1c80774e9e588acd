"""Who watches an evaluation: is shown scenes and images while they are in memory, for pictures or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evaluation.methods.method import Method, SceneMethod, ViewImage
from evaluation.metrics.truth import Truth
from flux4d.gaussians import Gaussians
from store_schema.clip import Clip, View


class Observer(Protocol):
    """Is shown every scene and every view that is scored."""

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Should the view's velocity image be rendered too, where there is a scene?"""

    def scene(self, clip: Clip, method: SceneMethod, gaussians: Gaussians) -> None:
        """A clip was reconstructed. Not called for a method that gives images."""

    def frame(self, clip: Clip, method: Method, view: View, image: ViewImage, truth: Truth) -> None:
        """A target view was rendered or read; `image` is what is scored."""


@dataclass(frozen=True, slots=True)
class Observers:
    """Several observers as one."""

    each: Sequence[Observer]

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Does any of them?"""
        return any([observer.wants_velocity(clip, view) for observer in self.each])

    def scene(self, clip: Clip, method: SceneMethod, gaussians: Gaussians) -> None:
        """Show all of them the scene."""
        for observer in self.each:
            observer.scene(clip, method, gaussians)

    def frame(self, clip: Clip, method: Method, view: View, image: ViewImage, truth: Truth) -> None:
        """Show all of them the view."""
        for observer in self.each:
            observer.frame(clip, method, view, image, truth)
