"""Pictures of an evaluation: truth, prediction, error, depth, velocity and a view from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.methods.method import Method, SceneMethod, ViewImage
from evaluation.metrics.truth import Truth
from evaluation.report.birds_eye import Window, birds_eye, window_around
from evaluation.report.colours import ERROR_RAMP, depth_colours, ramp, velocity_colours
from flux4d.gaussians import Gaussians
from flux4d.lifetime import is_there
from flux4d.motion import move, velocity_at
from store_schema.clip import Clip, Role, View
from store_schema.json_dataclass import load_json, save_json

TRUTH = "truth"
"""Stands where a method's name stands, for what the log itself shows."""
NEAR_M, FAR_M = 2.0, 100.0
FULL_SPEED_MPS = 10.0
FULL_ERROR = 0.5
_INDEX = "pictures.json"


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """One file of the picture folder."""

    file: str
    """Relative to the folder."""
    clip_id: str
    method: str
    """A method's name, or `TRUTH`."""
    kind: str
    """image, error, depth, velocity or birds_eye."""
    frame: int
    role: Role
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PictureIndex:
    """All pictures of a folder, in the order they were drawn."""

    pictures: tuple[DrawnPicture, ...]

    def find(self, clip_id: str, method: str, kind: str, frame: int) -> DrawnPicture | None:
        """The picture of a kind; None when it was not drawn."""
        wanted = (clip_id, method, kind, frame)
        return next((p for p in self.pictures if (p.clip_id, p.method, p.kind, p.frame) == wanted), None)

    def frames(self, clip_id: str) -> list[tuple[int, Role]]:
        """Frames of a clip with pictures, in order."""
        return sorted({(p.frame, p.role) for p in self.pictures if p.clip_id == clip_id and p.kind != "birds_eye"})

    @classmethod
    def load(cls, folder: Path) -> PictureIndex:
        """Read the index of a folder; a folder without one has no pictures."""
        path = folder / _INDEX
        return load_json(path, cls) if path.exists() else cls(())


class PictureBook:
    """Draws pictures of the first clips while they are evaluated (an `evaluation.methods.observer.Observer`).

    Of each clip it takes the middle interpolation and the middle future frame of the first camera.
    """

    def __init__(self, folder: Path, max_clips: int = 6, max_width: int = 640) -> None:
        """Start an empty book.

        Args:
            folder: Where the files go; it is made.
            max_clips: Draw no more clips than this.
            max_width: Pictures are scaled down to this width, pixels.
        """
        self.folder, self.max_clips, self.max_width = folder, max_clips, max_width
        folder.mkdir(parents=True, exist_ok=True)
        self._pictures: dict[str, DrawnPicture] = {}
        self._clips: list[str] = []
        self._windows: dict[str, Window] = {}

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Only the frames that are drawn need a velocity image."""
        return self._draws(clip) and view in _chosen_views(clip)

    def scene(self, clip: Clip, method: SceneMethod, gaussians: Gaussians) -> None:
        """Draw the moving scene from above, and the truth once per clip; nothing of a clip without LiDAR points."""
        if not self._draws(clip) or not clip.points.in_view.any():
            return
        clip_id = clip.record.clip_id
        frame, role, time = _moment(clip)
        solid = gaussians.select(~gaussians.is_sky & is_there(gaussians, time))
        means = move(solid, time).cpu().numpy()
        if clip_id not in self._windows:
            self._windows[clip_id] = window_around(clip.points.means[clip.points.in_view][:, :2])
            self._draw_true_scene(clip, frame, role, time)
        image = birds_eye(
            means,
            velocity_at(solid, time).cpu().numpy(),
            self._windows[clip_id],
            FULL_SPEED_MPS,
            clip.boxes,
            frame,
        )
        self._save(image, clip_id, method.name, "birds_eye", frame, role, lossless=True)

    def frame(self, clip: Clip, method: Method, view: View, image: ViewImage, truth: Truth) -> None:
        """Draw one view beside its truth, as far as the method gives it."""
        if not self.wants_velocity(clip, view):
            return
        rgb = image.rgb.cpu().numpy().clip(0.0, 1.0)
        drawn = {
            "image": _uint8(rgb),
            "error": ramp(np.abs(rgb - truth.rgb).mean(-1) / FULL_ERROR, ERROR_RAMP),
        }
        if image.depth is not None:
            drawn["depth"] = depth_colours(image.depth.cpu().numpy(), NEAR_M, FAR_M)
        if image.velocity is not None:
            drawn["velocity"] = velocity_colours(image.velocity.cpu().numpy(), FULL_SPEED_MPS)
        clip_id = clip.record.clip_id
        for kind, pixels in drawn.items():
            self._save(Image.fromarray(pixels), clip_id, method.name, kind, view.frame, view.role)
        if f"{clip_id}/{TRUTH}-{view.frame:03d}-image" not in self._pictures:
            self._save(Image.fromarray(_uint8(truth.rgb)), clip_id, TRUTH, "image", view.frame, view.role)
            self._save(Image.fromarray(_lidar_image(truth)), clip_id, TRUTH, "depth", view.frame, view.role)

    def close(self) -> PictureIndex:
        """Write the index and hand it over."""
        index = PictureIndex(tuple(self._pictures.values()))
        save_json(self.folder / _INDEX, index)
        return index

    def _draws(self, clip: Clip) -> bool:
        if clip.record.clip_id not in self._clips and len(self._clips) < self.max_clips:
            self._clips.append(clip.record.clip_id)
        return clip.record.clip_id in self._clips

    def _draw_true_scene(self, clip: Clip, frame: int, role: Role, time: float) -> None:
        points = clip.points
        keep = points.in_view
        following = np.minimum(points.frame[keep] + 1, len(clip.sweep_times) - 1)
        dt = clip.sweep_times[following] - clip.sweep_times[points.frame[keep]]
        velocity = points.flow[keep] / np.where(dt > 0, dt, np.inf)[:, None]
        means = points.means[keep] + velocity * (time - points.times[keep])[:, None]
        clip_id = clip.record.clip_id
        image = birds_eye(means, velocity, self._windows[clip_id], FULL_SPEED_MPS, clip.boxes, frame)
        self._save(image, clip_id, TRUTH, "birds_eye", frame, role, lossless=True)

    def _save(
        self, image: Image.Image, clip_id: str, method: str, kind: str, frame: int, role: Role, lossless: bool = False
    ) -> None:
        if image.width > self.max_width and not lossless:
            height = round(image.height * self.max_width / image.width)
            image = image.resize((self.max_width, height), Image.Resampling.BOX)
        key = f"{clip_id}/{method}-{frame:03d}-{kind}"
        file = f"{_file_name(clip_id)}/{_file_name(method)}-{frame:03d}-{kind}.{'png' if lossless else 'jpg'}"
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if lossless:
            image.quantize(64).save(path, optimize=True)
        else:
            image.save(path, quality=88, subsampling=0)
        self._pictures[key] = DrawnPicture(file, clip_id, method, kind, frame, role, image.width, image.height)


def _chosen_views(clip: Clip) -> Sequence[View]:
    """The middle interpolation and the middle future frame of the first camera."""
    chosen = []
    for role in ("interpolation", "future"):
        views = [view for view in clip.views_of(role) if view.name == clip.view_cameras[0]]
        if views:
            chosen.append(views[len(views) // 2])
    return chosen


def _moment(clip: Clip) -> tuple[int, Role, float]:
    """Frame, role and sweep time of the view from above: the first chosen frame."""
    view = _chosen_views(clip)[0]
    return view.frame, view.role, float(clip.sweep_times[view.frame])


def _file_name(name: str) -> str:
    """A clip's or method's name as that of a file: what could lead to another folder is written as percent codes."""
    return quote(name, safe="").replace(".", "%2E")


def _uint8(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (rgb * 255.0).round().astype(np.uint8)


def _lidar_image(truth: Truth) -> NDArray[np.uint8]:
    """LiDAR depth as dots large enough to be seen in a scaled picture."""
    height, width = truth.rgb.shape[:2]
    image = np.full((height, width), np.inf, np.float32)
    radius = max(0, round(width / 640))
    row, column = np.divmod(truth.depth_pixel, width)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            y, x = (row + dy).clip(0, height - 1), (column + dx).clip(0, width - 1)
            np.minimum.at(image, (y, x), truth.depth)
    return depth_colours(np.where(np.isfinite(image), image, 0.0), NEAR_M, FAR_M)
