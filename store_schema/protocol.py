"""The clip protocol: which frames of a log are inputs, which are targets, and where clips begin.

A fact of the data set: `pipelines` cuts logs by it, the version records it, `evaluation` reads it there. Source: Flux4D
(arXiv 2512.03210), experimental setup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TEST_LOGS = ("001", "011", "016", "065", "084", "090", "106", "115", "123", "158")
"""The paper's ten PandaSet test logs; every other log trains."""

LOG_ID = re.compile(r"[A-Za-z0-9_-]+")
"""A log id becomes part of clip ids, tar members and file names: no dots, no separators, ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Frames and strides of the three settings. Frame numbers are clip-relative; frame 0 is ego0."""

    inputs: tuple[int, ...] = (0, 2, 4, 6, 8, 10)
    """Frames whose LiDAR points and images the model is given."""
    interpolation: tuple[int, ...] = (1, 3, 5, 7, 9)
    """Target frames between the inputs."""
    future: tuple[int, ...] = (11, 12, 13, 14, 15)
    """Target frames after the last input."""
    train_interpolation_stride: int = 6
    """Frames between the starts of two interpolation training clips."""
    train_future_stride: int = 11
    """Frames between the starts of two future training clips."""
    evaluation_stride: int = 20
    """Frames between the starts of two evaluation clips."""

    def __post_init__(self) -> None:
        for name in ("inputs", "interpolation", "future"):
            frames = getattr(self, name)
            if not frames or list(frames) != sorted(set(frames)) or frames[0] < 0:
                raise ValueError(f"{name} must be frames in ascending order, at least one, got {frames}")
        for name in ("train_interpolation_stride", "train_future_stride", "evaluation_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.inputs[0] != 0:
            raise ValueError(f"inputs must start at frame 0, the clip's reference frame, got {self.inputs}")
        if twice := set(self.inputs) & set(self.interpolation):
            raise ValueError(f"frames {sorted(twice)} are both inputs and interpolation targets")
        if self.interpolation[-1] > self.inputs[-1]:
            raise ValueError(
                f"interpolation frame {self.interpolation[-1]} lies after the last input {self.inputs[-1]}"
            )
        if self.future[0] <= self.inputs[-1]:
            raise ValueError(f"future frame {self.future[0]} is not after the last input {self.inputs[-1]}")
