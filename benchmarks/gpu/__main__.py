"""All that a CUDA device can show, in one run: parity with the CPU code, time of a step, a short training.

Run with ``python -m benchmarks.gpu [--store STORE [--clip ID]] [--out DIR] [--quick] [--json]``. Every section
writes ``gpu_{section}.json``; one that fails is reported with its traceback and the others still run. Exit status:
0 all well, 1 a section failed or is out of tolerance, 2 the run cannot start (no CUDA device, say).
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import math
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.gpu.subject import Check, Outcome

RESULTS = Path(__file__).parents[1] / "results"
MODULES = {
    "raster": "gpu.parity",
    "raster_times": "gpu.raster_times",
    "conv": "gpu.conv",
    "upload": "gpu.upload",
    "steps": "gpu.speed",
    "training": "gpu.speed",
}
SECTIONS = ("environment", *MODULES)
PACKAGES = (
    *("torch", "triton", "gsplat", "spconv", "spconv-cu120", "spconv-cu121", "spconv-cu124", "spconv-cu126"),
    *("spconv-triton", "numpy", "scipy", "numba", "simplejpeg", "pyarrow", "blake3", "safetensors", "tyro", "rich"),
)
LIBRARIES = ("gsplat", "spconv.pytorch", "spconv_triton.pytorch")
SCRIPT_CHECK = "on a CPU, with gsplat replaced by its plain twin: checks the script, says nothing about a GPU"
SHOWN = {
    "environment": ("gpu", "torch", "cuda", "packages.gsplat", "libraries.*"),
    "raster": ("*.gaussians", "*.difference.*.p99", "*.difference.*.max", "*.relative_l2", "*.cosine"),
    "raster_times": ("gaussians", "*.visible", "*.ms.*.median", "*.peak_memory_mb"),
    "conv": ("voxels", "*.relative_l2", "ms.*.median"),
    "upload": ("gaussians", "mb", "ms.*", "equal_to_the_bit"),
    "steps": ("gaussians", "*.ms.*.median", "data_ms.*.median", "*.peak_memory_mb"),
    "training": ("*psnr", "*_per_step", "steps", "conv_backend"),
}


def environment(check: Check) -> Outcome:
    """Device, versions, and which of the CUDA libraries import."""
    import torch

    from store_schema.version.provenance import code_commit, package_versions

    gpu = torch.cuda.get_device_properties(check.device) if check.device.type == "cuda" else None
    about = {
        "commit": code_commit(),
        "device": check.device.type,
        "gpu": gpu.name if gpu else None,
        "compute_capability": f"{gpu.major}.{gpu.minor}" if gpu else None,
        "memory_mb": gpu.total_memory / 2**20 if gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "cpu_threads": torch.get_num_threads(),
        "packages": package_versions(PACKAGES),
        "libraries": {name: _import_state(name) for name in LIBRARIES},
    }
    return about | ({} if gpu else {"note": SCRIPT_CHECK}), []


def _import_state(name: str) -> str:
    """ok, or why not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            importlib.import_module(name)
    except Exception as error:  # a broken library must not end the check
        return f"{type(error).__name__}: {error}"
    return "ok"


def _section(name: str) -> Callable[[Check], Outcome]:
    """The function of a section; imported late, so that what it lacks fails that section only."""
    if name == "environment":
        return environment
    function: Callable[[Check], Outcome] = getattr(importlib.import_module(f"benchmarks.{MODULES[name]}"), name)
    return function


def run_section(name: str, check: Check) -> dict[str, Any]:
    """Status ok, exceeded (`problems` says what) or failed (`error` and `traceback` say why), and the figures."""
    start = time.perf_counter()
    try:
        result, problems = _section(name)(check)
        outcome = {"status": "exceeded" if problems else "ok", "problems": problems, "result": result}
    except Exception as error:  # reported, and the other sections still run
        outcome = {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return {"section": name, **outcome, "seconds": time.perf_counter() - start}


def run(check: Check, sections: tuple[str, ...], out: Path | None) -> dict[str, Any]:
    """All sections; each is written as soon as it is done.

    Returns:
        What `gpu_summary.json` holds: by section its status, seconds and what is wrong, and the environment.
    """
    frame = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": check.quick,
        "store": str(check.store) if check.store else None,
    }
    done: dict[str, dict[str, Any]] = {}
    for name in ("environment", *(name for name in sections if name != "environment")):
        done[name] = run_section(name, check)
        _show(done[name])
        about = {} if name == "environment" else {"environment": done["environment"].get("result")}
        _write(out, name, done[name] | frame | about)
    kept = ("status", "seconds", "problems", "error")
    summary = {
        "passed": all(section["status"] == "ok" for section in done.values()),
        "sections": {name: {key: value[key] for key in kept if key in value} for name, value in done.items()},
        **frame,
        "environment": done["environment"].get("result"),
    }
    _write(out, "summary", summary)
    return summary


def _write(out: Path | None, name: str, content: dict[str, Any]) -> None:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"gpu_{name}.json").write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as words."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _show(section: dict[str, Any]) -> None:
    """A table of the figures that matter; plain lines where rich is missing."""
    title = f"{section['section']}: {section['status']} ({section['seconds']:.1f} s)"
    patterns = SHOWN[section["section"]]
    rows = [
        (key, f"{value:.4g}" if isinstance(value, float) else str(value))
        for key, value in _flat(section.get("result", {}))
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
    ]
    rows += [("problem", problem) for problem in section.get("problems", [])]
    rows += [("error", section["error"])] if "error" in section else []
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        print(title, *(f"  {key:60} {value}" for key, value in rows), sep="\n", flush=True)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="store made by flux4d-build; without it a small made clip is used")
    parser.add_argument("--clip", help="clip id in the store; default its first evaluation clip")
    parser.add_argument("--out", type=Path, help=f"folder of the JSON files; default {RESULTS.name} beside this file")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="only these, after the environment"
    )
    parser.add_argument("--quick", action="store_true", help="small images and few steps")
    parser.add_argument("--json", action="store_true", help="print the summary as the last line")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tries out this script")
    args = parser.parse_args(arguments)
    if args.clip and not args.store:
        parser.error("--clip names a clip of a store: give --store too")
    return args


def _no_device() -> str | None:
    """Why CUDA cannot be used, in one line."""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error}): pip install torch"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA: install a CUDA build of torch"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} (CUDA {torch.version.cuda}) sees no CUDA device: check nvidia-smi"
    return None


def main(arguments: list[str] | None = None) -> int:
    # Before torch is loaded: idle OpenMP threads must not spin while the CPU rasteriser's own threads work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    args = _arguments(arguments)
    missing = _no_device() if args.device == "cuda" else None
    if missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    import torch

    from benchmarks.gpu.subject import FULL, QUICK, Check

    size = QUICK if args.quick else FULL
    check = Check(torch.device(args.device), size, quick=args.quick, store=args.store, clip_id=args.clip)
    # A try on a CPU must never lie among the results of a GPU.
    out = args.out or (RESULTS if args.device == "cuda" else None)
    summary = run(check, tuple(args.only), out)
    if args.json:
        print(json.dumps(_plain(summary), allow_nan=False))
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
