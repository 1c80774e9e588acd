"""A PandaSet image: its bytes, checked against its header and its camera before anyone decodes them."""

from __future__ import annotations

from dataclasses import dataclass

import simplejpeg

from pipelines.sources.base import CameraFrame, LogError
from pipelines.sources.files import read_file

MAX_BYTES = 64 << 20
"""Bound of a JPEG file; a PandaSet image has 1 MB."""
MAX_PIXELS = 1 << 26
"""Bound of an image: a small file can declare 65,535 x 65,535 pixels, which take 12 GB."""
MAX_OFF_CENTRE = 0.125
"""A principal point further from the image's centre, as a share of its size, is of an image of another size.

PandaSet's own lie within 0.071."""
_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PandaSetImage(CameraFrame):
    """A camera frame of a PandaSet log, which knows its log."""

    log_id: str

    def image(self) -> bytes:
        """The file's bytes, unchanged.

        Raises:
            LogError: unreadable, no JPEG, truncated, not in colour, or of a size that does not fit the intrinsics.
        """
        data = read_file(self.log_id, self.path, MAX_BYTES, self.frame)
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        if not data:
            raise self._error("is not an intact JPEG: the file is empty")
        try:
            height, width, colours = simplejpeg.decode_jpeg_header(data)[:3]
        except ValueError as error:
            raise self._error(f"is not an intact JPEG ({error})") from error
        # Some writers pad with zeros. A decoder fills what is cut off with grey, and says so at best in a warning.
        if not data.rstrip(b"\0").endswith(_JPEG_END):
            raise self._error("the JPEG is truncated: it does not end with the end mark")
        if colours not in ("YCbCr", "RGB"):
            raise self._error(f"the JPEG's colours are {colours}, expected RGB")
        if width * height > MAX_PIXELS:
            raise self._error(f"the image has {width} x {height} pixels, expected at most {MAX_PIXELS} in all")
        cx, cy = float(self.K[0, 2]), float(self.K[1, 2])
        if max(abs(cx / width - 0.5), abs(cy / height - 0.5)) > MAX_OFF_CENTRE:
            reason = f"the image has {width} x {height} pixels, intrinsics.json puts its centre at ({cx:g}, {cy:g})"
            raise self._error(f"{reason}: they are of different sizes")

    def _error(self, reason: str) -> LogError:
        return LogError(self.log_id, f"{reason}; fetch the image again", frame=self.frame, file=self.path)
