"""Scenes in files as a method: whatever made them, they are rendered and scored like our own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from evaluation.methods.folder import files_hash, refuse_missing
from evaluation.methods.method import SceneMethod
from flux4d.gaussians import Gaussians
from flux4d.scenes.read import SceneFileError, read_scene
from store_schema.clip import Clip


@dataclass(frozen=True, slots=True)
class SceneFolder:
    """A folder of ``{clip id}.safetensors`` (docs/scene_format.md)."""

    name: str
    folder: Path
    dataset_version: str
    """Of the clips that are scored."""
    device: torch.device | str = "cpu"

    @property
    def method(self) -> SceneMethod:
        """What can be scored."""
        return SceneMethod(self.name, f"Scene files of {self.folder}", self.reconstruct, made_here=False)

    def check(self, clip_ids: Iterable[str]) -> None:
        """Refuse clips without a file, before anything is scored.

        Raises:
            FileNotFoundError: names folder and clips.
        """
        refuse_missing(self.name, self.folder, [c for c in clip_ids if not scene_path(self.folder, c).is_file()])

    def origin(self, clip_ids: Iterable[str]) -> str:
        """Folder and hash of the files of these clips, for the record."""
        return f"{self.folder} (blake3 {files_hash(self.folder, [scene_path(self.folder, c) for c in clip_ids])})"

    def reconstruct(self, clip: Clip) -> Gaussians:
        """The scene of a clip.

        Raises:
            FileNotFoundError: it has no file.
            SceneFileError: the file is damaged, or the scene of another clip, or counts points of another dataset
                version.
        """
        path, clip_id = scene_path(self.folder, clip.record.clip_id), clip.record.clip_id
        scene = read_scene(path, self.device)
        if scene.clip_id and scene.clip_id != clip_id:
            raise SceneFileError(f"{path} is the scene of clip {scene.clip_id}, not of {clip_id}: rename it")
        source = scene.gaussians.source
        if not (source >= 0).any():
            return scene.gaussians
        if scene.dataset_version != self.dataset_version:
            raise SceneFileError(
                f"{path}: its Gaussians name points (source) of dataset version {scene.dataset_version[:12]!r}, clip "
                f"{clip_id} is of {self.dataset_version[:12]}: score it with --version of its own dataset, or write it "
                "without the column source"
            )
        if int(source.max()) >= len(clip.points):
            raise SceneFileError(
                f"{path}: source names point {int(source.max())}, clip {clip_id} has {len(clip.points)}: make it anew"
            )
        return scene.gaussians


def scene_path(folder: Path, clip_id: str) -> Path:
    """File of a clip's scene."""
    return folder / f"{clip_id}.safetensors"
