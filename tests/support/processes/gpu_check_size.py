"""The smallest size at which the GPU check's script can be tried out on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchmarks.gpu import subject as gpu_subject
from flux4d.network.model import NetworkConfig

CPU = torch.device("cpu")
TINY = replace(
    gpu_subject.QUICK,
    toy_points=90,
    sky_spacing=0.05,
    networks={"small": NetworkConfig(channels=(8, 16), blocks=1, head_width=8)},
    steps=2,
    training_steps=2,
)


@contextmanager
def one_thread() -> Iterator[None]:
    """The work is too small to share, and waiting threads spin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
