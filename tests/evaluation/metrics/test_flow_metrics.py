import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.metrics.flow import BUCKETS, SPEED_EDGES_M, FlowAccumulator
from evaluation.metrics.flow_prediction import accumulate_flow, predicted_flow
from evaluation.metrics.point_set import flow_truth
from flux4d.gaussians import Gaussians
from store_schema.labels import Bucket, FlowClass
from tests.support.scenes.toy import BOX_VELOCITY, make_clip

BS, FS, FD = FlowClass.BACKGROUND_STATIC, FlowClass.FOREGROUND_STATIC, FlowClass.FOREGROUND_DYNAMIC


def scores(pred, true, classes, buckets, dt=0.1):
    accumulator = FlowAccumulator()
    accumulator.add(pred, true, classes, buckets, dt)
    return accumulator.result()


def random_points(rng, count=4000):
    """Flow of all classes and buckets, a third of it still, with errors of every size."""
    true = rng.normal(0, 0.6, (count, 3)) * rng.uniform(0, 1, (count, 1)) * (rng.uniform(0, 1, (count, 1)) > 0.3)
    pred = true + rng.normal(0, 0.08, (count, 3)) * rng.uniform(0, 2, (count, 1))
    buckets = rng.choice([*BUCKETS, Bucket.OTHER], count)
    moving = np.linalg.norm(true, axis=1) >= 0.05
    classes = np.where(buckets == Bucket.BACKGROUND, BS, np.where(moving, FD, FS))
    true[buckets == Bucket.BACKGROUND] = 0.0
    return pred, true, classes, buckets, rng.uniform(0.09, 0.11, count)


def gaussians_of(points, rows, velocity=(0.0, 0.0, 0.0)):
    count = len(rows)
    velocities = torch.zeros(count, 1, 3) + torch.tensor(velocity)
    return Gaussians(
        means=torch.from_numpy(points.means[rows]),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        scales=torch.full((count, 3), 0.1),
        opacities=torch.full((count,), 0.5),
        rgb=torch.full((count, 3), 0.5),
        times=torch.from_numpy(points.times[rows]),
        velocities=velocities,
        is_sky=torch.zeros(count, dtype=torch.bool),
        source=torch.from_numpy(np.asarray(rows, np.int64)),
    )


def test_four_points_by_hand():
    true = [[0, 0, 0], [0, 0, 0], [1.0, 0, 0], [0, 2.5, 0]]
    pred = [[0.03, 0, 0], [0, 0.07, 0], [1.08, 0, 0], [0, 0, 0]]
    result = scores(pred, true, [BS, FS, FD, FD], [Bucket.BACKGROUND, Bucket.CAR, Bucket.CAR, Bucket.PEDESTRIAN])
    assert (result.points, result.points_bs, result.points_fs, result.points_fd) == (4, 1, 1, 2)
    assert result.epe3d == pytest.approx((0.03 + 0.07 + 0.08 + 2.5) / 4)
    assert (result.acc5, result.acc5_abs) == (0.25, 0.25)  # 8 % of 1 m is neither
    assert (result.acc10, result.acc10_abs) == (0.75, 0.75)
    assert (result.epe_bs, result.epe_fs, result.epe_fd) == pytest.approx((0.03, 0.07, 1.29))
    assert result.epe_3way == pytest.approx((0.03 + 0.07 + 1.29) / 3)
    angles = [math.atan(0.3), math.atan(0.7), math.atan(10.8) - math.atan(10), math.atan(25)]
    assert result.theta == pytest.approx(sum(angles) / 4)
    assert result.theta_dyn == pytest.approx((0 + math.pi / 2) / 2)
    assert result.v_rmse == pytest.approx(10 * math.sqrt((0.03**2 + 0.07**2 + 0.08**2 + 2.5**2) / 4))
    assert result.v_rmse_dyn == pytest.approx(10 * math.sqrt((0.08**2 + 2.5**2) / 2))
    assert result.v_rmse_component == pytest.approx(result.v_rmse / math.sqrt(3))
    assert result.bucket_static_epe["CAR"] == pytest.approx(0.07)
    assert result.bucket_dynamic_nepe["CAR"] == pytest.approx(0.08)
    assert result.bucket_dynamic_nepe["PEDESTRIAN"] == pytest.approx(1.0)
    assert result.mean_dynamic_nepe == pytest.approx((0.08 + 1.0) / 2)
    assert result.bucket_static_epe["WHEELED_VRU"] is None
    assert (result.bucket_points["CAR"], result.bucket_static_points["CAR"]) == (2, 1)


def test_relative_accuracy_saves_fast_points_and_limits_are_strict():
    result = scores([[2.08, 0, 0], [0.1, 0, 0]], [[2.0, 0, 0], [0, 0, 0]], [FD, BS], [Bucket.CAR, Bucket.BACKGROUND])
    assert (result.acc5, result.acc5_abs) == (0.5, 0.0)  # 4 % of 2 m, but 8 cm
    assert (result.acc10, result.acc10_abs) == (0.5, 0.5)  # an error of exactly 0.1 m is not below it


def test_a_bin_takes_its_lower_edge_and_the_ratio_of_means():
    edge = SPEED_EDGES_M[1]
    true = [[edge, 0, 0], [edge * 1.5, 0, 0], [3.0, 0, 0]]
    result = scores([[0, 0, 0], [edge * 1.5, 0, 0], [0, 0, 0]], true, [FD] * 3, [Bucket.CAR] * 3)
    assert result.bucket_static_epe["CAR"] is None  # 0.04 m is not below 0.04 m
    assert result.bucket_dynamic_nepe["CAR"] == pytest.approx((edge / (2.5 * edge) + 1.0) / 2)


def test_other_foreground_is_scored_three_way_but_not_in_buckets():
    result = scores([[0, 0, 0]], [[1, 0, 0]], [FD], [Bucket.OTHER])
    assert (result.points_fd, result.epe_fd) == (1, 1.0)
    assert sum(result.bucket_points.values()) == 0
    assert result.mean_dynamic_nepe is None


def test_no_points_give_none_and_zero_counts():
    result = scores(np.zeros((1, 3)), np.zeros((1, 3)), [FlowClass.IGNORED], [Bucket.CAR])
    empty = FlowAccumulator().result()
    assert result == empty
    assert (empty.points, empty.epe3d, empty.theta, empty.epe_3way, empty.v_rmse, empty.mean_static_epe) == (
        0,
        *[None] * 5,
    )


def test_three_way_mean_needs_all_three_classes():
    result = scores([[0.1, 0, 0]], [[0, 0, 0]], [BS], [Bucket.BACKGROUND])
    assert result.epe_bs == pytest.approx(0.1)
    assert result.epe_3way is None


def test_against_a_plain_loop():
    """Slow twin: every metric from its definition, one point after the other."""
    pred, true, classes, buckets, dt = random_points(np.random.default_rng(0), 600)
    pred[::9] = 0.0
    assert ((classes == FD) & (pred == 0).all(axis=1)).any()
    errors, accurate, angles, turns, speed2, dynamic2 = [], [], [], [], [], []
    bins = {}
    for p, t, c, b, step in zip(pred, true, classes, buckets, dt, strict=True):
        error, speed = math.dist(p, t), math.hypot(*t)
        errors.append(error)
        accurate.append(error < 0.05 or error / (speed + 1e-10) < 0.05)
        u, v = np.append(p, 0.1), np.append(t, 0.1)
        angles.append(math.acos(min(1.0, u @ v / math.sqrt((u @ u) * (v @ v)))))
        speed2.append((error / step) ** 2)
        if c == FD:
            dynamic2.append((error / step) ** 2)
            turns.append(math.acos(max(-1.0, min(1.0, p @ t / math.hypot(*p) / speed))) if p.any() else math.pi / 2)
        if b != Bucket.OTHER:
            number = next(k for k in range(51) if SPEED_EDGES_M[k] <= speed < SPEED_EDGES_M[k + 1])
            bins.setdefault((Bucket(b).name, number), []).append((error, speed))
    result = scores(pred, true, classes, buckets, dt)
    assert result.epe3d == pytest.approx(np.mean(errors), rel=1e-12)
    assert result.acc5 == pytest.approx(np.mean(accurate), rel=1e-12)
    assert result.theta == pytest.approx(np.mean(angles), rel=1e-9)
    assert result.theta_dyn == pytest.approx(np.mean(turns), rel=1e-9)
    assert result.v_rmse == pytest.approx(math.sqrt(np.mean(speed2)), rel=1e-12)
    assert result.v_rmse_dyn == pytest.approx(math.sqrt(np.mean(dynamic2)), rel=1e-12)
    for bucket in BUCKETS:
        ratios = [np.sum(v, 0)[0] / np.sum(v, 0)[1] for (n, k), v in bins.items() if n == bucket.name and k > 0]
        assert result.bucket_dynamic_nepe[bucket.name] == (pytest.approx(np.mean(ratios)) if ratios else None)


def test_merged_parts_equal_the_whole_and_differ_from_the_mean_of_parts():
    pred, true, classes, buckets, dt = random_points(np.random.default_rng(1))
    whole = scores(pred, true, classes, buckets, dt)
    merged, parts = FlowAccumulator(), []
    for low, high in itertools.pairwise([0, 100, 1500, 4000]):
        part = FlowAccumulator()
        part.add(pred[low:high], true[low:high], classes[low:high], buckets[low:high], dt[low:high])
        merged.merge(part)
        parts.append(part.result().mean_dynamic_nepe)
    result = merged.result()
    assert result.epe_3way == pytest.approx(whole.epe_3way, rel=1e-12)
    assert result.theta_dyn == pytest.approx(whole.theta_dyn, rel=1e-12)
    assert result.mean_dynamic_nepe == pytest.approx(whole.mean_dynamic_nepe, rel=1e-12)
    assert result.points == whole.points
    assert abs(np.mean(parts) - whole.mean_dynamic_nepe) > 1e-3


@pytest.mark.parametrize(
    ("pred", "dt", "message"),
    [
        ([[np.nan, 0, 0]], 0.1, "1 of 1 points is not finite"),
        ([[0, 0, 0]], 0.0, "must be positive"),
        ([[0, 0, 0]] * 2, 0.1, "flow of 2 points"),
    ],
)
def test_bad_input_is_refused(pred, dt, message):
    with pytest.raises(ValueError, match=message):
        scores(pred, [[0, 0, 0]], [BS], [Bucket.BACKGROUND], dt)


def test_true_velocities_give_zero_error_whatever_the_order_of_gaussians():
    clip = make_clip(per_frame=60)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(clip.points))
    gaussians = gaussians_of(clip.points, rows)
    moving = torch.from_numpy(clip.points.flow_class[rows] == FD)
    velocities = torch.where(moving[:, None, None], torch.from_numpy(BOX_VELOCITY).float(), torch.zeros(1))
    truth = flow_truth(clip)
    predicted = predicted_flow(replace(gaussians, velocities=velocities), clip, truth)
    result = accumulate_flow(predicted.flow, truth).result()
    assert result.points == len(clip.points)
    assert result.epe3d == pytest.approx(0.0, abs=1e-6)
    assert predicted.nearest == 0


def test_flow_uses_the_stamps_of_the_sweeps():
    clip = make_clip(per_frame=30)
    times = clip.sweep_times.copy()
    times[1:] += 0.02  # the first pair takes 0.12 s
    clip = replace(clip, sweep_times=times)
    truth = flow_truth(clip)
    predicted = predicted_flow(gaussians_of(clip.points, np.arange(len(clip.points)), (1.0, 0, 0)), clip, truth)
    first = clip.points.frame[truth.row] == 0
    np.testing.assert_allclose(predicted.flow[first, 0], 0.12)
    np.testing.assert_allclose(predicted.flow[~first, 0], 0.10)


def test_polynomial_velocity_is_taken_at_the_points_own_time():
    clip = make_clip(per_frame=30)
    gaussians = gaussians_of(clip.points, np.arange(len(clip.points)))
    velocities = torch.tensor([[1.0, 0, 0], [2.0, 0, 0]]).expand(len(gaussians), 2, 3)  # v(t) = 1 + 2 t
    predicted = predicted_flow(replace(gaussians, velocities=velocities), clip, flow_truth(clip))
    np.testing.assert_allclose(predicted.flow[:, 0], (1 + 2 * clip.points.times) * 0.1, rtol=1e-5)


def test_points_without_a_gaussian_take_the_nearest_of_their_frame():
    clip = make_clip(per_frame=60)
    kept = np.flatnonzero(np.arange(len(clip.points)) % 3 != 0)
    gaussians = gaussians_of(clip.points, kept)
    velocity = torch.from_numpy(np.random.default_rng(0).normal(size=(len(kept), 3))).float()
    truth = flow_truth(clip)
    predicted = predicted_flow(replace(gaussians, velocities=velocity[:, None]), clip, truth)
    assert predicted.nearest == len(clip.points) - len(kept)
    for row in range(0, len(clip.points), 30):  # slow twin: compare with every Gaussian of the frame
        same = np.flatnonzero(clip.points.frame[kept] == clip.points.frame[row])
        distance = np.linalg.norm(clip.points.means[kept[same]] - clip.points.means[row], axis=1)
        expected = velocity[same[distance.argmin()]].numpy() * 0.1
        np.testing.assert_allclose(predicted.flow[truth.row == row][0], expected, rtol=1e-5)


def test_a_frame_without_gaussians_is_an_error():
    clip = make_clip(per_frame=30)
    kept = np.flatnonzero(clip.points.frame != 4)
    with pytest.raises(ValueError, match="frame 4: 30 points to score but no Gaussian"):
        predicted_flow(gaussians_of(clip.points, kept), clip, flow_truth(clip))


def test_last_frame_without_next_sweep_is_counted_not_guessed():
    clip = make_clip(per_frame=30, setting="train_interpolation")
    truth = flow_truth(clip)
    assert truth.without_next_sweep == 30
    assert len(truth.row) == len(truth.dt) == len(clip.points) - 30
    predicted = predicted_flow(gaussians_of(clip.points, np.arange(len(clip.points))), clip, truth)
    assert len(predicted.flow) == len(clip.points) - 30
