"""Images in files as a method: renders of anyone's program, scored as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from evaluation.methods.folder import files_hash, refuse_missing
from evaluation.methods.method import ImageMethod, ViewImage
from store_schema.clip import Clip, View

_IMAGES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class RenderFolder:
    """A folder of ``{clip id}/{camera}-{frame:03d}.png`` (or .jpg) and, of all views or none, depth beside it.

    Frames are counted from the clip's first, as `View.frame`. Images are 8-bit RGB. Depth is a .npy file of the same
    stem: floating point [H, W], z-depth in metres along the camera's axis, 0 where there is nothing.
    """

    name: str
    folder: Path
    has_depth: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_depth", next(iter(self.folder.glob("*/*.npy")), None) is not None)

    @property
    def method(self) -> ImageMethod:
        """What can be scored."""
        return ImageMethod(self.name, f"Images of {self.folder}", self.image, self.has_depth)

    def check(self, clip_ids: Iterable[str]) -> None:
        """Refuse clips without a folder, before anything is scored.

        Raises:
            FileNotFoundError: names folder and clips.
        """
        refuse_missing(self.name, self.folder, [clip for clip in clip_ids if not (self.folder / clip).is_dir()])

    def origin(self, clip_ids: Iterable[str]) -> str:
        """Folder and hash of the files of these clips, for the record."""
        files = [file for clip in clip_ids for file in (self.folder / clip).iterdir() if file.is_file()]
        return f"{self.folder} (blake3 {files_hash(self.folder, files)})"

    def image(self, clip: Clip, view: View, width: int, height: int) -> ViewImage:
        """A view of a clip.

        Args:
            clip: The clip.
            view: One of its views.
            width: Pixels that images must have, those of the scored size; so for `height`.
            height: Pixels.

        Raises:
            FileNotFoundError: there is no image of the view, or no depth and others have some.
            ValueError: an image or depth cannot be read or has another size or type; names file and next step.
        """
        stem = self.folder / clip.record.clip_id / f"{view.name}-{view.frame:03d}"
        found = [path for suffix in _IMAGES if (path := stem.with_name(stem.name + suffix)).is_file()]
        if not found:
            raise FileNotFoundError(f"{stem}.png (or .jpg) is missing: render this view of clip {clip.record.clip_id}")
        if len(found) > 1:
            raise ValueError(f"{found[0]} and {found[1].name} are one view twice: remove one of them")
        rgb = _read_image(found[0], width, height)
        depth = _read_depth(stem.with_name(f"{stem.name}.npy"), width, height) if self.has_depth else None
        return ViewImage(rgb=rgb, depth=depth)


def _read_image(path: Path, width: int, height: int) -> Tensor:
    """[H, W, 3] in [0, 1]; nothing is decoded before the size is known to be right."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            _check_size(path, image.size, width, height)
            if image.mode != "RGB":
                raise ValueError(f"{path} has mode {image.mode}: save it as 8-bit RGB without alpha")
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): render it again") from error
    return torch.from_numpy(pixels.copy()).float() / 255.0


def _read_depth(path: Path, width: int, height: int) -> Tensor:
    """[H, W] m."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, other views have depth: add it, or remove all .npy files")
    try:
        values: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an array ({error}): write it with numpy.save") from error
    if values.dtype not in (np.float16, np.float32, np.float64) or values.ndim != 2:
        raise ValueError(f"{path} is {values.dtype} {values.shape}: write depth as float32 [H, W] in metres")
    _check_size(path, (values.shape[1], values.shape[0]), width, height)
    depth = torch.from_numpy(np.array(values, np.float32))
    if not depth.isfinite().all() or (depth < 0).any():
        raise ValueError(f"{path} holds depth that is negative or not finite: write 0 where there is nothing")
    return depth


def _check_size(path: Path, size: tuple[int, int], width: int, height: int) -> None:
    if size != (width, height):
        raise ValueError(
            f"{path} is {size[0]}x{size[1]}, the views are scored at {width}x{height}: render at that size, or score "
            f"with --width {size[0]}"
        )
