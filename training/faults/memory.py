"""Advice when memory runs out: which memory, how much of it, which settings to lower."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from training.config import TrainConfig
from training.run_folder.resume import FIXED

_GPU = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "failed with error 2 out of memory",  # spconv's own allocations
)
_HOST = ("defaultcpuallocator: can't allocate memory", "not enough memory", "std::bad_alloc")
_ASKED = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.]+ ?(?:bytes|[KMGT]iB))", re.IGNORECASE)
_BYTES = re.compile(r"(\d+) ?bytes")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")


class OutOfMemory(RuntimeError):  # noqa: N818
    """There is not enough memory; the message says of what, and what to lower."""


@dataclass(frozen=True, slots=True)
class _Advice:
    flag: str
    value: str
    lower: str


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is a failed allocation, on a GPU or the host."""
    return any(_failed_allocation(one) for one in _causes(error))


def explain(
    error: BaseException,
    *,
    config: TrainConfig,
    gaussians: int | None,
    device: torch.device,
    step: int,
    clip: str | None = None,
) -> OutOfMemory:
    """The error to raise, from `error`, in place of a failed allocation.

    Args:
        error: what `out_of_memory` recognised.
        config: settings of the run.
        gaussians: of that clip, or of those before it; None when it is not known yet.
        device: where the network works.
        step: the step that failed, the first is 1.
        clip: id of its clip; None when it is not known.
    """
    cause = next((one for one in _causes(error) if _failed_allocation(one)), error)
    gpu = _on_gpu(cause)
    size = "of unknown size" if gaussians is None else f"with {gaussians:,} Gaussians"
    where = "a clip" if clip is None else f"clip {clip}"
    lines = [
        f"out of {'GPU' if gpu else 'host'} memory in step {step:,}, at {where} {size}",
        f"  asked for: {_asked(str(cause))}",
        f"  there is: {gpu_memory(device) if gpu else host_memory()}",
    ]
    advice = list(_advice(config, gaussians, gpu, device))
    if advice:
        lines.append("lower one of these, the most effective first:")
        flags, values = (max(len(getattr(one, name)) for one in advice) for name in ("flag", "value"))
        lines += [f"  {one.flag:<{flags}}  now {one.value:<{values}}  try {one.lower}" for one in advice]
    else:
        lines.append("every setting is at its lowest: use a machine with more memory, or clips with fewer points")
    if fixed := [one.flag for one in advice if one.flag.removeprefix("--").split(".")[0] in FIXED]:
        lines.append(f"{', '.join(fixed)} cannot change within a run: with them start a new --out")
    return OutOfMemory("\n".join(lines))


def gpu_memory(device: torch.device) -> str:
    """Free, used and total memory of a GPU in words; n/a where it cannot be asked."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return "n/a"
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.max_memory_allocated(device)
    return f"{_size(free)} free of {_size(total)}; this process held at most {_size(used)} in tensors"


def host_memory() -> str:
    """Free and total memory of the machine in words, and limits that this process is under; n/a where unknown."""
    kilobytes = {}
    if _MEMINFO.is_file():
        rows = (line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
        kilobytes = {name: int(value.split()[0]) for name, value in rows}
    free, total = (kilobytes.get(name) for name in ("MemAvailable", "MemTotal"))
    parts = ["n/a" if free is None or total is None else f"{_size(1024 * free)} free of {_size(1024 * total)}"]
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts.append(f"this process held at most {_size(1024 * held)}")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        parts.append(f"ulimit -v allows it {_size(limit)} of addresses")
    group = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    if group.isdigit():
        parts.append(f"its control group may hold {_size(int(group))}")
    return "; ".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those it was raised from: a loader names the clip and raises from what happened."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__


def _failed_allocation(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in (*_GPU, *_HOST))


def _on_gpu(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in _GPU)


def _asked(message: str) -> str:
    found = _ASKED.search(message)
    if found is None:
        return "n/a"
    exact = _BYTES.fullmatch(found[1])
    return found[1] if exact is None else _size(int(exact[1]))


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _advice(config: TrainConfig, gaussians: int | None, gpu: bool, device: torch.device) -> Iterator[_Advice]:
    """What takes memory, largest first. With the network on a GPU, the host only holds what is loaded ahead."""
    loading = [
        _Advice(f"--loader.{name}", str(value), str(value // 2))
        for name, value in (("prefetch", config.loader.prefetch), ("memory-clips", config.loader.memory_clips))
        if value > 1
    ]
    if not gpu and device.type == "cuda":
        yield from loading
    width = config.stream.width
    if width is None:
        yield _Advice("--stream.width", "the stored size", "960")
    elif width >= 32:
        yield _Advice("--stream.width", str(width), str(width // 2))
    if config.stream.views_per_step > 1:
        yield _Advice("--stream.views-per-step", str(config.stream.views_per_step), "1")
    yield from _scene_advice(config, gaussians)
    if gpu or device.type != "cuda":
        channels = config.network.channels
        if max(channels) > 1:
            halves = " ".join(str(max(1, channel // 2)) for channel in channels)
            yield _Advice("--network.channels", " ".join(map(str, channels)), halves)
    if not gpu and device.type != "cuda":
        yield from loading
    if gpu and config.precision == "fp32":
        yield _Advice("--precision", "fp32", "fp16")


def _scene_advice(config: TrainConfig, gaussians: int | None) -> Iterator[_Advice]:
    most = config.scene.max_gaussians
    known = [count for count in (most, gaussians) if count is not None]
    if not known:
        yield _Advice("--scene.max-gaussians", "no limit", "200000")
    elif min(known) > 1:
        yield _Advice("--scene.max-gaussians", "no limit" if most is None else str(most), str(min(known) // 2))
