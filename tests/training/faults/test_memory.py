"""Failed allocations, real ones where the machine allows it, and the advice made of them."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from flux4d.lift.scene import SceneConfig
from training.config import LoaderConfig, StreamConfig, TrainConfig, presets
from training.faults.memory import OutOfMemory, explain, host_memory, out_of_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GPU_TEXT = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 39.39 GiB of which 1.06 GiB is free."
)
_LIMITED = """
import resource
from dataclasses import replace
import numpy as np, torch
from training.config import TrainConfig
from training.faults.memory import explain, out_of_memory
torch.ones(3)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
try:
    {allocation}
except Exception as error:
    assert out_of_memory(error), repr(error)
    print(explain(error, config=TrainConfig(), gaussians=1234567, device=torch.device("cpu"), step=7, clip="002-s000"))
"""


def limited(allocation: str) -> str:
    """What is printed by a process that may use 200 MiB more than it does."""
    code = _LIMITED.format(allocation=allocation)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is only kept on Linux")
@pytest.mark.parametrize(
    ("allocation", "asked"),
    [
        ("torch.empty(2**30, dtype=torch.float32)", "4.00 GiB"),
        ("np.empty(2**30, dtype=np.float32)", "4.00 GiB"),
        ("bytearray(2**32)", "n/a"),
        (
            "from concurrent.futures import ThreadPoolExecutor; "
            "ThreadPoolExecutor(1).submit(lambda: torch.empty(2**30, dtype=torch.float32)).result()",
            "4.00 GiB",
        ),
    ],
    ids=["torch", "numpy", "python", "loader thread"],
)
def test_a_real_failure_is_explained(allocation: str, asked: str) -> None:
    text = limited(allocation)
    lines = text.splitlines()
    assert lines[0] == "out of host memory in step 7, at clip 002-s000 with 1,234,567 Gaussians"
    assert lines[1] == f"  asked for: {asked}"
    assert "ulimit -v allows it" in lines[2]
    assert re.search(r"--stream\.width +now the stored size +try 960", text)
    assert re.search(r"--scene\.max-gaussians +now no limit +try 617283", text)


def flags(error: OutOfMemory) -> list[str]:
    return re.findall(r"^  (--\S+)  ", str(error), re.MULTILINE)


def test_a_gpu_gets_what_fills_a_gpu() -> None:
    error = torch.OutOfMemoryError(GPU_TEXT)
    assert out_of_memory(error)
    config = replace(TrainConfig(), stream=StreamConfig(width=960, views_per_step=3))
    told = explain(error, config=config, gaussians=400_000, device=CUDA, step=12, clip="a")
    assert str(told).startswith("out of GPU memory in step 12, at clip a with 400,000 Gaussians")
    assert "asked for: 2.50 GiB" in str(told)
    names = ["--stream.width", "--stream.views-per-step", "--scene.max-gaussians", "--network.channels", "--precision"]
    assert flags(told) == names
    assert re.search(r"--stream\.views-per-step +now 3 +try 1", str(told))
    assert re.search(r"--network\.channels +now 32 64 96 128 +try 16 32 48 64", str(told))


def test_the_host_of_a_gpu_is_told_to_load_less() -> None:
    told = explain(MemoryError(), config=TrainConfig(), gaussians=None, device=CUDA, step=0, clip=None)
    assert str(told).startswith("out of host memory in step 0, at a clip of unknown size")
    assert flags(told)[:2] == ["--loader.prefetch", "--loader.memory-clips"]
    assert "--network.channels" not in flags(told)
    assert re.search(r"--loader\.prefetch +now 4 +try 2", str(told))


def test_what_cannot_be_lowered_is_not_named() -> None:
    config = replace(
        presets()["cpu"][1],
        stream=StreamConfig(width=16, views_per_step=1),
        scene=SceneConfig(max_gaussians=1),
        loader=LoaderConfig(prefetch=1, memory_clips=1),
        network=replace(presets()["cpu"][1].network, channels=(1, 1)),
    )
    told = explain(MemoryError(), config=config, gaussians=1, device=CPU, step=0, clip="a")
    assert flags(told) == []
    assert "every setting is at its lowest" in str(told)


def test_what_ends_the_run_folder_is_said() -> None:
    told = explain(MemoryError(), config=TrainConfig(), gaussians=9, device=CPU, step=0, clip="a")
    assert "--stream.width" in str(told).splitlines()[-1]
    assert "--loader.prefetch" not in str(told).splitlines()[-1]
    assert "start a new --out" in str(told)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuda failed with error 2 out of memory. use CUDA_LAUNCH_BLOCKING=1 to"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("not enough memory of the past"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_other_errors_are_left_alone(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_a_loader_that_names_the_clip_is_seen_through() -> None:
    def load() -> None:
        try:
            raise torch.OutOfMemoryError(GPU_TEXT)
        except RuntimeError as error:
            raise ValueError("clip 002-s000 cannot be loaded") from error

    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(load).exception()
    assert error is not None
    assert out_of_memory(error)
    told = explain(error, config=TrainConfig(), gaussians=None, device=CUDA, step=0, clip="002-s000")
    assert str(told).startswith("out of GPU memory")
    assert "2.50 GiB" in str(told)


def test_an_explained_error_is_not_explained_again() -> None:
    told = explain(MemoryError(), config=TrainConfig(), gaussians=None, device=CPU, step=0, clip=None)
    assert not out_of_memory(told)


def test_the_machine_s_memory_is_told() -> None:
    assert re.search(r"[\d,.]+ [MG]iB free of [\d,.]+ GiB", host_memory())
