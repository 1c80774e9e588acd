"""The protocol of a data set: how logs are cut into clips (`ClipProtocol`), what is true motion (`FlowRules`).

Facts of the data set: `pipelines` works by them, the version records them, `evaluation` reads them there. Source:
Flux4D (arXiv 2512.03210), experimental setup; for the flow Argoverse 2 and Bucket Normalized EPE.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from store_schema.clip import Setting, Split

TEST_LOGS = ("001", "011", "016", "065", "084", "090", "106", "115", "123", "158")
"""The paper's ten PandaSet test logs; every other log trains."""

LOG_ID = re.compile(r"[A-Za-z0-9_-]+")
"""A log id becomes part of clip ids, tar members and file names: no dots, no separators, ASCII."""

Overlap = Literal["smallest", "last"]
Lidars = Literal["own", "any"]

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


@dataclass(frozen=True, slots=True)
class FlowRules:
    """How points get their boxes.

    `P0_RULES`, the defaults, are this project's protocol. `AV2_RULES` are those of Argoverse 2's scene-flow challenge
    (av2-api, ``Flow.from_sweep_pair``), whose labels Bucket Normalized EPE takes over. One difference to them stays:
    there a point of several boxes is void as soon as one of their tracks ends; here the winning box's track decides.
    """

    expand_m: float = 0.0
    """Growth of every box in width and in length, m in total (half of it on each side); the height stays as
    annotated. Argoverse 2: 0.2."""

    overlap: Overlap = "smallest"
    """Whose a point in several boxes is: of the smallest as annotated (ties: the lowest row), or of the last in the
    list (Argoverse 2)."""

    lidars: Lidars = "own"
    """Boxes a point can lie in: those of its own LiDAR and of both, or all of them. PandaSet draws what two LiDARs
    see in motion twice, up to a metre apart, hence "own". Argoverse 2 has one list for both of its LiDARs: "any"."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "expand_m", float(self.expand_m))  # 0 and 0.0 must hash alike
        if not (math.isfinite(self.expand_m) and self.expand_m >= 0):
            raise ValueError(f"FlowRules.expand_m must be finite and not negative, in metres; got {self.expand_m!r}")
        for name, allowed in (("overlap", get_args(Overlap)), ("lidars", get_args(Lidars))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"FlowRules.{name} must be one of {allowed}, got {getattr(self, name)!r}")


P0_RULES = FlowRules()
AV2_RULES = FlowRules(expand_m=0.2, overlap="last", lidars="any")
