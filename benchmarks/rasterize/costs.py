"""What timing in one warm process cannot show, each in fresh processes: memory, compilation, the core's own peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.logs import REPOSITORY

# torch and numpy are imported by the children's functions alone: their threads are set by the environment before.
PRODUCT = 1536  # rows of the square matrices of the product; 9 MB each


def peak_gflops() -> dict[str, float]:
    """Float32 operations of one core, 10^9 a second: the most of numpy's and torch's matrix products and of lanes.

    Lanes are fused multiply-adds on registers alone, in the kernels' own vectors: what no product reaches.
    """
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    found = _child("product", one)
    return {**found, "peak": max(found.values())}


def compile_seconds() -> dict[str, float]:
    """CPU seconds of compilation in a small image's first forward and backward pass, without and with numba's cache.

    The first pass of a process minus its second one; two processes share a cache folder that was empty before.
    """
    with tempfile.TemporaryDirectory(prefix="numba-") as folder:
        cold, warm = (_child("compile", {"NUMBA_CACHE_DIR": folder}) for _ in range(2))
    return {"cold_cpu_s": cold["seconds"], "warm_cpu_s": warm["seconds"]}


def extra_memory_mb(scene: Any, width: int) -> dict[str, float | str]:
    """Memory of one forward and backward pass in a process of its own, 10^6 bytes.

    Resident memory at its highest less that before the pass: the Gaussians, the libraries and a pass of a tiny image
    are there already. The images, the gradients and whatever is held between the passes count.

    Args:
        scene: a `rasterize_scene.Scene`.
        width: of the image, pixels.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="rasterize-") as folder:
        path = Path(folder) / "scene.pt"
        torch.save({name: getattr(scene, name) for name in scene.__slots__}, path)
        return _child("memory", {}, str(path), str(width))


def _child(name: str, environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What a fresh process prints for one of the `_CHILDREN`."""
    command = [sys.executable, "-m", "benchmarks.rasterize.costs", name, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _product() -> dict[str, float]:
    import numpy as np
    import torch

    a, b = (np.random.default_rng(seed).random((PRODUCT, PRODUCT), np.float32) for seed in (0, 1))
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    rates: dict[str, float] = {}
    pairs: tuple[tuple[str, Any, Any], ...] = (("numpy", a, b), ("torch", ta, tb))
    for name, left, right in pairs:
        left @ right  # start the library
        seconds = []
        for _ in range(10):
            start = time.process_time()
            left @ right
            seconds.append(time.process_time() - start)
        rates[name] = 2 * PRODUCT**3 / min(seconds) / 1e9
    return rates | {"lanes": _lanes()}


def _lanes() -> float:
    """10^9 operations a second of ten independent chains of fused multiply-adds."""
    import numpy as np
    from numba import njit

    from flux4d.rasterize.cpu.simd import LANES, load
    from flux4d.rasterize.cpu.simd_rows import add_product, load_rows, scalars, store_rows

    chains, turns = 10, 5_000_000

    @njit
    def work(values: Any, like: Any, turns: int) -> None:
        rows, factors, weight = load_rows(values, 0, like), scalars(values, 0, like), load(values, 0)
        for _ in range(turns):
            rows = add_product(rows, weight, factors)
        store_rows(values, 0, rows)

    values, like = np.full(chains * LANES, 1e-3, np.float32), (np.float32(0),) * chains
    work(values, like, 1)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        work(values, like, turns)
        seconds.append(time.process_time() - start)
    return 2 * chains * LANES * turns / min(seconds) / 1e9


def _compile() -> dict[str, float]:
    from benchmarks.rasterize.scene import street
    from benchmarks.rasterize.timing import end_to_end

    scene = street(1000)
    seconds = []
    for _ in range(2):
        start = time.process_time()
        end_to_end(scene, 64)
        seconds.append(time.process_time() - start)
    return {"seconds": seconds[0] - seconds[1]}


def _memory(path: str, width: str) -> dict[str, float | str]:
    import torch

    from benchmarks.rasterize.scene import CHANNELS, Scene
    from benchmarks.rasterize.timing import end_to_end

    scene = Scene(**torch.load(path, weights_only=True))
    end_to_end(scene, 64)
    how = "peak since the pass began"
    try:
        Path("/proc/self/clear_refs").write_text("5")  # lets the peak start from here
    except OSError:
        how = "peak of the process: a higher one before the pass would hide it"
    before = _status_mb("VmRSS")
    end_to_end(scene, int(width))
    # Seven channels and alpha, of the result and of the gradient that comes back to it.
    _, columns, rows = scene.at(int(width))
    images = 2 * columns * rows * (CHANNELS + 1) * 4 / 1e6
    return {"extra_mb": _status_mb("VmHWM") - before, "images_mb": images, "before_mb": before, "how": how}


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status says nothing of {key}: this benchmark needs Linux")


_CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {"product": _product, "compile": _compile, "memory": _memory}

if __name__ == "__main__":
    print(json.dumps(_CHILDREN[sys.argv[1]](*sys.argv[2:])))
