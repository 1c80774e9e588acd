"""Loss terms against their formulas; SSIM against scikit-image and torchmetrics."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from flux4d.gaussians import Gaussians
from flux4d.render import Rendering
from flux4d.supervision.losses.speed import mean_speed
from flux4d.supervision.losses.term import LossInput
from flux4d.supervision.losses.total import TERMS, LossConfig, view_loss
from flux4d.supervision.ssim import ssim_map
from flux4d.supervision.target import Target


def images(height: int = 40, width: int = 56, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    base = 0.5 + 0.3 * torch.sin(rows / 5.0) * torch.cos(columns / 7.0)
    target = (base[..., None] + 0.1 * torch.randn(height, width, 3, generator=generator)).clamp(0, 1)
    return (target + 0.15 * torch.randn(height, width, 3, generator=generator)).clamp(0, 1), target


def scene(velocities: Tensor, is_sky: Tensor) -> Gaussians:
    count = len(velocities)
    return Gaussians(
        means=torch.zeros(count, 3),
        quats=torch.ones(count, 4),
        scales=torch.ones(count, 3),
        opacities=torch.ones(count),
        rgb=torch.ones(count, 3),
        times=torch.zeros(count),
        velocities=velocities,
        is_sky=is_sky,
        source=torch.arange(count),
    )


def view(image: Tensor, target: Tensor, **changes: object) -> tuple[Rendering, Target, Gaussians]:
    """A rendering with a depth of 10 m all over, of a scene of two Gaussians that move and one that is sky."""
    values: dict[str, object] = {
        "depth": torch.full(image.shape[:2], 10.0),
        "depth_pixel": torch.tensor([0, 57, 200]),
        "target_depth": torch.tensor([11.0, 8.0, 10.0]),
        "gaussians": scene(
            torch.tensor([[[3.0, 4.0, 0.0]], [[0.0, 0.0, 1.0]], [[9.0, 9.0, 9.0]]]), torch.tensor([0, 0, 1]) > 0
        ),
        **changes,
    }
    depth = values["depth"]
    assert isinstance(depth, Tensor)
    rendering = Rendering(image[None], torch.ones(1, *image.shape[:2], 1), depth[None, ..., None], None)
    posed = {"view": None, "role": "interpolation", "cameras": None}
    recorded = Target(rgb=target, depth_pixel=values["depth_pixel"], depth=values["target_depth"], **posed)  # type: ignore[arg-type]
    return rendering, recorded, values["gaussians"]  # type: ignore[return-value]


def test_terms_and_weights_are_those_of_the_paper() -> None:
    image, target = images()
    losses = view_loss(*view(image, target), LossConfig())
    l1, ssim = (image - target).abs().mean(), 1 - ssim_map(image, target).mean()
    assert list(losses.terms) == ["l1", "ssim", "depth", "velocity"]
    assert torch.equal(losses.terms["l1"], l1)
    assert torch.equal(losses.terms["ssim"], ssim)
    assert float(losses.terms["depth"]) == pytest.approx(1.0)  # |10-11|, |10-8|, |10-10|
    assert float(losses.terms["velocity"]) == pytest.approx(3.0)  # (5 + 1) / 2, the sky does not count
    assert float(losses.total) == pytest.approx(float(0.8 * l1 + 0.2 * ssim + 0.01 * 1.0 + 5e-3 * 3.0), rel=1e-5)


def test_depth_is_read_at_the_lidar_pixels() -> None:
    image, target = images()
    depth = torch.zeros(image.shape[:2])
    depth[2, 5], depth[0, 0] = 30.0, 7.0
    pixel = torch.tensor([0, 2 * image.shape[1] + 5])
    changes = {"depth": depth, "depth_pixel": pixel, "target_depth": torch.tensor([7.0, 30.0])}
    losses = view_loss(*view(image, target, **changes), LossConfig())
    assert losses.terms["depth"] == 0.0


def test_absent_terms_are_none_and_leave_the_sum() -> None:
    image, target = images()
    empty = {"depth_pixel": torch.zeros(0, dtype=torch.int64), "target_depth": torch.zeros(0)}
    sky = scene(torch.ones(2, 1, 3), torch.ones(2, dtype=torch.bool))
    losses = view_loss(*view(image, target, gaussians=sky, **empty), LossConfig())
    assert losses.terms["depth"] is None
    assert losses.terms["velocity"] is None
    assert float(losses.total) == pytest.approx(float(0.8 * losses.terms["l1"] + 0.2 * losses.terms["ssim"]), rel=1e-6)
    assert list(losses.detach()) == ["total", "l1", "ssim"]


def test_mean_speed_at_rest_has_a_finite_gradient() -> None:
    velocities = torch.zeros(4, 2, 3, requires_grad=True)
    at_rest = scene(velocities, torch.zeros(4, dtype=torch.bool))
    penalty = mean_speed(LossInput(*view(*images(), gaussians=at_rest)))
    assert penalty is not None
    penalty.backward()
    assert velocities.grad is not None
    assert torch.equal(velocities.grad, torch.zeros_like(velocities))


def test_wrong_sizes_and_weights_are_refused() -> None:
    image, target = images()
    with pytest.raises(ValueError, match="decode the target at the rendered size"):
        view_loss(*view(image, target[:-1]), LossConfig())
    with pytest.raises(ValueError, match="loss weight ssim=-1"):
        LossConfig(ssim=-1.0)
    with pytest.raises(ValueError, match="depth=nan"):
        replace(LossConfig(), depth=float("nan"))


def test_recorded_weights_are_those_of_then() -> None:
    assert LossConfig.as_recorded(asdict(LossConfig(depth=0.5))) == LossConfig(depth=0.5)
    assert LossConfig.as_recorded({"l1": 1.0}) == LossConfig(l1=1.0, ssim=0.0, depth=0.0, velocity=0.0)
    with pytest.raises(ValueError, match="LossConfig has no field beauty"):
        LossConfig.as_recorded({"l1": 1.0, "beauty": 1.0})


def test_terms_are_told_with_their_units() -> None:
    assert [term.board_tag for term in TERMS.values()] == ["l1", "one_minus_ssim", "depth_m", "speed_m_per_s"]
    assert [term.column_head for term in TERMS.values()] == ["l1", "1-ssim", "depth m", "m/s"]
    assert asdict(LossConfig()) == {name: term.weight for name, term in TERMS.items()}


def test_ssim_is_that_of_torchmetrics() -> None:
    image, target = images()
    expected = structural_similarity_index_measure(
        image.permute(2, 0, 1)[None].double(), target.permute(2, 0, 1)[None].double(), data_range=1.0
    )
    assert float(ssim_map(image.double(), target.double()).mean()) == pytest.approx(float(expected), abs=1e-9)


def test_ssim_interior_is_that_of_skimage() -> None:
    image, target = images()
    _, expected = structural_similarity(
        image.double().numpy(),
        target.double().numpy(),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
        full=True,
    )
    value = ssim_map(image.double(), target.double()).numpy()
    np.testing.assert_allclose(value[5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-9)


def test_ssim_gradient_and_limits() -> None:
    image, target = images(height=7, width=6)
    image, target = image.double().requires_grad_(), target.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ssim_map(a, b).mean(), (image, target))
    assert torch.allclose(ssim_map(target, target), torch.ones_like(target))
    stacked = ssim_map(torch.stack([image, target]), torch.stack([target, target]))
    assert torch.allclose(stacked[0], ssim_map(image, target))


def test_ssim_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ssim_map(torch.zeros(20, 20, 3), torch.zeros(20, 21, 3))
    with pytest.raises(ValueError, match="at least 6x6"):
        ssim_map(torch.zeros(5, 20, 3), torch.zeros(5, 20, 3))
