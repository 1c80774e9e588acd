"""What each number of the report means: name, unit, formula, source."""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

_ARGOVERSE_2 = "its flow holds the ego's motion, ours does not, and it scores points within 50 m that are not ground"

DEFINITIONS: tuple[tuple[str, str, str], ...] = (
    (
        "PSNR",
        "dB",
        "−10 log₁₀ MSE over pixels × 3 channels of the region, colours sRGB-coded in [0, 1], prediction clipped to "
        "that range, not rounded to 8 bits; mean of the frames. A frame without any error is ∞, so is a mean with it.",
    ),
    (
        "SSIM",
        "",
        "Mean of the SSIM map over the region and its 3 channels: Gaussian window 11×11, σ 1.5, K = (0.01, 0.03), "
        "range 1, population statistics, reflected border, no crop, in float64 (torchmetrics ≥ 1.6, as gsplat's "
        "evaluation uses it); mean of the frames. Windows at the edge of a moving region see what lies around it.",
    ),
    (
        "LPIPS",
        "",
        "Σ over stages of the mean over positions of Σ_c w_c (â_c − b̂_c)², â and b̂ the unit-length features of the two "
        "images (Zhang et al. 2018, version 0.1), images brought from [0, 1] to [−1, 1]. Moving regions: each stage's "
        "map brought to image size bilinearly, summed, mean over the region. Mean of the same frames as SSIM. The "
        "backbone and its heads are named under the tables; numbers of AlexNet and VGG16 are not comparable. Nor are "
        "those of papers on 3D Gaussian splatting with VGG16: their code feeds the network [0, 1].",
    ),
    (
        "D_RMSE",
        "m",
        "√ mean (z − z_LiDAR)² at the region's pixels with a LiDAR return that the camera sees, z the rendered "
        "expected z-depth of all Gaussians but the background (0 where there is nothing else); mean of the frames.",
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
        "Which points are scored stands under the flow tables.",
    ),
    ("EPE3D", "m", "Mean ‖e‖ over all scored points. It does not depend on whether f holds the ego's motion."),
    (
        "Acc5, Acc10",
        "",
        "Share of points with ‖e‖ < 0.05 (0.10) m or ‖e‖ / ‖f‖ < 0.05 (0.10), Argoverse 2's formula. Its published "
        f"values are not comparable: {_ARGOVERSE_2}.",
    ),
    ("Acc5 abs, Acc10 abs", "", "Share of points with ‖e‖ < 0.05 (0.10) m alone, as the paper words it."),
    (
        "θ",
        "rad",
        "Mean angle between (predicted motion, 0.1) and (f, 0.1), four components, all points, Argoverse 2's formula. "
        f"Its published values are not comparable: {_ARGOVERSE_2}.",
    ),
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
    (
        "no Gaussian",
        "",
        "Scored points that no Gaussian was made from (cropped, thinned out or left out): they take the velocity of "
        "the nearest Gaussian of their frame.",
    ),
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
        "sweeps. The paper prints no formula; this is ours. evaluation.json also holds v_rmse_component, V_RMSE / √3: "
        "the root mean square per vector component, as STORM reports it.",
    ),
    (
        "Annotation noise floor",
        "",
        "The score, at the same points, of a perfect follower of the other reading of the annotation: the smoothed "
        "tracks, or the cuboids as annotated where smoothed tracks are the truth. The cuboids are keyed every fifth "
        "frame and interpolated between, so the two differ. Methods whose scores differ by less than the floor cannot "
        "be told apart by this annotation; for Acc, where higher is better, it is 1 − floor that counts. It says "
        "nothing about background points: both readings are 0 there, so EPE-BS has no floor, and these points dilute "
        "the figures over all points.",
    ),
    (
        "Pooling",
        "",
        "Flow metrics pool all points of all clips before they divide. An empty set is n/a, never 0.",
    ),
)
"""(name, unit or nothing, meaning) in reading order."""
