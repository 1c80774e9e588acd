"""Environment variables that make this machine compute as a plainer one, and the proof that they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.logs import REPOSITORY


def numpy_dispatch() -> list[str]:
    """CPU features numpy dispatches to on this machine."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]


def switches() -> dict[str, dict[str, str]]:
    """Environment of each restriction, by what it restricts."""
    glibc = "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in ("AVX", "AVX2", "FMA", "FMA4", "AVX512F", "AVX512VL"))
    single = {
        "numpy without SIMD": {"NPY_DISABLE_CPU_FEATURES": " ".join(numpy_dispatch())},
        "numba for a generic CPU": {"NUMBA_CPU_NAME": "generic"},
        "JPEG without SIMD": {"JSIMD_FORCENONE": "1"},
        "BLAS for an old CPU": {"OPENBLAS_CORETYPE": "Prescott"},
        "libm without AVX and FMA": {"GLIBC_TUNABLES": glibc},
    }
    together = {name: value for environment in single.values() for name, value in environment.items()}
    return {**single, "all of these": together}


def plain_environment() -> dict[str, str]:
    """This process' environment without any of the switches."""
    names = {name for environment in switches().values() for name in environment}
    return {name: value for name, value in os.environ.items() if name not in names}


def fingerprint(environment: Mapping[str, str]) -> dict[str, Any]:
    """What arithmetic looks like in a fresh process with that environment."""
    command = [sys.executable, "-c", "from benchmarks.invariance.cpu_switches import main; main()"]
    done = subprocess.run(command, env=dict(environment), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def has_effect(found: Mapping[str, Any], plain: Mapping[str, Any]) -> bool:
    """Whether a restriction changed anything that can be seen: bits, machine code, or the speed of a JPEG."""
    bits = any(found[name] != plain[name] for name in ("numpy", "libm", "blas", "vectors"))
    return bits or found["jpeg_ms"] > 1.3 * plain["jpeg_ms"]


def main() -> None:
    """Print the fingerprint of this process as JSON."""
    import math

    import simplejpeg
    from blake3 import blake3
    from numba import njit

    @njit
    def scaled(values, factor):  # type: ignore[no-untyped-def]
        for i in range(len(values)):
            values[i] = values[i] * factor[i]

    values = np.random.default_rng(0).uniform(-4.0, 4.0, 90_000)
    square = values.reshape(300, 300)
    scaled(values.copy(), values)
    image = np.random.default_rng(1).integers(0, 255, (270, 480, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    jpeg, times = simplejpeg.encode_jpeg(image), []
    for _ in range(7):
        start = time.process_time()
        simplejpeg.decode_jpeg(jpeg)
        times.append(time.process_time() - start)
    result = {
        "numpy": blake3(np.exp(values).tobytes()).hexdigest()[:12],
        "libm": blake3(np.array([math.exp(value) for value in values]).tobytes()).hexdigest()[:12],
        "blas": blake3((square @ square).tobytes()).hexdigest()[:12],
        "vectors": any("ymm" in text or "zmm" in text for text in scaled.inspect_asm().values()),
        "jpeg_ms": 1e3 * min(times),
    }
    print(json.dumps(result))
