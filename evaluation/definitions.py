"""What each number of the report means: name, unit, formula, source."""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

DEFINITIONS: tuple[tuple[str, str, str], ...] = (
    (
        "PSNR",
        "dB",
        "−10 log₁₀ MSE over pixels × 3 channels of the region, prediction clipped to [0, 1]; mean of the frames.",
    ),
    (
        "SSIM",
        "",
        "Mean of the SSIM map over the region: Gaussian window 11×11, σ 1.5, K = (0.01, 0.03), reflected border, "
        "no crop, per channel (torchmetrics ≥ 1.6); mean of the frames.",
    ),
    (
        "D_RMSE",
        "m",
        "√ mean (z − z_LiDAR)² at the region's LiDAR pixels, z the rendered expected z-depth of all Gaussians but "
        "the background (0 where there is nothing else); mean of the frames.",
    ),
    (
        "Moving regions",
        "",
        "Pixels of projected ground-truth cuboids that move ≥ 0.05 m to the next sweep; frames without such a pixel "
        "do not count.",
    ),
    (
        "e, f",
        "m",
        "e = predicted − true motion of a point from its sweep to the next, without ego motion; f the true motion. "
        "Predicted motion = velocity of the point's Gaussian at the point's time × time between the two sweeps. "
        "Points: spinning LiDAR, inside the camera's view, input frames.",
    ),
    ("EPE3D", "m", "Mean ‖e‖ over all scored points."),
    ("Acc5, Acc10", "", "Share of points with ‖e‖ < 0.05 (0.10) m or ‖e‖ / ‖f‖ < 0.05 (0.10) (Argoverse 2)."),
    ("θ", "rad", "Mean angle between (predicted motion, 0.1) and (f, 0.1), four components, all points (Argoverse 2)."),
    (
        "θ_dyn",
        "rad",
        "Mean angle between predicted and true motion of foreground-dynamic points; a zero prediction counts π/2.",
    ),
    (
        "EPE-BS, -FS, -FD",
        "m",
        "Mean ‖e‖ of background-static, foreground-static and foreground-dynamic (‖f‖ ≥ 0.05 m) points.",
    ),
    ("EPE-3way", "m", "Unweighted mean of EPE-BS, EPE-FS and EPE-FD."),
    ("S (by class)", "m", "Mean ‖e‖ of the class's points with ‖f‖ < 0.04 m (Bucket Normalized EPE)."),
    (
        "D (by class)",
        "",
        "Mean over the class's non-empty faster speed bins (0.04 m wide up to 2 m, then one open bin) of Σ‖e‖ / Σ‖f‖; "
        "1 is what predicting no motion scores.",
    ),
    (
        "V_RMSE",
        "m/s",
        "√ mean ‖v − v_true‖² over all scored points (dyn: foreground-dynamic ones), v = motion / time between the "
        "sweeps. The paper prints no formula; this is ours.",
    ),
    (
        "Pooling",
        "",
        "Flow metrics pool all points of all clips before they divide. An empty set is n/a, never 0.",
    ),
)
"""(name, unit or nothing, meaning) in reading order."""
