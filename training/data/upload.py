"""Upload samples to the device one ahead, while the step before is still computing."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from training.data.sample import PackedSample, Sample


class Uploader:
    """Copies packed samples to `device`; on CUDA on a stream of its own, beside the computation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._coming: tuple[PackedSample, Any] | None = None

    def prepare(self, sample: PackedSample) -> PackedSample:
        """Pinned, where that speeds the copy up. Called by loader threads."""
        return sample.pin_memory() if self._stream is not None else sample

    @property
    def has_one(self) -> bool:
        """Is a sample on its way?"""
        return self._coming is not None

    def begin(self, sample: PackedSample) -> None:
        """Start to copy the next sample."""
        assert self._coming is None, "one sample is on its way already"
        if self._stream is None:
            self._coming = sample.to(self.device), None
            return
        with torch.cuda.stream(self._stream):
            self._coming = sample.to(self.device), self._stream.record_event()

    def finish(self) -> Sample:
        """The sample begun last, dequantised on the device."""
        assert self._coming is not None, "no sample is on its way"
        (packed, arrived), self._coming = self._coming, None
        if arrived is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(arrived)
            for tensor in _tensors(packed):
                # Its memory belongs to the copying stream: not to be used again before the computation is done.
                tensor.record_stream(computing)
        return packed.unpack()

    def drop(self) -> None:
        """Forget the sample on its way."""
        self._coming = None


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_cuda else []
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    if is_dataclass(value):
        return [tensor for field in fields(value) for tensor in _tensors(getattr(value, field.name))]
    return []
