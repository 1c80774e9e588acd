"""Do the sparse convolution libraries compute what the project's plain layers compute, and how fast?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.gpu.subject import Check, Outcome, Stopwatch, at_most, difference
from flux4d.lift.scene import clip_duration
from flux4d.network import sparse_unet
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.network.voxelize import Voxels, mean_pool, voxelize

# spconv on a CPU differs from the plain layers by 7e-7; TF32 keeps 10 bits. Activations that round to the other side
# of LeakyReLU's kink moved its gradients by up to 3e-3: they are judged without the kink, and loosely with it.
CONV_L2, CONV_KINK_GRADIENT_L2 = 1e-4, 5e-2


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
