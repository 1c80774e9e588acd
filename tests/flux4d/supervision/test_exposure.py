"""Exposure maps against a plain least-squares twin, and what must hold for any images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.render import render
from flux4d.supervision.exposure import Exposure, ExposureCurve, gain_exposure
from flux4d.supervision.exposure_fit import (
    Comparison,
    ExposureConfig,
    ExposureKind,
    compare_inputs,
    fit_exposure,
    fit_map,
)
from tests.support.scenes.toy import make_clip

SEEDS = st.integers(0, 2**31)
KINDS = st.sampled_from(["gain", "channels", "affine"])
NO_RIDGE = 1e-12
IDENTITY = torch.eye(3, 4, dtype=torch.float64)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_map(kind: ExposureKind, seed: int, size: float = 0.3) -> Tensor:
    """A random map of the kind, no entry farther than `size` from the identity."""
    change = (noise(seed, 3, 4) - 0.5) * 2 * size
    if kind == "gain":
        return IDENTITY * (1 + change[0, 0])
    allowed = torch.ones(3, 4) if kind == "affine" else torch.cat([torch.eye(3), torch.ones(3, 1)], dim=1)
    return IDENTITY + change * allowed


def mapped(rgb: Tensor, matrix: Tensor) -> Tensor:
    return rgb @ matrix[:, :3].T + matrix[:, 3]


def seen(
    seed: int, matrix: Tensor = IDENTITY, time: float = 0.0, camera: str = "front", error: float = 0.0
) -> Comparison:
    rendered = noise(seed, 21, 37, 3)
    image = mapped(rendered, matrix) + error * (noise(seed + 1, 21, 37, 3) - 0.5)
    return Comparison(camera, time, rendered, image, noise(seed + 2, 21, 37))


@given(seed=SEEDS, kind=KINDS, cell=st.sampled_from([1, 4, 16]), huber=st.sampled_from([None, 0.1]))
@settings(max_examples=15, deadline=None)
def test_a_known_map_is_found_exactly(seed: int, kind: ExposureKind, cell: int, huber: float | None) -> None:
    truth = a_map(kind, seed)
    # 37 x 21 pixels hold six cells of 16 of different means: enough for the four numbers of a row.
    config = ExposureConfig(kind=kind, cell=cell, huber=huber, ridge=NO_RIDGE, steps=20)
    found = fit_map([seen(seed, truth), seen(seed + 7, truth)], config)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-6 if huber else 1e-8)


def plain_fit(rendered: Tensor, image: Tensor, weight: Tensor, kind: ExposureKind, ridge: float) -> Tensor:
    """The ridge regression as one dense least-squares problem with a row for each pixel and channel."""
    count = len(rendered)
    columns, places = [], []
    for row in range(3):
        for column in range(4):
            if kind == "channels" and column not in (row, 3):
                continue
            design = np.zeros((count, 3))
            design[:, row] = rendered[:, column] if column < 3 else 1.0
            columns.append((design * np.sqrt(weight.numpy())[:, None]).ravel())
            places.append((row, column))
    right = ((image - rendered) * weight.sqrt()[:, None]).numpy().ravel()
    if kind == "gain":
        whole = (rendered * weight.sqrt()[:, None]).numpy().ravel()
        factor = np.linalg.lstsq(np.append(whole, np.sqrt(3 * ridge))[:, None], np.append(right, 0.0))[0][0]
        return IDENTITY * (1 + factor)
    matrix = np.concatenate([np.stack(columns, axis=1), np.sqrt(ridge) * np.eye(len(columns))])
    numbers = np.linalg.lstsq(matrix, np.append(right, np.zeros(len(columns))))[0]
    change = torch.zeros(3, 4, dtype=torch.float64)
    for (row, column), number in zip(places, numbers, strict=True):
        change[row, column] = float(number)
    return IDENTITY + change


@pytest.mark.parametrize("kind", ["gain", "channels", "affine"])
@pytest.mark.parametrize("ridge", [0.1, 30.0])
def test_the_closed_form_is_the_plain_regression(kind: ExposureKind, ridge: float) -> None:
    one = seen(3, a_map(kind, 4), error=0.2)
    found = fit_map([one], ExposureConfig(kind=kind, cell=1, huber=None, ridge=ridge))
    flat = (one.rendered.reshape(-1, 3), one.image.reshape(-1, 3), one.weight.reshape(-1))
    torch.testing.assert_close(found, plain_fit(*flat, kind, ridge), rtol=0, atol=1e-9)


@given(seed=SEEDS, kind=KINDS)
@settings(max_examples=20, deadline=None)
def test_without_evidence_nothing_changes(seed: int, kind: ExposureKind) -> None:
    truth = a_map(kind, seed)
    blank = replace(seen(seed, truth), weight=torch.zeros(21, 37))
    assert torch.equal(fit_map([blank], ExposureConfig(kind=kind)), IDENTITY)
    little = replace(seen(seed, truth), weight=torch.full((21, 37), 1e-3))
    assert (fit_map([little], ExposureConfig(kind=kind, ridge=1e4)) - IDENTITY).abs().max() < 1e-3
    torch.testing.assert_close(fit_map([seen(seed)], ExposureConfig(kind=kind)), IDENTITY, rtol=0, atol=1e-9)


def cost(matrix: Tensor, one: Comparison, config: ExposureConfig) -> float:
    """Huber of each pixel's error, weighted, plus the ridge."""
    error = (mapped(one.rendered, matrix) - one.image).norm(dim=-1)
    bound = torch.inf if config.huber is None else config.huber
    each = torch.where(error <= bound, 0.5 * error**2, bound * (error - 0.5 * bound) if config.huber else error)
    return float((each * one.weight).sum() + 0.5 * config.ridge * (matrix - IDENTITY).square().sum())


@given(
    seed=SEEDS,
    kind=KINDS,
    ridge=st.sampled_from([NO_RIDGE, 1.0, 100.0]),
    huber=st.sampled_from([None, 0.05]),
    limit=st.sampled_from([0.05, 0.5]),
    size=st.sampled_from([0.2, 5.0]),
)
@settings(max_examples=60, deadline=None)
def test_maps_are_bounded_and_never_worse_than_none(
    seed: int, kind: ExposureKind, ridge: float, huber: float | None, limit: float, size: float
) -> None:
    config = ExposureConfig(kind=kind, cell=1, ridge=ridge, huber=huber, max_change=limit)
    one = seen(seed, a_map("affine", seed, size), error=1.0)
    found = fit_map([one], config)
    assert (found - IDENTITY).abs().max() <= limit * (1 + 1e-12)
    assert cost(found, one, config) <= cost(IDENTITY, one, config) * (1 + 1e-9)


def test_moving_things_do_not_pull_the_map() -> None:
    truth = a_map("channels", 1, 0.1)
    one = seen(1, truth)
    image = one.image.clone()
    image[:, :6] = 5.0  # 16 % of the picture shows something else
    spoilt = replace(one, image=image)
    plain = fit_map([spoilt], ExposureConfig(kind="channels", cell=1, ridge=NO_RIDGE, huber=None, max_change=10.0))
    robust = fit_map([spoilt], ExposureConfig(kind="channels", cell=1, ridge=NO_RIDGE, huber=0.01, steps=30))
    assert (robust - truth).abs().max() < 0.01 < 0.3 < (plain - truth).abs().max()


def test_each_camera_has_its_own_map_and_frames_are_joined_linearly() -> None:
    maps = [a_map("affine", number) for number in range(3)]
    views = [seen(4, maps[1], 1.0), seen(5, maps[0], 0.0), seen(6, maps[2], 0.5, camera="back")]
    exposure = fit_exposure(views, ExposureConfig(per_frame=True, cell=1, ridge=NO_RIDGE, steps=30))
    assert sorted(exposure.curves) == ["back", "front"]
    rgb = noise(9, 2, 5, 3)
    for time, matrix in ((-1.0, maps[0]), (0.0, maps[0]), (0.25, 0.75 * maps[0] + 0.25 * maps[1]), (2.0, maps[1])):
        torch.testing.assert_close(exposure.apply(rgb, "front", time), mapped(rgb, matrix), rtol=0, atol=1e-6)
    torch.testing.assert_close(exposure.apply(rgb, "back", 0.0), mapped(rgb, maps[2]), rtol=0, atol=1e-6)
    joint = fit_exposure(views[:2], ExposureConfig(cell=1))
    assert len(joint.curves["front"].times) == 1


def test_gradients_flow_through_the_map() -> None:
    rgb, matrix = noise(1, 2, 3, 3).requires_grad_(), a_map("affine", 2).requires_grad_()

    def expose(rgb: Tensor, matrix: Tensor) -> Tensor:
        knots = ExposureCurve(torch.tensor([0.0, 1.0]), torch.stack([matrix, 2 * matrix]))
        return Exposure({"front": knots}).apply(rgb, "front", 0.3)

    assert torch.autograd.gradcheck(expose, (rgb, matrix))


def test_no_target_image_is_opened() -> None:
    clip = make_clip()
    scene = lift_clip(clip, SceneConfig(sky=SkyConfig(spacing=0.05)))
    blind = replace(
        clip, views=tuple(view if view.role == "input" else replace(view, image=b"none of it") for view in clip.views)
    )
    wide, half = compare_inputs(scene, clip), compare_inputs(scene, blind, 48)
    assert [one.time for one in half] == [view.time for view in clip.views_of("input")]
    assert half[0].image.shape == (27, 48, 3)
    for one, view in zip(compare_inputs(scene, blind), clip.views_of("input"), strict=True):
        rendering = render(scene, Cameras.from_views([view]))
        assert torch.equal(one.rendered, rendering.rgb[0])
        assert torch.equal(one.weight, rendering.alpha[0, ..., 0])
    torch.testing.assert_close(wide[0].image[0, 0], torch.tensor([150, 180, 220]) / 255, rtol=0, atol=0.02)


def test_a_fitted_exposure_brightens_the_rendering_it_was_fitted_for() -> None:
    clip = make_clip()
    dark = replace(clip, points=replace(clip.points, rgb=(clip.points.rgb * 0.7).astype(np.uint8)))
    scene = lift_clip(dark, SceneConfig(sky=SkyConfig(enabled=False)))
    exposure = fit_exposure(compare_inputs(scene, clip), ExposureConfig(kind="gain", ridge=1.0))
    view = clip.views_of("interpolation")[0]
    rendering = render(scene, Cameras.from_views([view]))
    exposed = exposure.expose(rendering, [view])
    gain = exposure.curves["front_camera"].maps[0, 0, 0]
    assert 1.2 < gain <= 1.5
    torch.testing.assert_close(exposed.rgb, rendering.rgb * gain.float())
    assert exposed.depth is rendering.depth


def test_gains_are_an_exposure_without_offsets() -> None:
    exposure = gain_exposure(["front", "back"], np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 2.0]]))
    rgb = noise(0, 4, 3)
    assert torch.equal(exposure.apply(rgb, "front", 3.0), rgb)
    torch.testing.assert_close(exposure.apply(rgb, "back", -3.0), rgb * torch.tensor([0.5, 1.0, 2.0]))
    for wrong in (np.ones((1, 3)), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        with pytest.raises(ValueError, match="three positive factors"):
            gain_exposure(["front", "back"], wrong)


def test_bad_input_is_named() -> None:
    one = seen(0)
    with pytest.raises(ValueError, match="at least one input view"):
        fit_exposure([], ExposureConfig())
    with pytest.raises(ValueError, match="one size"):
        replace(one, weight=torch.ones(3, 3))
    with pytest.raises(ValueError, match="finite"):
        replace(one, image=one.image * torch.nan)
    with pytest.raises(ValueError, match=">= 0"):
        replace(one, weight=-one.weight)
    with pytest.raises(ValueError, match="two input views at one time"):
        fit_exposure([one, one], ExposureConfig(per_frame=True))
    with pytest.raises(ValueError, match="no exposure for back"):
        fit_exposure([one], ExposureConfig()).apply(one.rendered, "back", 0.0)
    clip = make_clip()
    rendering = render(lift_clip(clip, SceneConfig()), Cameras.from_views(clip.views[:2]))
    with pytest.raises(ValueError, match="1 views for a rendering of 2 cameras"):
        gain_exposure(["front_camera"], np.ones((1, 3))).expose(rendering, clip.views[:1])
    for changes in ({"kind": "spline"}, {"cell": 0}, {"steps": 0}, {"ridge": 0.0}, {"huber": -1.0}, {"max_change": 0}):
        with pytest.raises(ValueError, match=str(next(iter(changes)))):
            ExposureConfig(**changes)
