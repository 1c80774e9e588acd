"""Do the CUDA libraries compute what the project's own code computes? gsplat and the sparse convolutions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_subject import Check, Outcome, Stopwatch, at_most, camera, difference, synchronise, targets, uneven
from flux4d import sparse_unet
from flux4d.gaussians import Gaussians
from flux4d.network import Flux4D, NetworkConfig
from flux4d.rasterize import MAX_ALPHA
from flux4d.reconstruct import clip_duration
from flux4d.render import render
from flux4d.voxelize import Voxels, mean_pool, voxelize
from store_schema.clip import Clip

PARAMETERS = ("means", "quats", "scales", "opacities", "rgb")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
# Two float32 rasterisers may disagree about a Gaussian at the alpha threshold or about the last one of a pixel:
# rare pixels differ by a visible step. Hence the 99 % quantile, and gradients as whole vectors. Float32 against
# float64 in the CPU kernels, 512,000 Gaussians of a real clip at 960x540: p99 2e-6 in each image, relative L2 of
# 4e-4 to 5e-3 in the gradients.
RGB_P99 = ALPHA_P99 = 5e-4
DEPTH_P99 = 1e-3  # of the depth
GRADIENT_L2, GRADIENT_COSINE = 2e-2, 0.999
# spconv on a CPU differs from the plain layers by 7e-7; TF32 keeps 10 bits. Activations that round to the other side
# of LeakyReLU's kink moved its gradients by up to 3e-3: they are judged without the kink, and loosely with it.
CONV_L2, CONV_KINK_GRADIENT_L2 = 1e-4, 5e-2

Images = dict[str, Tensor]


def raster(check: Check) -> Outcome:
    """Toy clip and, when given, the stored clip through gsplat on CUDA and the CPU kernels."""
    clips = {"toy": check.toy} | ({} if check.reader is None else {"store": check.clip})
    result: dict[str, Any] = {"backends": [check.raster_backend, "cpu"], "max_alpha": _max_alpha(check)}
    problems: list[str] = []
    for name, clip in clips.items():
        result[name], found = _raster_clip(check, clip)
        problems += [f"{name}: {problem}" for problem in found]
    return result, problems


def _raster_clip(check: Check, clip: Clip) -> Outcome:
    scene = uneven(replace(check, device=torch.device("cpu")).lift(clip))
    views = targets(clip)
    view, width = views[len(views) // 2], check.width_of(clip)
    where = {check.raster_backend: check.device, "cpu": torch.device("cpu")}
    drawn, took = {}, {}
    for backend, device in where.items():
        start = time.perf_counter()
        drawn[backend] = _drawn(scene.to(device), camera(view, width).to(device), backend, _max_alpha(check))
        synchronise(device)
        took[backend] = time.perf_counter() - start
    (images, gradients), (wanted, wanted_gradients) = drawn[check.raster_backend], drawn["cpu"]
    quantiles = _image_quantiles(images, wanted)
    vectors = {
        name: difference(gradients[name], wanted_gradients[name])
        | _row_differences(gradients[name], wanted_gradients[name])
        for name in PARAMETERS
    }
    problems = at_most("rgb p99", quantiles["rgb"]["p99"], RGB_P99)
    problems += at_most("alpha p99", quantiles["alpha"]["p99"], ALPHA_P99)
    problems += at_most("relative depth p99", quantiles["depth_relative"]["p99"], DEPTH_P99)
    for name, value in vectors.items():
        problems += at_most(f"gradient of {name}, relative L2", value["relative_l2"], GRADIENT_L2)
        cosine = value["cosine"]
        problems += at_most(
            f"gradient of {name}, 1 - cosine", None if cosine is None else 1 - cosine, 1 - GRADIENT_COSINE
        )
    result = check.facts(clip) | {
        "gaussians": len(scene),
        "width": width,
        "height": int(wanted["alpha"].shape[1]),
        "covered": float((wanted["alpha"] > 0.5).double().mean()),
        "first_call_seconds": took,
        "difference": quantiles,
        "gradients": vectors,
    }
    return result, problems


def _max_alpha(check: Check) -> float:
    """The one built into gsplat, so that both sides mean the same image."""
    if check.raster_backend != "gsplat":
        return MAX_ALPHA
    try:
        import gsplat
    except ImportError as error:
        raise RuntimeError(f"gsplat cannot be imported ({error}): pip install '.[cuda]'") from error
    from flux4d.rasterize.gsplat_backend import gsplat_max_alpha

    return gsplat_max_alpha(gsplat.__version__)


def _drawn(scene: Gaussians, cameras: Any, backend: str, max_alpha: float) -> tuple[Images, Images]:
    """Images, and gradients of a fixed random sum of their pixels, on the CPU."""
    leaves = {name: getattr(scene, name).clone().requires_grad_() for name in PARAMETERS}
    out = render(replace(scene, **leaves), cameras, backend=backend, max_alpha=max_alpha)  # type: ignore[arg-type]
    images = {"rgb": out.rgb, "alpha": out.alpha, "depth": out.depth}
    # A metre counts as a hundredth of the colour range, as in the training loss.
    signals = {"rgb": out.rgb, "alpha": out.alpha, "depth": 0.01 * out.depth}
    g = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(value.shape, generator=g).to(value.device) for name, value in signals.items()}
    loss = torch.stack([(weights[name] * value).sum() for name, value in signals.items()]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return (
        {name: value.detach().cpu() for name, value in images.items()},
        {name: value.cpu() for name, value in zip(leaves, gradients, strict=True)},
    )


def _image_quantiles(images: Images, wanted: Images) -> dict[str, dict[str, float | None]]:
    apart = {name: (images[name].double() - wanted[name].double()).abs() for name in images}
    # 0 is no depth: where only one side has one, the Gaussian is at the threshold, and alpha tells of it.
    seen = (images["depth"] > 0) & (wanted["depth"] > 0)
    apart["depth"] = apart["depth"][seen]
    apart["depth_relative"] = apart["depth"] / wanted["depth"].double()[seen]
    return {name: _quantiles(value.numpy().reshape(-1)) for name, value in apart.items()}


def _quantiles(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(QUANTILES)
    return dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))


def _row_differences(value: Tensor, reference: Tensor) -> dict[str, float | None]:
    """Relative differences of single Gaussians that matter (above a hundredth of the mean norm)."""
    value, reference = (x.double().reshape(len(x), -1) for x in (value, reference))
    norm = reference.norm(dim=1)
    rows = norm > 0.01 * norm.mean()
    quantiles = _quantiles(((value - reference).norm(dim=1)[rows] / norm[rows]).numpy())
    return {"row_relative_p50": quantiles["p50"], "row_relative_p99": quantiles["p99"]}


def conv(check: Check) -> Outcome:
    """The U-Net with each library that imports against the plain torch layers, with the same weights."""
    clip = check.clip
    name, config = next(iter(check.size.networks.items()))
    libraries, missing = _libraries(config, check.device)
    if not libraries:
        raise RuntimeError(f"no sparse convolution library works on {check.device}: {missing}")
    with _no_tf32():
        plain = Flux4D(replace(config, conv_backend="torch"), check.device)
        gaussians = check.lift(clip)
        voxels = voxelize(gaussians.means, config.voxels)
        features = plain.features(gaussians, clip_duration(clip))
        pooled = mean_pool(features, voxels).detach()
        networks = {"torch": plain} | libraries
        for network in libraries.values():
            network.load_state_dict(plain.state_dict())
        passes = _all_passes(networks, pooled, voxels)
        with _no_kink():
            smooth = _all_passes(networks, pooled, voxels)
        result = check.facts(clip) | {
            "network": name,
            "gaussians": len(gaussians),
            "voxels": len(pooled),
            "not_importable": missing,
            "torch_against_float64": _compared(passes["torch"], passes["float64"]),
            "ms": {name: _pass_ms(check, network, pooled, voxels) for name, network in networks.items()},
        }
    problems: list[str] = []
    for library in libraries:
        against = _compared(passes[library], passes["torch"])
        without_kink = _compared(smooth[library], smooth["torch"])
        result[library] = {"against_torch": against, "against_torch_without_kink": without_kink}
        problems += at_most(f"{library} output, relative L2", against["output"]["relative_l2"], CONV_L2)
        for part, value in without_kink.items():
            problems += at_most(f"{library} {part} without kink, relative L2", value["relative_l2"], CONV_L2)
        for part in ("input_gradient", "weight_gradient"):
            problems += at_most(f"{library} {part}, relative L2", against[part]["relative_l2"], CONV_KINK_GRADIENT_L2)
    return result, problems


def _all_passes(networks: dict[str, Flux4D], pooled: Tensor, voxels: Voxels) -> dict[str, dict[str, Tensor]]:
    """By backend, and the plain layers in float64 besides."""
    passes = {"float64": _unet_pass(networks["torch"].double(), pooled.double(), voxels)}
    networks["torch"].float()
    return passes | {name: _unet_pass(network, pooled, voxels) for name, network in networks.items()}


def _libraries(config: NetworkConfig, device: torch.device) -> tuple[dict[str, Flux4D], dict[str, str]]:
    networks, missing = {}, {}
    for name in ("spconv", "spconv_triton"):
        try:
            networks[name] = Flux4D(replace(config, conv_backend=name), device)
        except ValueError as error:
            missing[name] = str(error)
    return networks, missing


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Plain float32 products; spconv and spconv-triton have TF32 off unless told otherwise."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _no_kink() -> Iterator[None]:
    """The identity in place of LeakyReLU."""
    before = sparse_unet.LEAK
    sparse_unet.LEAK = 1.0
    try:
        yield
    finally:
        sparse_unet.LEAK = before


def _unet_pass(network: Flux4D, pooled: Tensor, voxels: Voxels) -> dict[str, Tensor]:
    """Output of the U-Net, and gradients of a fixed random sum of it."""
    leaf = pooled.clone().requires_grad_()
    out = network.unet(leaf, voxels)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out)
    parameters = list(network.unet.parameters())
    first, *rest = torch.autograd.grad((out * weights).sum(), [leaf, *parameters])
    weight_gradient = torch.cat([gradient.flatten() for gradient in rest])
    return {"output": out.detach(), "input_gradient": first, "weight_gradient": weight_gradient}


def _compared(value: dict[str, Tensor], reference: dict[str, Tensor]) -> dict[str, dict[str, float | None]]:
    return {name: difference(value[name], reference[name]) for name in reference}


def _pass_ms(check: Check, network: Flux4D, pooled: Tensor, voxels: Voxels) -> dict[str, float]:
    """Forward and backward together."""
    watch = Stopwatch(check.device)
    for _ in range(check.size.warmup + check.size.steps):
        with watch.part("pass"):
            _unet_pass(network, pooled, voxels)
    return watch.spread_ms(check.size.warmup)["pass"]
