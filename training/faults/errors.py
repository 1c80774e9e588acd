"""Why a training stops."""

from __future__ import annotations


class TrainingStoppedError(RuntimeError):
    """Training cannot go on; the message names step and clip, and what to do."""
