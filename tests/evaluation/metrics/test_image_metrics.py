import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image as torchmetrics_image
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from evaluation.metrics.image import depth_rmse, score_view
from evaluation.metrics.truth import Truth, truth_of
from evaluation.report.columns import Column
from evaluation.report.tables import _best, number
from evaluation.scoring.results import summarise_regions
from flux4d.supervision.ssim import ssim_map
from tests.support.logs.real_slice import real_log
from tests.support.scenes.toy import make_clip

H, W = 24, 32
# Of `test_golden_values_of_a_fixed_pair`: PSNR in dB and SSIM.
GOLDEN_FULL = (20.463095348789, 0.945179447620)
GOLDEN_MASK = (20.536440222121, 0.944763894670)


def truth_with(rgb, moving=None, pixel=(), depth=()):
    camera = truth_of(make_clip(per_frame=3).views[0]).camera
    return Truth(camera, rgb.astype(np.float32), np.array(pixel, np.int64), np.array(depth, np.float32), moving)


def scored(image, truth, depth=None):
    depths = torch.zeros(H, W) if depth is None else torch.from_numpy(depth)
    return score_view(torch.from_numpy(image), depths, truth)


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0.2, 0.8, (H, W, 3))


def test_psnr_of_a_known_error(image):
    assert scored(image + 0.1, truth_with(image)).full.psnr == pytest.approx(20.0, abs=1e-6)


def test_error_in_one_channel_is_averaged_over_three(image):
    wrong = image.copy()
    wrong[..., 0] += 0.1
    assert scored(wrong, truth_with(image)).full.psnr == pytest.approx(20.0 + 10 * math.log10(3), abs=1e-6)


def test_prediction_is_clipped_before_it_is_compared():
    white = np.ones((H, W, 3))
    assert scored(white * 1.5, truth_with(white)).full.psnr == math.inf


def test_masked_psnr_divides_by_mask_times_three(image):
    mask = np.zeros((H, W), bool)
    mask[4:10, 5:9] = True
    wrong = image + 0.1 * mask[..., None]
    result = scored(wrong, truth_with(image, mask))
    assert result.moving.psnr == pytest.approx(20.0, abs=1e-6)
    assert result.moving.pixels == 24
    assert result.full.psnr == pytest.approx(20.0 + 10 * math.log10(H * W / 24), abs=1e-6)


def plain_ssim(image, target):
    """SSIM map by its formula, window by window: [H, W, 3] float64."""
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(weights, weights) / weights.sum() ** 2
    padded = [np.pad(x, ((5, 5), (5, 5), (0, 0)), mode="reflect") for x in (image, target)]
    out = np.empty_like(image)
    for row, column, channel in np.ndindex(image.shape):
        a, b = (x[row : row + 11, column : column + 11, channel] for x in padded)
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        variances = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        out[row, column, channel] = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
        out[row, column, channel] /= (mean_a**2 + mean_b**2 + 1e-4) * (variances + 9e-4)
    return out


@settings(max_examples=20, deadline=None)
@given(st.integers(6, 14), st.integers(6, 14), st.floats(0, 0.5), st.integers(0, 99))
def test_ssim_is_its_formula_in_both_precisions(height, width, noise, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 1, (height, width, 3))
    target = (image + noise * rng.normal(size=image.shape)).clip(0, 1)
    expected = plain_ssim(image, target)
    a, b = torch.from_numpy(image), torch.from_numpy(target)
    for image in (a.clone().requires_grad_(), a):  # with a graph float64 is blurred by convolution, as float32 is
        np.testing.assert_allclose(ssim_map(image, b).detach(), expected, atol=1e-11)
    in_training = ssim_map(a.float().requires_grad_(), b.float())  # the loss is taken in float32
    np.testing.assert_allclose(in_training.detach(), expected, rtol=0, atol=2e-5)


def assert_agrees_with_the_libraries(image, truth):
    """To 1e-9 in float64: SSIM of torchmetrics, PSNR of scikit-image and its SSIM 5 pixels off the border."""
    scores = score_view(torch.from_numpy(image), torch.zeros(image.shape[:2]), truth)
    target = truth.rgb.astype(np.float64)
    batches = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (image, target)]
    near = partial(pytest.approx, rel=0, abs=1e-9)
    options = {"data_range": 1.0}
    expected, ssim = torchmetrics_image.structural_similarity_index_measure(*batches, **options, return_full_image=True)
    assert scores.full.ssim == near(float(expected))
    assert scores.moving.ssim == near(float(ssim[0].mean(0)[torch.from_numpy(truth.moving)].mean()))
    # torchmetrics takes its logarithm's base in float32, which moves its PSNR by up to 1e-7 of itself.
    peer = torchmetrics_image.peak_signal_noise_ratio(*batches, **options)
    assert scores.full.psnr == pytest.approx(float(peer), rel=1e-7)
    # The classes that gsplat's evaluation uses keep their sums in float32.
    assert scores.full.ssim == pytest.approx(float(StructuralSimilarityIndexMeasure(**options)(*batches)), abs=1e-6)
    assert scores.full.psnr == pytest.approx(float(PeakSignalNoiseRatio(**options)(*batches)), abs=1e-5)
    assert scores.full.psnr == near(peak_signal_noise_ratio(target, image, data_range=1.0))
    assert 10 ** (-scores.full.psnr / 10) == near(mean_squared_error(target, image))
    mask = truth.moving
    assert scores.moving.psnr == near(peak_signal_noise_ratio(target[mask], image[mask], data_range=1.0))
    options |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    mean, full_map = structural_similarity(target, image, full=True, **options)
    inner = np.zeros(mask.shape, bool)
    inner[5:-5, 5:-5] = True
    inside = score_view(torch.from_numpy(image), torch.zeros(mask.shape), replace(truth, moving=inner))
    assert inside.moving.ssim == near(mean)  # scikit-image leaves the border out of its mean
    part = score_view(torch.from_numpy(image), torch.zeros(mask.shape), replace(truth, moving=mask & inner))
    assert part.moving.ssim == near(full_map[mask & inner].mean())


def test_psnr_and_ssim_are_those_of_torchmetrics_and_scikit_image(image):
    rng = np.random.default_rng(1)
    noisy = (image + rng.normal(0, 0.1, image.shape)).clip(0, 1)
    assert_agrees_with_the_libraries(noisy, truth_with(image, rng.uniform(size=(H, W)) < 0.3))


def test_real_consecutive_frames_score_as_the_libraries_say():
    first, second = (real_truth(frame) for frame in (0, 1))
    mask = np.zeros(first.rgb.shape[:2], bool)
    mask[100:200, 150:400] = True
    assert_agrees_with_the_libraries(second.rgb.astype(np.float64), replace(first, moving=mask))


def real_truth(frame):
    """The front camera of the real log, scaled to a quarter as any view is."""
    jpeg = (real_log() / f"camera/front_camera/{frame:02d}.jpg").read_bytes()
    toy = make_clip(per_frame=3).views[0]
    none = {"depth_pixel": np.zeros(0, np.int32), "depth": np.zeros(0, np.float32), "depth_visible": np.zeros(0, bool)}
    return truth_of(replace(toy, image=jpeg, width=1920, height=1080, moving_mask=None, **none), 480)


def test_golden_values_of_a_fixed_pair():
    rng = np.random.default_rng(42)
    target = rng.integers(0, 256, (40, 60, 3)).astype(np.float32) / 255
    image = (target + rng.normal(0, 0.1, target.shape)).clip(0, 1)
    mask = np.zeros((40, 60), bool)
    mask[:10, 20:50] = True
    scores = score_view(torch.from_numpy(image), torch.zeros(40, 60), truth_with(target, mask))
    assert scores.full.psnr == pytest.approx(GOLDEN_FULL[0], abs=1e-9)
    assert scores.full.ssim == pytest.approx(GOLDEN_FULL[1], abs=1e-9)
    assert scores.moving.psnr == pytest.approx(GOLDEN_MASK[0], abs=1e-9)
    assert scores.moving.ssim == pytest.approx(GOLDEN_MASK[1], abs=1e-9)


def test_float32_renderings_are_scored_in_float64(image):
    wrong = image.astype(np.float32) + np.float32(1e-4)  # 80 dB: float32 sums would be off by more than 1e-6 dB
    truth = truth_with(image)
    exact = -10 * math.log10(np.mean((wrong.astype(np.float64) - truth.rgb) ** 2))
    scores = score_view(torch.from_numpy(wrong), torch.zeros(H, W), truth)
    assert scores.full.psnr == pytest.approx(exact, abs=1e-9)


def test_equal_images_are_infinitely_good_and_so_is_a_mean_with_them(image):
    truth = truth_with(image)
    scores = scored(truth.rgb, truth)
    assert (scores.full.psnr, scores.full.ssim) == (math.inf, pytest.approx(1.0, abs=1e-12))
    finite = scored(image + 0.1, truth).full
    summary = summarise_regions([scores.full, finite])
    assert summary.psnr == math.inf
    assert summary.ssim == pytest.approx((1 + finite.ssim) / 2)
    assert number(summary.psnr, 2) == "∞"
    column = Column("PSNR", "dB", lambda region: region.psnr, 2, "higher")
    assert _best([finite.psnr, scores.full.psnr, None], column) == {1}


def test_masked_ssim_looks_at_the_true_surroundings(image):
    """Blanking the outside would raise the score: the mask selects from the map, it does not paint."""
    mask = np.zeros((H, W), bool)
    mask[8:16, 8:24] = True
    noisy = (image + np.random.default_rng(2).normal(0, 0.3, image.shape)).clip(0, 1)
    blank = mask[..., None]
    honest = scored(noisy, truth_with(image, mask)).moving.ssim
    painted = scored(noisy * blank, truth_with(image * blank)).full.ssim
    assert painted > honest + 0.2


def test_depth_rmse_by_hand_full_and_moving(image):
    mask = np.zeros((H, W), bool)
    mask[0, :2] = True
    truth = truth_with(image, mask, pixel=[0, 1, 3 * W + 2], depth=[10.0, 10.0, 10.0])
    depth = np.full((H, W), 10.0)
    depth[0, 1], depth[3, 2] = 13.0, 14.0
    result = scored(image, truth, depth)
    assert result.full.depth_rmse == pytest.approx(math.sqrt((9 + 16) / 3))
    assert result.moving.depth_rmse == pytest.approx(math.sqrt(9 / 2))
    assert (result.full.depth_pixels, result.moving.depth_pixels) == (3, 2)


def test_empty_sets_are_none(image):
    result = scored(image, truth_with(image, np.zeros((H, W), bool)))
    assert result.full.depth_rmse is None
    nothing = result.moving
    assert (nothing.psnr, nothing.ssim, nothing.depth_rmse, nothing.pixels) == (None, None, None, 0)
    assert scored(image, truth_with(image)).moving is None
    assert depth_rmse(np.zeros((H, W)), truth_with(image)) == (None, 0)


def test_renderings_that_are_not_finite_or_do_not_fit_are_refused(image):
    broken = image.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        scored(broken, truth_with(image))
    for rgb, depth in (((H, W - 1, 3), (H, W - 1)), ((H, W, 3), (H - 1, W))):
        with pytest.raises(ValueError, match="truth is"):
            score_view(torch.zeros(rgb), torch.zeros(depth), truth_with(image))
    with pytest.raises(ValueError, match="NaN"):
        scored(image, truth_with(image), np.full((H, W), np.inf))


def test_ssim_refuses_whole_numbers_and_mixed_precision():
    whole = torch.zeros(8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"one float dtype, got torch.uint8 and torch.uint8"):
        ssim_map(whole, whole)
    with pytest.raises(ValueError, match=r"got torch.float32 and torch.float64"):
        ssim_map(whole.float(), whole.double())


def test_truth_at_full_size_is_the_view():
    view = make_clip(per_frame=3).views[0]
    truth = truth_of(view)
    np.testing.assert_array_equal((truth.rgb * 255).round(), simplejpeg.decode_jpeg(view.image))
    assert 0 < view.depth_visible.sum() < len(view.depth)
    np.testing.assert_array_equal(truth.depth_pixel, view.depth_pixel[view.depth_visible])
    np.testing.assert_array_equal(truth.depth, view.depth[view.depth_visible])
    np.testing.assert_array_equal(truth.moving, view.moving_mask)


def test_scaled_truth_averages_colour_and_keeps_the_nearest_return():
    view = make_clip(per_frame=3).views[0]
    # Rows 10 and 11, columns 20 and 21 fall into row 5, column 10 at half size.
    pixel = np.array([10 * 96 + 20, 11 * 96 + 20, 11 * 96 + 21, 12 * 96 + 20], np.int32)
    depth = np.array([9.0, 3.0, 7.0, 5.0], np.float32)
    visible = np.array([True, False, True, True])  # the nearest of its pixel is hidden from the camera
    view = replace(view, depth_pixel=pixel, depth=depth, depth_visible=visible)
    truth = truth_of(view, 48)
    assert truth.rgb.shape == (27, 48, 3)
    full = simplejpeg.decode_jpeg(view.image).astype(float) / 255
    np.testing.assert_allclose(truth.rgb, full.reshape(27, 2, 48, 2, 3).mean((1, 3)), atol=1e-6)
    assert dict(zip(truth.depth_pixel.tolist(), truth.depth.tolist(), strict=True)) == {
        5 * 48 + 10: 7.0,
        6 * 48 + 10: 5.0,
    }


def test_sizes_that_do_not_divide_take_whole_source_pixels():
    view = make_clip(per_frame=3).views[0]
    full = simplejpeg.decode_jpeg(view.image).astype(float) / 255
    truth = truth_of(view, 40)  # 96x54 to 40x22
    for row, column in ((0, 0), (7, 13), (21, 39)):
        rows = slice(row * 54 // 22, -(-(row + 1) * 54 // 22))
        columns = slice(column * 96 // 40, -(-(column + 1) * 96 // 40))
        np.testing.assert_allclose(truth.rgb[row, column], full[rows, columns].mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize("width", [None, 48])
def test_a_mask_of_another_size_is_refused(width):
    view = replace(make_clip(per_frame=3).views[2], moving_mask=np.zeros((54, 95), bool))
    with pytest.raises(ValueError, match=r"frame 2, front_camera: mask \(54, 95\) of a 96x54 view"):
        truth_of(view, width)


def test_scaled_mask_needs_half_of_the_pixel():
    view = make_clip(per_frame=3).views[0]
    mask = np.zeros((54, 96), bool)
    mask[0, 0] = True  # a quarter of the half-size pixel (0, 0)
    mask[2:4, 4] = True  # half of (1, 2)
    truth = truth_of(replace(view, moving_mask=mask), 48)
    assert np.argwhere(truth.moving).tolist() == [[1, 2]]
    assert truth_of(replace(view, moving_mask=None), 48).moving is None


def test_a_broken_jpeg_names_frame_and_camera():
    view = replace(make_clip(per_frame=3).views[3], image=b"not a jpeg")
    with pytest.raises(ValueError, match=r"frame 3, front_camera: cannot decode"):
        truth_of(view)
