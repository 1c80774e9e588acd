"""The clip protocol: which frames of a log are inputs, which are targets, where clips begin, which logs are the test's.

A fact of the data set: `pipelines` cuts logs by it, the version records it, `evaluation` reads it there. Source: Flux4D
(arXiv 2512.03210), experimental setup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from store_schema.clip import Setting, Split

TEST_LOGS = ("001", "011", "016", "065", "084", "090", "106", "115", "123", "158")
"""The paper's ten PandaSet test logs; every other log trains."""

LOG_ID = re.compile(r"[A-Za-z0-9_-]+")
"""A log id becomes part of clip ids, tar members and file names: no dots, no separators, ASCII."""

LAST_FRAME = 2**15 - 1
"""Largest frame number of a clip: the store holds them as int16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipProtocol:
    """Frames and strides of the three settings, and the test logs; the defaults are the paper's.

    Frame numbers are clip-relative; frame 0 is ego0. A clip is as long as its last frame says: a training clip of the
    interpolation setting ends with the last input, the others with the last future target (without future targets,
    with the last input).
    """

    inputs: tuple[int, ...] = (0, 2, 4, 6, 8, 10)
    """Frames whose LiDAR points and images the model is given; they begin with 0."""
    interpolation: tuple[int, ...] = (1, 3, 5, 7, 9)
    """Target frames between the inputs; with none there are no clips to train interpolation."""
    future: tuple[int, ...] = (11, 12, 13, 14, 15)
    """Target frames after the last input; with none there are no clips to train the future."""
    train_interpolation_stride: int = 6
    """Frames between the starts of two interpolation training clips."""
    train_future_stride: int = 11
    """Frames between the starts of two future training clips."""
    evaluation_stride: int = 20
    """Frames between the starts of two evaluation clips."""
    test_logs: tuple[str, ...] = TEST_LOGS
    """Logs of the test split, which evaluation clips are cut from; every other log trains."""

    def __post_init__(self) -> None:
        # The same logs are the same protocol, in whatever order they are named.
        object.__setattr__(self, "test_logs", tuple(sorted(set(self.test_logs))))
        if not self.inputs or self.inputs[0] != 0:
            raise ValueError(f"inputs must start at frame 0, the clip's reference frame, got {self.inputs}")
        for name in ("inputs", "interpolation", "future"):
            frames = getattr(self, name)
            if list(frames) != sorted(set(frames)) or any(not 0 <= frame <= LAST_FRAME for frame in frames):
                raise ValueError(f"{name} must be frames 0..{LAST_FRAME} in ascending order, each once, got {frames}")
        for name in ("train_interpolation_stride", "train_future_stride", "evaluation_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        self._check_targets()
        if wrong := [log for log in self.test_logs if not LOG_ID.fullmatch(log)]:
            raise ValueError(f"test_logs {wrong} cannot be ids of logs: they have only letters, digits, - and _")

    def _check_targets(self) -> None:
        if not self.interpolation and not self.future:
            raise ValueError("interpolation and future are both empty: name at least one target frame")
        if twice := set(self.inputs) & set(self.interpolation):
            raise ValueError(f"frames {sorted(twice)} are both inputs and interpolation targets")
        if self.interpolation and self.interpolation[-1] > self.inputs[-1]:
            raise ValueError(
                f"interpolation frame {self.interpolation[-1]} lies after the last input {self.inputs[-1]}"
            )
        if self.future and self.future[0] <= self.inputs[-1]:
            raise ValueError(f"future frame {self.future[0]} is not after the last input {self.inputs[-1]}")

    def split(self, log_id: str) -> Split:
        """The split of a log."""
        return "test" if log_id in self.test_logs else "train"

    def settings(self, split: Split) -> tuple[Setting, ...]:
        """Settings that logs of a split give clips of."""
        if split == "test":
            return ("evaluation",)
        wanted: tuple[tuple[Setting, tuple[int, ...]], ...] = (
            ("train_interpolation", self.interpolation),
            ("train_future", self.future),
        )
        return tuple(setting for setting, targets in wanted if targets)

    def future_of(self, setting: Setting) -> tuple[int, ...]:
        """Future target frames of a setting's clips."""
        return () if setting == "train_interpolation" else self.future

    def num_frames(self, setting: Setting) -> int:
        """Length of a setting's clips."""
        return (self.future_of(setting) or self.inputs)[-1] + 1

    def stride(self, setting: Setting) -> int:
        """Frames between the starts of two clips of a setting."""
        stride: int = getattr(self, f"{setting}_stride")
        return stride


PAPER_PROTOCOL = ClipProtocol()
"""Also that of every version from before the protocol was an option, but for its test logs, which it does not say."""
