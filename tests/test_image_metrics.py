import math
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
import torch
from skimage.metrics import structural_similarity

from evaluation.image_metrics import depth_rmse, score_view
from evaluation.truth import Truth, truth_of
from tests.toy import make_clip

H, W = 24, 32


def truth_with(rgb, moving=None, pixel=(), depth=()):
    camera = truth_of(make_clip(per_frame=3).views[0]).camera
    return Truth(camera, rgb.astype(np.float32), np.array(pixel, np.int64), np.array(depth, np.float32), moving)


def scored(image, truth, depth=None):
    depths = torch.zeros(H, W) if depth is None else torch.from_numpy(depth)
    return score_view(torch.from_numpy(image.astype(np.float32)), depths, truth)


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0.2, 0.8, (H, W, 3))


def test_psnr_of_a_known_error(image):
    assert scored(image + 0.1, truth_with(image)).full.psnr == pytest.approx(20.0, abs=1e-4)


def test_error_in_one_channel_is_averaged_over_three(image):
    wrong = image.copy()
    wrong[..., 0] += 0.1
    assert scored(wrong, truth_with(image)).full.psnr == pytest.approx(20.0 + 10 * math.log10(3), abs=1e-4)


def test_prediction_is_clipped_before_it_is_compared():
    white = np.ones((H, W, 3))
    assert scored(white * 1.5, truth_with(white)).full.psnr == math.inf


def test_masked_psnr_divides_by_mask_times_three(image):
    mask = np.zeros((H, W), bool)
    mask[4:10, 5:9] = True
    wrong = image + 0.1 * mask[..., None]
    result = scored(wrong, truth_with(image, mask))
    assert result.moving.psnr == pytest.approx(20.0, abs=1e-4)
    assert result.moving.pixels == 24
    assert result.full.psnr == pytest.approx(20.0 + 10 * math.log10(H * W / 24), abs=1e-4)


def test_ssim_agrees_with_scikit_image_away_from_the_border(image):
    noisy = (image + np.random.default_rng(1).normal(0, 0.1, image.shape)).clip(0, 1).astype(np.float32)
    inner = np.zeros((H, W), bool)
    inner[5:-5, 5:-5] = True
    expected = structural_similarity(
        noisy.astype(np.float64),
        image,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )
    assert scored(noisy, truth_with(image, inner)).moving.ssim == pytest.approx(expected, abs=1e-5)


def test_ssim_agrees_with_torchmetrics_on_the_full_image(image):
    from torchmetrics.functional.image import structural_similarity_index_measure

    noisy = (image + np.random.default_rng(1).normal(0, 0.1, image.shape)).clip(0, 1).astype(np.float32)
    batches = [torch.from_numpy(i.astype(np.float32)).permute(2, 0, 1)[None] for i in (noisy, image)]
    expected = structural_similarity_index_measure(*batches, data_range=1.0)
    assert scored(noisy, truth_with(image)).full.ssim == pytest.approx(float(expected), abs=1e-6)


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
    assert result.full.d_rmse == pytest.approx(math.sqrt((9 + 16) / 3))
    assert result.moving.d_rmse == pytest.approx(math.sqrt(9 / 2))
    assert (result.full.depth_pixels, result.moving.depth_pixels) == (3, 2)


def test_empty_sets_are_none(image):
    result = scored(image, truth_with(image, np.zeros((H, W), bool)))
    assert result.full.d_rmse is None
    assert (result.moving.psnr, result.moving.ssim, result.moving.d_rmse, result.moving.pixels) == (None, None, None, 0)
    assert scored(image, truth_with(image)).moving is None
    assert depth_rmse(np.zeros((H, W)), truth_with(image)) == (None, 0)


def test_renderings_that_are_not_finite_or_do_not_fit_are_refused(image):
    broken = image.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        scored(broken, truth_with(image))
    with pytest.raises(ValueError, match="truth is"):
        score_view(torch.zeros(H, W - 1, 3), torch.zeros(H, W - 1), truth_with(image))


def test_truth_at_full_size_is_the_view():
    view = make_clip(per_frame=3).views[0]
    truth = truth_of(view)
    np.testing.assert_array_equal((truth.rgb * 255).round(), simplejpeg.decode_jpeg(view.jpeg))
    np.testing.assert_array_equal(truth.depth_pixel, view.depth_pixel)
    np.testing.assert_array_equal(truth.moving, view.moving_mask)


def test_scaled_truth_averages_colour_and_keeps_the_nearest_return():
    view = make_clip(per_frame=3).views[0]
    # Rows 10 and 11, columns 20 and 21 fall into row 5, column 10 at half size.
    pixel = np.array([10 * 96 + 20, 11 * 96 + 21, 12 * 96 + 20], np.int32)
    view = replace(view, depth_pixel=pixel, depth=np.array([9.0, 7.0, 5.0], np.float32))
    truth = truth_of(view, 48)
    assert truth.rgb.shape == (27, 48, 3)
    full = simplejpeg.decode_jpeg(view.jpeg).astype(float) / 255
    np.testing.assert_allclose(truth.rgb, full.reshape(27, 2, 48, 2, 3).mean((1, 3)), atol=1e-6)
    assert dict(zip(truth.depth_pixel.tolist(), truth.depth.tolist(), strict=True)) == {
        5 * 48 + 10: 7.0,
        6 * 48 + 10: 5.0,
    }


def test_scaled_mask_needs_half_of_the_pixel():
    view = make_clip(per_frame=3).views[0]
    mask = np.zeros((54, 96), bool)
    mask[0, 0] = True  # a quarter of the half-size pixel (0, 0)
    mask[2:4, 4] = True  # half of (1, 2)
    truth = truth_of(replace(view, moving_mask=mask), 48)
    assert np.argwhere(truth.moving).tolist() == [[1, 2]]
    assert truth_of(replace(view, moving_mask=None), 48).moving is None


def test_a_broken_jpeg_names_frame_and_camera():
    view = replace(make_clip(per_frame=3).views[3], jpeg=b"not a jpeg")
    with pytest.raises(ValueError, match=r"frame 3, front_camera: cannot decode"):
        truth_of(view)
