"""Samples to the device as the trainer brings them: the bits of the host, and how long pinning and copying take."""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.gpu.subject import Check, Outcome, targets
from flux4d.cameras.posed import rendered_size
from flux4d.lift.packed import PackedTensors
from flux4d.lift.scene import pack_clip
from flux4d.supervision.target import pack_target, scale_depth
from training.data.sample import PackedSample, Sample
from training.data.upload import Uploader

REPEATS = 20


def upload(check: Check) -> Outcome:
    """Pin, copy on a stream of its own, dequantise; compared with the same on the CPU."""
    packed = _packed(check)
    uploader = Uploader(check.device)
    pin_ms, arrive_ms = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        prepared = uploader.prepare(packed)
        pin_ms.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
        uploader.begin(prepared)
        # Work on the current stream meanwhile, as a training step would: the sample must not be touched too early.
        busy = torch.ones(512, 512, device=check.device)
        for _ in range(10):
            busy = busy @ busy * 1e-3
        sample = uploader.finish()
        if check.device.type == "cuda":
            torch.cuda.synchronize(check.device)
        arrive_ms.append((time.perf_counter() - start) * 1e3)
    problems = [f"{name} is not what the host unpacks" for name in _differing(packed.unpack(), sample)]
    result = check.facts(check.clip) | {
        "gaussians": len(sample.gaussians),
        "mb": packed.scene.buffer.numel() / 1e6,
        "ms.pin": statistics.median(pin_ms),
        "ms.copy_and_unpack": statistics.median(arrive_ms),
        "equal_to_the_bit": not problems,
    }
    return result, problems


def _packed(check: Check) -> PackedSample:
    clip, width = check.clip, check.width_of(check.clip)
    scene = pack_clip(clip, check.scene).without_source()
    views = targets(clip)[:2]
    return PackedSample(
        number=0,
        epoch=0,
        clip_id=clip.record.clip_id,
        duration=scene.duration,
        scene=PackedTensors.of(scene),
        targets=tuple(
            pack_target(
                view, width, role=view.role, image=view.image, depth=scale_depth(view, *rendered_size(view, width))
            )
            for view in views
        ),
    )


def _differing(host: Sample, device: Sample) -> list[str]:
    names = [
        name
        for name, column in host.gaussians.columns().items()
        if not torch.equal(column, getattr(device.gaussians, name).cpu())
    ]
    for number, (here, there) in enumerate(zip(host.targets, device.targets, strict=True)):
        # Means of pixels may be added up in another order.
        if not torch.allclose(here.rgb, there.rgb.cpu(), atol=1e-6, rtol=0.0):
            names.append(f"rgb of target {number}")
        for name in ("depth", "depth_pixel"):
            if not torch.equal(getattr(here, name), getattr(there, name).cpu()):
                names.append(f"{name} of target {number}")
    return names
