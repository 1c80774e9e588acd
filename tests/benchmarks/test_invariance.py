"""The same logs have the same version on another CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.invariance.cpu_switches import fingerprint, has_effect, plain_environment, switches
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema.protocol import ClipProtocol


@pytest.fixture(scope="module")
def version(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("reference")
    return build(BuildConfig(root=tiny_logs, out=out, workers=0, protocol=ClipProtocol(test_logs=("tiny1",)))).version


def version_under(environment: dict[str, str], logs: Path, out: Path) -> str:
    command = [sys.executable, "-m", "pipelines", "build", "--root", str(logs), "--out", str(out)]
    command += ["--workers", "0", "--protocol.test-logs", "tiny1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()[-1]


def test_the_version_is_the_same_without_simd_in_numpy_libm_blas_and_jpeg(
    version: str, tiny_logs: Path, tmp_path: Path
) -> None:
    restricted = {name: value for name, value in switches()["all of these"].items() if name != "NUMBA_CPU_NAME"}
    environment = plain_environment() | restricted
    if not has_effect(fingerprint(environment), fingerprint(plain_environment())):
        pytest.skip("this CPU has no features beyond the plainest: nothing to restrict")
    assert version_under(environment, tiny_logs, tmp_path / "store") == version


@pytest.mark.slow
def test_the_version_is_the_same_with_kernels_compiled_for_a_generic_cpu(
    version: str, tiny_logs: Path, tmp_path: Path
) -> None:
    environment = plain_environment() | switches()["all of these"] | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    assert os.environ.get("NUMBA_CPU_NAME") is None
    assert version_under(environment, tiny_logs, tmp_path / "store") == version
