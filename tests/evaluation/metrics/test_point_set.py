from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics.flow_prediction import accumulate_flow
from evaluation.metrics.point_set import P0, PointSet, flow_truth
from evaluation.scoring.noise_floor import clip_floor, group_floors
from evaluation.scoring.protocol import protocol_in_words
from store_schema.labels import Bucket, FlowClass
from tests.support.scenes.toy import BOX_VELOCITY, make_clip

IGNORED, BS, FS, FD = FlowClass


def with_points(clip, **columns):
    return replace(clip, points=replace(clip.points, **columns))


def mixed_clip(seed=0):
    """Both LiDARs, in and out of view, every class, an ego that drives and turns."""
    rng = np.random.default_rng(seed)
    clip = make_clip(per_frame=60)
    count = len(clip.points)
    ego2ego0 = clip.ego2ego0.copy()
    for frame in range(len(ego2ego0)):
        angle = 0.15 * frame
        ego2ego0[frame, :2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        ego2ego0[frame, :3, 3] = [0.3 * frame, 2.0 * frame, 0.1]
    return with_points(
        replace(clip, ego2ego0=ego2ego0),
        sensor=rng.integers(0, 2, count).astype(np.uint8),
        in_view=rng.random(count) < 0.5,
        flow_class=rng.integers(0, 4, count).astype(np.uint8),
        means=rng.uniform(-60, 60, (count, 3)).astype(np.float32),
    )


def plain_rows(clip, lidar, view, within):
    """Slow twin: one point after the other."""
    rows, points = [], clip.points
    for row in range(len(points)):
        wanted = {"spinning": points.sensor[row] == 0, "forward": points.sensor[row] == 1, "all": True}[lidar]
        wanted = wanted and points.flow_class[row] != IGNORED and (view == "everywhere" or points.in_view[row])
        if within is not None:
            ego = np.linalg.inv(clip.ego2ego0[points.frame[row]]) @ np.append(points.means[row].astype(float), 1.0)
            wanted = wanted and abs(ego[0]) < within and abs(ego[1]) < within
        if wanted:
            rows.append(row)
    return rows


def test_p0_is_spinning_lidar_in_view_with_truth():
    clip = make_clip(per_frame=30)
    sensor, in_view, classes = (getattr(clip.points, name).copy() for name in ("sensor", "in_view", "flow_class"))
    sensor[0], in_view[1], classes[2] = 1, False, IGNORED
    clip = with_points(clip, sensor=sensor, in_view=in_view, flow_class=classes)
    np.testing.assert_array_equal(PointSet().scored_points(clip), np.arange(3, len(clip.points)))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 3),
    lidar=st.sampled_from(["spinning", "forward", "all"]),
    view=st.sampled_from(["camera", "everywhere"]),
    within=st.sampled_from([None, 5.0, 35.0, 50.0, 1e4]),
)
def test_every_choice_against_its_plain_twin(seed, lidar, view, within):
    clip = mixed_clip(seed)
    rows = PointSet(lidar=lidar, view=view, within_m=within).scored_points(clip)
    assert rows.tolist() == plain_rows(clip, lidar, view, within)


def test_the_range_is_that_of_the_points_own_sweep_and_strict():
    clip = make_clip(per_frame=30)
    ego2ego0 = clip.ego2ego0.copy()
    ego2ego0[4:, 1, 3] = 100.0  # from frame 4 on the ego is 100 m ahead
    means = np.zeros((len(clip.points), 3), np.float32)
    means[clip.points.frame >= 4, 1] = 100.0
    means[0, 0], means[1, 1], means[2, 2] = 35.0, -35.0, 99.0  # height does not count
    clip = with_points(replace(clip, ego2ego0=ego2ego0), means=means)
    assert PointSet(within_m=35.0).scored_points(clip).tolist() == list(range(2, len(means)))
    assert len(PointSet(within_m=35.01).scored_points(clip)) == len(means)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lidar": "both"}, "lidar must be one of spinning, forward, all"),
        ({"view": "left"}, "view must be one of camera, everywhere"),
        ({"truth": "guess"}, "truth must be one of annotated, smoothed"),
        ({"within_m": 0.0}, "positive number of metres"),
        ({"within_m": float("nan")}, "positive number of metres"),
        ({"within_m": float("inf")}, "positive number of metres, got inf: .*leave it out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PointSet(**settings)


def test_the_protocol_names_what_is_scored():
    record = make_clip(per_frame=30).record
    assert "the input frames' points of the spinning LiDAR inside the camera's view. Image" in protocol_in_words(record)
    other = PointSet(lidar="all", view="everywhere", within_m=35.0, truth="smoothed")
    assert (
        "points of both LiDARs inside and outside the camera's view, |x| and |y| below 35 m from the ego, "
        "true motion along the smoothed tracks." in protocol_in_words(record, other)
    )


def test_annotated_truth_is_what_the_clip_holds():
    clip = mixed_clip()
    truth = flow_truth(clip)
    np.testing.assert_array_equal(truth.row, P0.scored_points(clip))
    np.testing.assert_array_equal(truth.flow, clip.points.flow[truth.row])
    np.testing.assert_array_equal(truth.flow_class, clip.points.flow_class[truth.row])
    np.testing.assert_array_equal(truth.other_flow, clip.points.smooth_flow[truth.row])
    np.testing.assert_allclose(truth.dt, 0.1)


def test_smoothed_truth_swaps_the_flows_and_redraws_the_foreground_classes():
    clip = make_clip(per_frame=30)
    flow, smooth = np.zeros((2, len(clip.points), 3), np.float32)
    classes, buckets = clip.points.flow_class.copy(), clip.points.bucket.copy()
    smooth[:6, 0] = [0.049, 0.051, 0.051, 0.2, 0.2, 0.0]
    flow[:6, 0] = [0.051, 0.049, 0.0, 0.2, 0.2, 0.3]
    classes[:6] = [FD, FS, BS, IGNORED, FD, FD]
    buckets[:6] = Bucket.CAR
    clip = with_points(clip, flow=flow, smooth_flow=smooth, flow_class=classes, bucket=buckets)
    truth = flow_truth(clip, PointSet(truth="smoothed"))
    assert truth.row[:5].tolist() == [0, 1, 2, 4, 5]
    assert truth.flow_class[:5].tolist() == [FS, FD, BS, FD, FS]
    np.testing.assert_array_equal(truth.flow, smooth[truth.row])
    np.testing.assert_array_equal(truth.other_flow, flow[truth.row])
    np.testing.assert_array_equal(truth.row, flow_truth(clip).row)


def test_an_old_store_has_no_smoothed_truth_and_no_floor():
    clip = with_points(make_clip(per_frame=30), smooth_flow=None)
    with pytest.raises(ValueError, match=r"toy-evaluation-s000 has no motion along smoothed tracks.*--truth annotated"):
        flow_truth(clip, PointSet(truth="smoothed"))
    truth = flow_truth(clip)
    assert truth.other_flow is None
    floor = clip_floor(clip.record, False, truth)
    assert (floor.clip.flow, floor.flow) == (None, None)


def test_the_floor_is_the_other_flow_scored_as_a_prediction():
    clip = make_clip(per_frame=30)
    points = clip.points
    for choice, true, other in (
        (P0, points.flow, points.smooth_flow),
        (PointSet(truth="smoothed"), points.smooth_flow, points.flow),
    ):
        truth = flow_truth(clip, choice)
        floor = clip_floor(clip.record, False, truth).clip.flow
        expected = np.linalg.norm(other[truth.row].astype(float) - true[truth.row], axis=1)
        assert floor.epe3d == pytest.approx(expected.mean(), rel=1e-12)
        assert floor.epe_fd == pytest.approx(0.01 * BOX_VELOCITY[1], rel=1e-5)
        assert floor.points == len(truth.row) == accumulate_flow(truth.flow, truth).result().points


def test_floors_pool_points_over_clips_and_need_every_clip():
    small, large = make_clip(per_frame=30), make_clip(per_frame=90, seed=1)
    large = with_points(large, smooth_flow=large.points.flow * np.float32(1.4))
    floors = [clip_floor(c.record, seen, flow_truth(c)) for c, seen in ((small, True), (large, False))]
    pooled = {floor.group: floor for floor in group_floors(floors)}
    assert pooled["seen"].flow.epe_fd == pytest.approx(0.05, rel=1e-4)
    assert pooled["unseen"].flow.epe_fd == pytest.approx(0.2, rel=1e-4)
    assert pooled["all"].flow.epe_fd == pytest.approx((30 * 0.05 + 90 * 0.2) / 120, rel=1e-4)
    assert (pooled["all"].clips, pooled["all"].flow.points) == (2, 6 * (30 + 90))
    old = with_points(small, smooth_flow=None)
    mixed = {f.group: f.flow for f in group_floors([clip_floor(old.record, True, flow_truth(old)), floors[1]])}
    assert (mixed["all"], mixed["seen"]) == (None, None)
    assert mixed["unseen"] == pooled["unseen"].flow


@pytest.mark.parametrize("smoothed", [True, False])
def test_a_clip_without_points_to_score_has_an_empty_floor(smoothed):
    clip = make_clip(per_frame=30)
    nothing = np.zeros(len(clip.points), np.uint8)
    clip = with_points(clip, flow_class=nothing, smooth_flow=clip.points.smooth_flow if smoothed else None)
    for choice in (P0, PointSet(truth="smoothed")):
        truth = flow_truth(clip, choice)
        floor = clip_floor(clip.record, False, truth).clip.flow
        assert (len(truth.row), floor.points, floor.epe3d, floor.epe_3way) == (0, 0, None, None)
