"""A window of cuboids around a frame: which neighbours exist, which tells what moves; each table is read once."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.sources.base import Cuboids, LogReader


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """The annotated frame beside another that says what moves there."""

    cuboids: Cuboids
    time: float  # s, its stamp


class CuboidWindow:
    """Cuboids of a log's frames; those near the last frame asked for are held. Not for two threads at once."""

    def __init__(self, reader: LogReader, held: int) -> None:
        """Read nothing yet; frames up to `held` from the last window's are kept."""
        self._reader, self._reach = reader, held
        self._missing = frozenset(reader.missing_frames())
        self._held: dict[int, Cuboids | None] = {}

    def at(self, frame: int) -> Cuboids | None:
        """Cuboids of a frame; None outside the log, where the frame is missing, and in a log without cuboids.

        Raises:
            LogError: they cannot be read.
        """
        if not 0 <= frame < self._reader.num_frames or frame in self._missing:
            return None
        if frame not in self._held:
            self._held[frame] = self._reader.cuboids(frame)
            near = {other: boxes for other, boxes in self._held.items() if abs(other - frame) <= self._reach}
            self._held = near
        return self._held[frame]

    def beside(self, frame: int) -> Neighbour | None:
        """The next frame's cuboids, at the end of a run the previous one's; None where there is neither.

        Raises:
            LogError: they cannot be read.
        """
        cuboids = self.at(frame + 1) or self.at(frame - 1)
        return None if cuboids is None else Neighbour(cuboids, self._reader.frame_time(cuboids.frame))

    def around(self, frame: int, half: int) -> list[tuple[float, Cuboids]]:
        """Stamp (s) and cuboids of the frames within `half` of one, ascending; missing frames are left out.

        Raises:
            LogError: some cannot be read.
        """
        found = (self.at(other) for other in range(frame - half, frame + half + 1))
        return [(self._reader.frame_time(cuboids.frame), cuboids) for cuboids in found if cuboids is not None]
