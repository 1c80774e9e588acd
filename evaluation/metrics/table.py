"""The table of metrics: one row for each, read by every table, chart, screen and explanation of an evaluation."""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

from collections.abc import Iterator

from evaluation.metrics.metric import FULL_SPOTS, IMAGE_SPOTS, Kind, Metric, Place, Quantity, Spot, at

V_RMSE_FORMULA = "√ mean ‖v − v_true‖²"
"""The paper prints none; v = motion / time between the sweeps."""
_FLOW: tuple[Spot, ...] = ("flow",)
_ARGOVERSE_2 = (
    "Published values of Argoverse 2 are not comparable: its flow holds the ego's motion, ours does not, and it scores "
    "points within 50 m that are not ground."
)
_ACCURACY = f"Share of points with ‖e‖ < 0.05 (0.10) m or ‖e‖ / ‖f‖ < 0.05 (0.10). {_ARGOVERSE_2}"
_ACCURACY_ALONE = "Share of points with ‖e‖ < 0.05 (0.10) m alone, as the paper words it."
_BY_CLASS = "Mean ‖e‖ of background-static, foreground-static and foreground-dynamic (‖f‖ ≥ 0.05 m) points."
_VELOCITY = (
    f"{V_RMSE_FORMULA} over all scored points (dyn: foreground-dynamic ones), v = motion / time between the sweeps. "
    "evaluation.json also holds v_rmse_component, V_RMSE / √3: the root mean square per vector component, as STORM "
    "reports it."
)
_VELOCITY_SOURCE = "ours: the paper prints no formula"
_THREE_WAY = "Argoverse 2, three-way classes"
_BUCKETED = "Bucket Normalized EPE (BucketedSceneFlowEval)"

METRICS: tuple[Metric, ...] = (
    Metric(
        key="psnr",
        kind="image",
        symbol="PSNR",
        unit="dB",
        digits=2,
        better="higher",
        formula="−10 log₁₀ MSE over pixels × 3 channels of the region, colours sRGB-coded in [0, 1], prediction "
        "clipped to that range, not rounded to 8 bits; mean of the frames. A frame without any error is ∞, so is a "
        "mean with it.",
        source="scikit-image, torchmetrics",
        places=at(IMAGE_SPOTS, "summary", "tables", "early", "history", "charts") | at(IMAGE_SPOTS[:3], "screen"),
    ),
    Metric(
        key="ssim",
        kind="image",
        symbol="SSIM",
        better="higher",
        formula="Mean of the SSIM map over the region and its 3 channels: Gaussian window 11×11, σ 1.5, K = (0.01, "
        "0.03), range 1, population statistics, reflected border, no crop, in float64; mean of the frames. Windows at "
        "the edge of a moving region see what lies around it.",
        source="torchmetrics ≥ 1.6, as gsplat's evaluation uses it",
        places=at(IMAGE_SPOTS, "tables", "early") | at(FULL_SPOTS, "summary", "history") | at(FULL_SPOTS[:1], "screen"),
    ),
    Metric(
        key="lpips",
        kind="image",
        symbol="LPIPS",
        better="lower",
        formula="Σ over stages of the mean over positions of Σ_c w_c (â_c − b̂_c)², â and b̂ the unit-length features of "
        "the two images, images brought from [0, 1] to [−1, 1]. Moving regions: each stage's map brought to image size "
        "bilinearly, summed, mean over the region. Mean of the same frames as SSIM. The backbone and its heads are "
        "named under the tables; numbers of AlexNet and VGG16 are not comparable. Nor are those of papers on 3D "
        "Gaussian splatting with VGG16: their code feeds the network [0, 1].",
        source="Zhang et al. 2018, version 0.1",
        places=at(IMAGE_SPOTS, "tables") | at(FULL_SPOTS, "summary"),
    ),
    Metric(
        key="depth_rmse",
        kind="image",
        symbol="D_RMSE",
        unit="m",
        digits=2,
        better="lower",
        formula="√ mean (z − z_LiDAR)² at the region's pixels with a LiDAR return that the camera sees, z the rendered "
        "expected z-depth of all Gaussians but the background (0 where there is nothing else); mean of the frames.",
        source="the paper's depth RMSE",
        places=at(IMAGE_SPOTS, "tables", "early") | at(FULL_SPOTS, "summary", "history") | at(FULL_SPOTS[:1], "screen"),
    ),
    Metric(
        key="epe3d",
        kind="flow",
        symbol="EPE3D",
        unit="m",
        better="lower",
        formula="Mean ‖e‖ over all scored points. It does not depend on whether f holds the ego's motion.",
        source="Argoverse 2 (EPE)",
        places=at(_FLOW, "summary", "tables", "early", "screen", "history"),
    ),
    Metric(
        key="acc5",
        kind="flow",
        symbol="Acc5",
        better="higher",
        formula=_ACCURACY,
        source="Argoverse 2 (ACCURACY_STRICT, ACCURACY_RELAX)",
        places=at(_FLOW, "tables", "early"),
    ),
    Metric(
        key="acc10",
        kind="flow",
        symbol="Acc10",
        better="higher",
        formula=_ACCURACY,
        source="Argoverse 2 (ACCURACY_STRICT, ACCURACY_RELAX)",
        places=at(_FLOW, "tables", "early"),
    ),
    Metric(
        key="acc5_abs",
        kind="flow",
        symbol="Acc5 abs",
        better="higher",
        formula=_ACCURACY_ALONE,
        source="the paper's words",
        places=at(_FLOW, "tables"),
    ),
    Metric(
        key="acc10_abs",
        kind="flow",
        symbol="Acc10 abs",
        better="higher",
        formula=_ACCURACY_ALONE,
        source="the paper's words",
        places=at(_FLOW, "tables"),
    ),
    Metric(
        key="theta",
        kind="flow",
        symbol="θ",
        unit="rad",
        better="lower",
        formula=f"Mean angle between (predicted motion, 0.1) and (f, 0.1), four components, all points. {_ARGOVERSE_2}",
        source="Argoverse 2 (ANGLE_ERROR)",
        places=at(_FLOW, "tables", "early"),
    ),
    Metric(
        key="theta_dyn",
        kind="flow",
        symbol="θ_dyn",
        unit="rad",
        better="lower",
        formula="Mean angle between predicted and true motion of foreground-dynamic points; a zero prediction counts "
        "π/2.",
        source="ours",
        places=at(_FLOW, "tables", "early", "history"),
    ),
    Metric(
        key="epe_bs",
        kind="flow",
        symbol="EPE-BS",
        unit="m",
        better="lower",
        formula=_BY_CLASS,
        source=_THREE_WAY,
        places=at(_FLOW, "tables", "early"),
        in_floor=False,
    ),
    Metric(
        key="epe_fs",
        kind="flow",
        symbol="EPE-FS",
        unit="m",
        better="lower",
        formula=_BY_CLASS,
        source=_THREE_WAY,
        places=at(_FLOW, "tables", "early"),
    ),
    Metric(
        key="epe_fd",
        kind="flow",
        symbol="EPE-FD",
        unit="m",
        better="lower",
        formula=_BY_CLASS,
        source=_THREE_WAY,
        places=at(_FLOW, "summary", "tables", "early"),
    ),
    Metric(
        key="epe_3way",
        kind="flow",
        symbol="EPE-3way",
        unit="m",
        better="lower",
        formula="Unweighted mean of EPE-BS, EPE-FS and EPE-FD.",
        source=_THREE_WAY,
        places=at(_FLOW, "tables", "early", "history", "charts"),
    ),
    Metric(
        key="v_rmse",
        kind="flow",
        symbol="V_RMSE",
        unit="m/s",
        better="lower",
        formula=_VELOCITY,
        source=_VELOCITY_SOURCE,
        places=at(_FLOW, "summary", "tables", "early", "history"),
    ),
    Metric(
        key="v_rmse_dyn",
        kind="flow",
        symbol="V_RMSE_dyn",
        unit="m/s",
        better="lower",
        formula=_VELOCITY,
        source=_VELOCITY_SOURCE,
        places=at(_FLOW, "tables", "early"),
    ),
    Metric(
        key="mean_static_epe",
        kind="flow",
        symbol="S",
        unit="m",
        better="lower",
        formula="By class: mean ‖e‖ of the class's points with ‖f‖ < 0.04 m.",
        source=_BUCKETED,
        places=at(_FLOW, "early"),
    ),
    Metric(
        key="mean_dynamic_nepe",
        kind="flow",
        symbol="D",
        better="lower",
        formula="By class: mean over the class's non-empty faster speed bins (0.04 m wide up to 2 m, then one open "
        "bin) of Σ‖e‖ / Σ‖f‖; 1 is what predicting no motion scores.",
        source=_BUCKETED,
        places=at(_FLOW, "early"),
    ),
)
"""Every metric, in the order it is shown. A metric is added by a row here and the function that computes it."""

BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}


def quantities(place: Place) -> tuple[Quantity, ...]:
    """What a place shows: by role, and there in the order of the table."""
    shown = [Quantity(metric, spot) for metric in METRICS for spot in metric.places.get(place, ())]
    return tuple(each for role in ("interpolation", "future", "flow") for each in shown if each.role == role)


def quantity(name: str) -> Quantity | None:
    """What an early evaluation means by a name; None for one that is not in the table."""
    return _BY_NAME.get(name)


def metrics_of(kind: Kind) -> tuple[Metric, ...]:
    """Rows of one kind."""
    return tuple(metric for metric in METRICS if metric.kind == kind)


def _everything() -> Iterator[Quantity]:
    for metric in METRICS:
        for spot in IMAGE_SPOTS if metric.kind == "image" else _FLOW:
            yield Quantity(metric, spot)


_BY_NAME = {each.name: each for each in _everything()}
