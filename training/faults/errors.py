"""Exceptions that end a training."""

from __future__ import annotations


class TrainingStoppedError(RuntimeError):
    """Training cannot go on; the message names step and clip, and what to do."""
