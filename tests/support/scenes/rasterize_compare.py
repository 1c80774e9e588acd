"""A rendering held against brute force: values, and gradients of a random weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor

from flux4d.rasterize import Rasterized, rasterize
from tests.support.scenes.rasterize_reference import Scene, brute_force

BACKENDS = ("cpu", "torch")
NAMES = ("means", "quats", "scales", "opacities", "features", "viewmats")


def draw(parameters: list[Tensor], scene: Scene, **options) -> Rasterized:
    dtype = parameters[0].dtype
    return rasterize(*parameters, scene.Ks.to(dtype), scene.width, scene.height, **options)


def relative(got: Tensor, want: Tensor) -> float:
    """L2 of the difference over L2 of what is wanted; what is wanted to be zero must be."""
    error, length = (got.double() - want.double()).norm(), want.double().norm()
    return (error / length if length > 0 else error).item()


def same_as_brute_force(
    scene: Scene,
    backend: str,
    *,
    dtype: torch.dtype = torch.float32,
    value: float = 2e-6,
    depth: float = 2e-5,
    gradient: float = 1e-5,
    camera_gradient: float | None = None,
    doubtful_share: float = 0.02,
    doubt: float = 2e-5,
    **options,
) -> Tensor:
    """Assert that every pixel and every gradient is brute force's; alphas of all pixels [C, P] for more questions.

    `value` bounds the error of alphas, and of features relative to the largest (if above 1); `depth` that of
    accumulated depth in m; `gradient` the relative L2 error of each parameter's gradient, `camera_gradient` that of the
    viewmats' where it is another: a sum over all Gaussians, in which much may cancel.
    """
    exact, got = scene.parameters(torch.float64), scene.parameters(dtype)
    drawn = draw(got, scene, render_mode="RGB+D", backend=backend, **options)
    loss, loss_exact, alphas = 0.0, 0.0, []
    noise = torch.Generator().manual_seed(1)
    scale = max(1.0, scene.features.abs().max().item())
    for camera, K in enumerate(scene.Ks.double()):
        image, alpha, doubtful = brute_force(
            *exact[:5], exact[5][camera], K, scene.width, scene.height, doubt=doubt, **options
        )
        sure = ~doubtful
        assert doubtful.double().mean() <= doubtful_share
        flat, flat_alpha = drawn.features[camera].flatten(0, 1), drawn.alphas[camera].flatten()
        assert (flat_alpha - alpha)[sure].abs().max() <= value
        assert (flat - image)[sure, :-1].abs().max() <= value * scale
        assert (flat - image)[sure, -1].abs().max() <= depth
        weight = torch.randn(image.shape, generator=noise) * sure[:, None]
        loss = loss + (flat * weight).sum() + (flat_alpha * weight[:, 0]).sum()
        loss_exact = loss_exact + (image * weight).sum() + (alpha * weight[:, 0]).sum()
        alphas.append(alpha.detach())
    loss.backward()
    loss_exact.backward()
    errors = {name: relative(a.grad, b.grad) for name, a, b in zip(NAMES, got, exact, strict=True)}
    most = dict.fromkeys(NAMES, gradient) | {"viewmats": camera_gradient or gradient}
    assert all(error <= most[name] for name, error in errors.items()), errors
    return torch.stack(alphas)
