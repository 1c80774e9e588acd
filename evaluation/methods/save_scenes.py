"""Scenes that are scored, written as files that `flux4d-eval run --scenes` scores again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.methods.method import Method, SceneMethod, ViewImage
from evaluation.methods.scene_folder import scene_path
from evaluation.metrics.truth import Truth
from flux4d.gaussians import Gaussians
from flux4d.scenes.from_clip import scene_of
from flux4d.scenes.write import write_scene
from store_schema.clip import Clip, View


@dataclass(frozen=True, slots=True)
class SceneSaver:
    """Writes ``{folder}/{method}/{clip id}.safetensors`` (an `evaluation.methods.observer.Observer`).

    Scenes that come from files are not written again.
    """

    folder: Path
    dataset_version: str
    """Whose points the scenes' `source` counts."""
    made: Mapping[str, str] = field(default_factory=dict)
    """How the scenes are made, in words; the method's description comes on top."""

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Never: no image is written."""
        return False

    def scene(self, clip: Clip, method: SceneMethod, gaussians: Gaussians) -> None:
        """Write the scene."""
        if not method.made_here:
            return
        made = {**self.made, "description": method.description}
        scene = scene_of(clip, gaussians, dataset_version=self.dataset_version, method=method.name, made=made)
        write_scene(scene_path(self.folder / method.name, clip.record.clip_id), scene)

    def frame(self, clip: Clip, method: Method, view: View, image: ViewImage, truth: Truth) -> None:
        """No image is written."""
