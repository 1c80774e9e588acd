"""What one optimiser step did: a line of ``metrics.jsonl``, a row on the screen, a point on a board."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step over all ranks.

    Losses, PSNR and counts are means over the step's clips; times and memory are the slowest and largest rank's.
    """

    step: int
    """Steps done, this one included."""
    epoch: int
    """Epoch of the step's first sample."""
    clips: tuple[str, ...]
    """Clips of the step over all ranks, in the global order."""
    loss: float
    l1: float
    ssim: float
    """1 - SSIM."""
    depth: float | None
    """Mean absolute depth error, m; None when no view of the step has a LiDAR pixel."""
    velocity: float | None
    """Mean speed of what may move, m/s."""
    psnr: float
    """dB, mean over the views rendered."""
    lr: float
    grad_norm: float
    """Norm of the gradient before it is clipped."""
    gaussians: int
    """Gaussians a clip, mean."""
    left_out: int
    """Clips of the step left out because their stored bytes are damaged (`StreamConfig.on_corrupt`)."""
    seconds: float
    """Wall time of the step."""
    data_seconds: float
    """Of it, waiting for samples."""
    samples_per_second: float
    """Clips of all ranks over wall time."""
    max_rss_mb: float
    """Most resident memory of the process so far, 10^6 bytes."""
    gpu_mb: float | None
    """Most GPU memory so far, 10^6 bytes; None on a CPU."""
