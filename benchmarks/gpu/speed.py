"""How long a training step takes, part by part, and what a short training on one clip reaches."""

from __future__ import annotations

import math
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.subject import Check, Outcome, Stopwatch, targets
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import clip_duration
from flux4d.network.model import Flux4D
from flux4d.network.sparse_conv import make_backend
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from flux4d.supervision.losses.total import LossConfig, view_loss
from flux4d.supervision.target import Target, make_target
from store_schema.clip import Clip

REFINED = ("means", "quats", "scales", "opacities", "rgb", "velocities")
WIDTH = 960  # pixels, of the short training
JUDGED_STEPS = 100  # a training of so many steps must beat the lifted scene


def steps(check: Check) -> Outcome:
    """Times of the parts of a step at the stored image size and at half, for each network."""
    clip = check.clip
    gaussians = check.lift(clip)
    full = check.width_of(clip)
    result: dict[str, Any] = check.facts(clip) | {
        "gaussians": len(gaussians),
        "steps": check.size.steps,
        "data_ms": _data_times(check, clip, full),
    }
    for name, config in check.size.networks.items():
        for width in (full, full // 2):
            # The optimiser and its state belong to one case only: its peak memory is the case's own.
            network = Flux4D(config, check.device)
            result[f"{name}_{width}"] = _step_times(check, clip, gaussians, network, width)
    return result, []


def _data_times(check: Check, clip: Clip, width: int) -> dict[str, Any]:
    """What the loader does for a step; reading is None for a clip that lies in memory."""
    watch = Stopwatch(check.device)
    view = targets(clip)[0]
    for _ in range(1 + min(5, check.size.steps)):
        if check.reader is not None:
            with watch.part("read"):
                check.reader()
        with watch.part("lift"):
            check.lift(clip)
        with watch.part("decode_target"):
            make_target(view, width, check.device)
    return {"read": None} | watch.spread_ms(1)


def _step_times(check: Check, clip: Clip, gaussians: Gaussians, network: Flux4D, width: int) -> dict[str, Any]:
    device = check.device
    views = targets(clip)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    watch = Stopwatch(device)
    losses: list[float] = []
    network.train()
    for step in range(check.size.warmup + check.size.steps):
        target = make_target(views[step % len(views)], width, device)
        if device.type == "cuda" and step == check.size.warmup:
            torch.cuda.reset_peak_memory_stats(device)
        with watch.part("step"):
            losses.append(_timed_step(check, watch, network, optimizer, gaussians, clip_duration(clip), target))
    _require_finite(losses)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {
        "conv_backend": network.unet.backend.name,
        "parameters": sum(value.numel() for value in network.parameters()),
        "width": width,
        "ms": watch.spread_ms(check.size.warmup),
        "peak_memory_mb": peak,
    }


def _timed_step(
    check: Check,
    watch: Stopwatch,
    network: Flux4D,
    optimizer: torch.optim.Adam,
    gaussians: Gaussians,
    duration: float,
    target: Target,
) -> float:
    """One step; the backward pass is cut at the Gaussians, so that its two halves can be timed apart."""
    with watch.part("network"):
        refined = network(gaussians, duration)
    with watch.part("render"):
        leaves = {name: getattr(refined, name).detach().requires_grad_() for name in REFINED}
        seen = replace(refined, **leaves)
        rendering = render(seen, target.cameras, backend="auto" if check.device.type == "cuda" else "cpu")
    with watch.part("loss"):
        total = view_loss(rendering, target, seen, LossConfig()).total
    with watch.part("backward_loss_and_render"):
        gradients = torch.autograd.grad(total, list(leaves.values()))
    with watch.part("backward_network"):
        torch.autograd.backward([getattr(refined, name) for name in REFINED], list(gradients))
    with watch.part("optimiser"):
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(total.detach())


def _require_finite(values: list[float]) -> None:
    bad = [step for step, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(f"the loss is not finite at steps {bad[:5]} of {len(values)}")


def training(check: Check) -> Outcome:
    """The trainer on one clip, from the lifted scene; the toy clip is written as a store first."""
    try:
        from benchmarks.gpu.training import short_training
    except ImportError as error:
        raise RuntimeError(
            f"the trainer cannot be imported here: {error}; pip install pyarrow blake3 safetensors filelock rich tyro"
        ) from error
    clip = check.clip
    with tempfile.TemporaryDirectory() as folder:
        store = check.store or _toy_store(Path(folder), clip)
        width = min(check.width_of(clip), WIDTH)
        network, reports = short_training(check, store, Path(folder) / "run", clip, width, "fp32")
        # Mixed precision is looked at where it exists: spconv computes in fp32 only on a CPU.
        mixed = {
            precision: short_training(check, store, Path(folder) / precision, clip, width, precision)[1]
            for precision in (("bf16", "fp16") if check.device.type == "cuda" else ())
        }
    scenes = {
        "lifted": reconstruct(clip, None, check.scene, device=check.device),
        "trained": reconstruct(clip, network, check.scene, device=check.device),
    }
    psnr = {name: _psnr(check, clip, scene, width) for name, scene in scenes.items()}
    tenth = max(1, len(reports) // 10)
    timed = reports[min(3, len(reports) - 1) :]
    result = check.facts(clip) | {
        "width": width,
        "steps": len(reports),
        "gaussians": reports[-1].gaussians,
        "conv_backend": network.unet.backend.name,
        "first_step_psnr": reports[0].psnr,
        "first_tenth_psnr": statistics.mean(report.psnr for report in reports[:tenth]),
        "last_tenth_psnr": statistics.mean(report.psnr for report in reports[-tenth:]),
        "target_views": len(targets(clip)),
        "lifted_psnr": psnr["lifted"],
        "trained_psnr": psnr["trained"],
        "seconds_per_step": statistics.median(report.seconds for report in timed),
        "data_wait_per_step": statistics.median(report.data_seconds for report in timed),
    }
    for precision, others in mixed.items():
        result[f"{precision}_last_tenth_psnr"] = statistics.mean(report.psnr for report in others[-tenth:])
        result[f"{precision}_seconds_per_step"] = statistics.median(report.seconds for report in others[3:] or others)
    return result, _training_problems(check, network, result)


def _training_problems(check: Check, network: Flux4D, result: dict[str, Any]) -> list[str]:
    problems = []
    best = make_backend(network.config.conv_backend, check.device).name
    if result["conv_backend"] != best:
        problems.append(f"the trainer convolves with {result['conv_backend']}, on {check.device} it should be {best}")
    gain = result["trained_psnr"] - result["lifted_psnr"]
    if result["steps"] >= JUDGED_STEPS and not gain > 0:
        problems.append(f"after {result['steps']} steps the views are {gain:.2f} dB above the lifted scene's")
    return problems


def _toy_store(folder: Path, clip: Clip) -> Path:
    from tests.support.stores.toy_store import write_store

    write_store(folder / "store", [clip])
    return folder / "store"


@torch.no_grad()
def _psnr(check: Check, clip: Clip, gaussians: Gaussians, width: int) -> float:
    """Mean PSNR over all target views, dB."""
    assert all(column.device.type == check.device.type for column in gaussians.columns().values())
    values = []
    for view in targets(clip):
        target = make_target(view, width, check.device)
        error = (render(gaussians, target.cameras).rgb[0].clamp(0, 1) - target.rgb).square().mean()
        values.append(-10.0 * math.log10(max(float(error), 1e-12)))
    return statistics.mean(values)
