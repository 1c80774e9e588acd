import json
import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from rich.console import Console

from evaluation.methods.method import SceneMethod
from evaluation.methods.standard import scene_that_holds, standard_methods
from evaluation.metrics.flow_prediction import accumulate_flow, predicted_flow
from evaluation.metrics.image import RegionScores
from evaluation.metrics.point_set import P0, PointSet, flow_truth
from evaluation.report.columns import FLOW_COLUMNS, bucket_columns
from evaluation.report.table_text import markdown, rich_tables
from evaluation.report.tables import FLOOR, SUMMARY_COLUMNS, all_tables, clip_flow_table, flow_table, summary_table
from evaluation.run_folder.seen_frames import SeenFrames
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation, summarise_regions
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from store_schema.json_dataclass import from_json, load_json
from store_schema.labels import FlowClass
from tests.support.scenes.toy import make_clip

SCENE = SceneConfig(sky=SkyConfig(spacing=0.05))


def with_true_velocities(clip):
    gaussians = lift_clip(clip, SCENE)
    velocities, source = gaussians.velocities.clone(), gaussians.source.numpy()
    lifted = np.flatnonzero(source >= 0)
    velocities[lifted, 0] = torch.from_numpy(clip.points.flow[source[lifted]] / 0.1)
    return replace(gaussians, velocities=velocities)


STILL = SceneMethod("still", "lifted", lambda clip: lift_clip(clip, SCENE))
TRUE = SceneMethod("true", "lifted, moved by the true flow", with_true_velocities)


def named(clip, log, **changes):
    record = replace(clip.record, log_id=log, clip_id=f"{log}-evaluation-s000")
    return replace(clip, record=record, **changes)


def broken_scene(clip):
    gaussians = lift_clip(clip, SCENE)
    return replace(gaussians, means=torch.full_like(gaussians.means, float("nan")))


def test_what_goes_wrong_while_scoring_names_the_clip_once(two_clips):
    def far(clip):
        means = clip.points.means.copy()
        means[0, 0] = 1e7
        return lift_clip(replace(clip, points=replace(clip.points, means=means)), SceneConfig(crop_to_views=False))

    clip = two_clips[0]
    torn = tuple(replace(view, image=b"torn") for view in clip.views)
    for clips, method, message in (
        ([clip], SceneMethod("nan", "", broken_scene), "means of .* not finite"),
        ([clip], SceneMethod("far", "", far), "position: values span"),
        ([replace(clip, views=clip.views_of("input"))], STILL, "no interpolation or future view"),
        ([replace(clip, views=torn)], STILL, "frame 1, front_camera: cannot decode"),
    ):
        with pytest.raises(ValueError, match=f"^clip open-evaluation-s000: {message}") as caught:
            evaluate(clips, [method], ScoringConfig(width=32, backend="cpu"))
        assert str(caught.value).count("open-evaluation-s000") == 1


@pytest.fixture(scope="module")
def two_clips():
    blind = named(make_clip(per_frame=150, seed=1), "blind", boxes=None)
    points = replace(blind.points, flow_class=np.zeros(len(blind.points), np.uint8))
    views = tuple(replace(view, moving_mask=None) for view in blind.views)
    return [named(make_clip(per_frame=300), "open"), replace(blind, points=points, views=views)]


@pytest.fixture(scope="module")
def evaluation(two_clips):
    return evaluate(
        iter(two_clips), [STILL, TRUE], ScoringConfig(backend="cpu", seen_frames=SeenFrames({"blind": ((6, 16),)}))
    )


def test_every_target_frame_is_scored_once_and_inputs_never(evaluation):
    rows = [
        (row.frame, row.role)
        for row in evaluation.frames
        if (row.method, row.clip_id) == ("true", "open-evaluation-s000")
    ]
    assert rows == [(f, "interpolation") for f in (1, 3, 5, 7, 9)] + [(f, "future") for f in (11, 12, 13, 14, 15)]


def test_summaries_keep_interpolation_and_future_apart(evaluation):
    for part in ("interpolation", "future"):
        rows = [row.scores.full.psnr for row in evaluation.frames if row.role == part and row.method == "still"]
        summary = getattr(evaluation.summary("still"), part).full
        assert summary.psnr == pytest.approx(np.mean(rows))
        assert summary.frames == 10
    still, moved = evaluation.summary("still").future.moving, evaluation.summary("true").future.moving
    assert still.psnr != moved.psnr


def test_true_motion_beats_no_motion_where_things_move(evaluation):
    still, moved = (evaluation.summary(name, "unseen") for name in ("still", "true"))
    assert moved.flow.epe3d == pytest.approx(0.0, abs=1e-6)
    assert still.flow.epe_fd == pytest.approx(0.5)
    assert still.flow.v_rmse_dyn == pytest.approx(5.0, rel=1e-4)
    assert moved.future.full.psnr > still.future.full.psnr + 0.1


def test_logs_without_cuboids_are_na_and_noted(evaluation):
    blind = evaluation.summary("still", "seen")
    assert blind.flow.points == 0
    assert blind.flow.epe3d is None
    assert (blind.interpolation.moving.psnr, blind.interpolation.moving.frames) == (None, 0)
    assert blind.interpolation.full.frames == 5
    assert any("blind has no cuboids" in note for note in evaluation.notes)
    assert evaluation.summary("still").flow.points == evaluation.summary("still", "unseen").flow.points


def test_saved_evaluation_reads_back_equal(evaluation, tmp_path):
    path = tmp_path / "evaluation.json"
    infinite = replace(evaluation.frames[0].scores.full, psnr=math.inf)
    frame = replace(evaluation.frames[0], scores=replace(evaluation.frames[0].scores, full=infinite))
    changed = replace(evaluation, frames=(frame, *evaluation.frames[1:]))
    changed.save(path)
    assert Evaluation.load(path) == changed
    json.loads(path.read_text(), parse_constant=pytest.fail)  # no bare NaN or Infinity


def test_a_file_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text('{"protocol": "x", "colour": 1}')
    with pytest.raises(ValueError, match=r"evaluation.json does not hold a Evaluation.*colour"):
        Evaluation.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="does not hold"):
        load_json(path, Evaluation)


def test_scene_settings_survive_json():
    config = SceneConfig(max_gaussians=10, sky=SkyConfig(spacing=0.1))
    assert from_json(SceneConfig, json.loads(json.dumps(asdict(config)))) == config


def test_frame_averages_skip_empty_regions():
    full, empty = RegionScores(20.0, 0.5, 2.0, 10, 4), RegionScores(None, None, None, 0, 0)
    without_lidar = RegionScores(30.0, 0.7, None, 6, 0)
    summary = summarise_regions([full, empty, None, without_lidar])
    assert (summary.psnr, summary.depth_rmse, summary.frames, summary.depth_frames) == (25.0, 2.0, 2, 1)
    assert (summary.pixels, summary.depth_pixels) == (16, 4)
    assert summarise_regions([empty]).psnr is None


def test_rendered_width_scales_everything(two_clips):
    small = evaluate(two_clips[:1], [STILL], ScoringConfig(width=48, backend="cpu"))
    assert (small.width, small.height) == (48, 27)
    assert small.frames[0].scores.full.pixels == 48 * 27


def test_bad_requests_say_what_is_wrong(two_clips):
    with pytest.raises(ValueError, match="different names"):
        evaluate(two_clips, [STILL, STILL])
    with pytest.raises(ValueError, match="no clip to evaluate"):
        evaluate([], [STILL])
    with pytest.raises(ValueError, match=r"clip open-evaluation-s000 comes twice.*name it once"):
        evaluate([two_clips[0], two_clips[1], two_clips[0]], [STILL], ScoringConfig(width=48, backend="cpu"))
    with pytest.raises(ValueError, match="no interpolation or future view"):
        evaluate([replace(two_clips[0], views=two_clips[0].views_of("input"))], [STILL])


def test_lifted_equals_static_without_a_network():
    lifted, static, moving = standard_methods(None, SCENE, "cpu")
    assert [m.name for m in (lifted, static, moving)] == ["lifted", "static", "flux4d"]
    clip = make_clip(per_frame=30)
    assert torch.equal(lifted.reconstruct(clip).means, static.reconstruct(clip).means)


def test_scenes_are_cropped_only_when_the_scored_points_are():
    clip = clip_all_around()
    for view, lifted in (("camera", int(clip.points.in_view.sum())), ("everywhere", len(clip.points))):
        for method in standard_methods(None, SCENE, "cpu", PointSet(view=view)):
            assert (method.reconstruct(clip).source >= 0).sum() == lifted
            assert method.description.endswith("not cropped to the views") == (view == "everywhere")


def test_tables_mark_the_best_print_na_and_counts(evaluation):
    table = summary_table("Results", evaluation, SUMMARY_COLUMNS)
    assert [row.labels for row in table.rows] == [
        (method, group) for group in ("unseen (1)", "seen (1)", "all (2)") for method in ("still", "true")
    ]
    epe = next(i for i, head in enumerate(table.heads) if head.startswith("EPE3D"))
    assert [row.cells[epe] for row in table.rows[:4]] == ["0.167", "0.000", "n/a", "n/a"]
    assert [row.best[epe] for row in table.rows[:4]] == [False, True, False, False]
    text = "\n".join(markdown(part) for part in all_tables(evaluation))
    assert "Scene flow EPE3D ↓ [m]" in text
    assert "**0.000**" in text
    assert "nan" not in text.lower()
    printed = in_the_terminal(evaluation)
    assert re.search(r" moving .*\n.* PSNR ↑ ", printed)
    assert " dB" in printed
    assert "n/a" in printed


def test_flow_of_the_whole_is_pooled_over_clips():
    few = named(make_clip(per_frame=30), "few")
    many = named(make_clip(per_frame=300, seed=2), "many")
    moving = many.points.flow_class == FlowClass.FOREGROUND_DYNAMIC
    flow = many.points.flow * np.where(moving, 2.0, 1.0)[:, None].astype(np.float32)
    many = replace(many, points=replace(many.points, flow=flow))
    result = evaluate([few, many], [STILL], ScoringConfig(width=48, backend="cpu"))
    assert result.summary("still").flow.epe_fd == pytest.approx((30 * 0.5 + 300 * 1.0) / 330, rel=1e-4)


def with_points(clip, **columns):
    return replace(clip, points=replace(clip.points, **columns))


def cells(table, head):
    """Cells of the columns whose head begins so, by row label."""
    index = next(i for i, name in enumerate(table.heads) if name.startswith(head))
    return [(*row.labels, row.cells[index], row.best[index]) for row in table.rows]


def test_noise_floor_is_measured_for_every_group_and_clip(evaluation):
    groups = {floor.group: floor for floor in evaluation.floors}
    assert list(groups) == ["all", "seen", "unseen"]
    assert groups["unseen"].flow.epe_fd == pytest.approx(0.05, rel=1e-5)
    assert groups["unseen"].flow.v_rmse_dyn == pytest.approx(0.5, rel=1e-5)
    assert (groups["seen"].flow.points, groups["seen"].flow.epe3d) == (0, None)
    for group, floor in groups.items():
        summary = evaluation.summary("still", group)
        assert (floor.clips, floor.flow.points) == (summary.clips, summary.flow.points)
    assert [(f.clip_id, f.seen) for f in evaluation.clip_floors] == [
        ("open-evaluation-s000", False),
        ("blind-evaluation-s000", True),
    ]
    assert evaluation.clip_floors[0].flow == groups["unseen"].flow


def test_noise_floor_is_the_last_row_of_flow_tables_and_never_the_best(two_clips):
    others = [STILL, replace(STILL, name="still too")]  # both worse than the floor
    evaluation = evaluate(
        two_clips, others, ScoringConfig(width=48, backend="cpu", seen_frames=SeenFrames({"blind": ((6, 16),)}))
    )
    assert cells(flow_table("Flow", evaluation, FLOW_COLUMNS), "EPE-FD") == [
        ("still", "unseen (1)", "0.500", False),
        ("still too", "unseen (1)", "0.500", False),
        (FLOOR, "unseen (1)", "0.050", False),
        ("still", "seen (1)", "n/a", False),
        ("still too", "seen (1)", "n/a", False),
        (FLOOR, "seen (1)", "n/a", False),
        ("still", "all (2)", "0.500", False),
        ("still too", "all (2)", "0.500", False),
        (FLOOR, "all (2)", "0.050", False),
    ]
    assert cells(clip_flow_table("Clips", evaluation, FLOW_COLUMNS), "EPE-FD")[2::3] == [
        ("open-evaluation-s000", "unseen", FLOOR, "0.050", False),
        ("blind-evaluation-s000", "seen", FLOOR, "n/a", False),
    ]
    text = "\n".join(markdown(part) for part in all_tables(evaluation))
    assert text.count(f"| {FLOOR} |") == 6  # two tables, three groups
    meaning = (
        "Annotation noise floor: the score of a perfect follower of the other reading of the annotation (the smoothed "
        "tracks). Methods whose scores differ by less than it cannot be told apart by this annotation; for Acc (higher "
        "is better) it is 1 − floor that counts. It says nothing about background points, which dilute"  # noqa: RUF001
    )
    assert text.count(meaning) == 2
    assert "on this log" not in text


def test_the_noise_floor_has_no_score_of_background_points_and_no_gaussians(evaluation):
    """Both readings are 0 there by definition: a floor of 0 would say that any difference counts."""
    for table in (flow_table("Flow", evaluation, FLOW_COLUMNS), clip_flow_table("Clips", evaluation, FLOW_COLUMNS)):
        floors = {head: row.cells[i] for row in table.rows[2:3] for i, head in enumerate(table.heads)}
        assert (floors["EPE-BS ↓"], floors["no Gaussian"], floors["BS points"]) == ("n/a", "n/a", "1,200")
        assert (floors["EPE3D ↓"], floors["Acc5 abs ↑"], floors["EPE-FD ↓"]) == ("0.017", "0.667", "0.050")
        assert cells(table, "EPE-BS")[1][-2] == "0.000"
    table = flow_table("By class", evaluation, bucket_columns())
    shown = dict(zip(zip(table.groups, table.heads, strict=True), table.rows[2].cells, strict=True))
    assert (shown["Background", "S ↓"], shown["Background", "S points"]) == ("n/a", "1,200")
    assert shown["Car", "D ↓"] == "0.100"


def test_flow_tables_say_what_is_scored_and_how_v_rmse_is_meant(evaluation):
    notes = (
        "Scored points: the input frames' points of the spinning LiDAR inside the camera's view.",
        "V_RMSE = √ mean ‖v − v_true‖²",  # noqa: RUF001
    )
    text = "\n".join(markdown(part) for part in all_tables(evaluation)).replace("\\|", "|")
    printed = " ".join(in_the_terminal(evaluation).split())
    for note in notes:
        assert note in text
        assert note in printed
    assert "noise floor" in printed
    assert "…" not in printed  # nothing is cut off at 80 columns


def test_a_store_without_smoothed_tracks_has_no_floor_and_says_so(two_clips):
    old = [with_points(clip, smooth_flow=None) for clip in two_clips]
    evaluation = evaluate(old, [STILL], ScoringConfig(width=48, backend="cpu"))
    assert [floor.flow for floor in evaluation.floors] == [None, None]
    table = flow_table("Flow", evaluation, FLOW_COLUMNS)
    assert set(table.rows[-1].cells) == {"n/a"}
    assert any(note.endswith("all points. n/a where the store has no smoothed tracks.") for note in table.notes)
    assert [note for note in evaluation.notes if "Log open has no motion along smoothed tracks" in note]
    assert not [note for note in evaluation.notes if "Log blind has no motion" in note]  # nothing is scored there
    with pytest.raises(ValueError, match="has no motion along smoothed tracks"):
        evaluate(old, [STILL], ScoringConfig(width=48, backend="cpu", points=PointSet(truth="smoothed")))


def test_a_floor_of_some_groups_keeps_its_meaning_and_an_older_file_was_not_measured(two_clips, evaluation):
    old = with_points(named(make_clip(per_frame=30), "old"), smooth_flow=None)
    mixed = evaluate(
        [two_clips[0], old],
        [STILL],
        ScoringConfig(width=48, backend="cpu", seen_frames=SeenFrames({"old": ((0, 15),)})),
    )
    assert {floor.group: floor.flow is None for floor in mixed.floors} == {"all": True, "seen": True, "unseen": False}
    note = flow_table("Flow", mixed, FLOW_COLUMNS).notes[-1]
    assert "perfect follower" in note
    assert note.endswith("n/a where the store has no smoothed tracks.")
    assert not flow_table("Flow", evaluation, FLOW_COLUMNS).notes[-1].endswith("smoothed tracks.")
    older = flow_table("Flow", replace(evaluation, floors=(), clip_floors=()), FLOW_COLUMNS)
    assert older.notes[-1] == f"{FLOOR.capitalize()}: not measured."
    assert set(older.rows[2].cells) == {"n/a"}


def clip_all_around(seed=0):
    """Half of the points behind the camera, both LiDARs, and a motion of its own for every point."""
    clip = make_clip(per_frame=90)
    rng, count = np.random.default_rng(seed), len(clip.points)
    behind, means = rng.random(count) < 0.5, clip.points.means.copy()
    means[behind, 1] *= -1
    flow = rng.normal(0, 0.5, (count, 3)).astype(np.float32)
    return with_points(
        clip,
        means=means,
        in_view=~behind,
        sensor=rng.integers(0, 2, count).astype(np.uint8),
        flow=flow,
        smooth_flow=flow + np.float32(0.03),
        flow_class=rng.integers(0, 4, count).astype(np.uint8),
    )


@pytest.mark.parametrize("lidar", ["spinning", "forward", "all"])
@pytest.mark.parametrize("view", ["camera", "everywhere"])
@pytest.mark.parametrize(("within", "truth"), [(None, "annotated"), (20.0, "smoothed")])
def test_true_velocities_have_no_error_on_any_point_set(lidar, view, within, truth):
    clip, points = clip_all_around(), PointSet(lidar=lidar, view=view, within_m=within, truth=truth)
    flow = clip.points.flow if truth == "annotated" else clip.points.smooth_flow
    scene = scene_that_holds(points, SCENE)

    def predict(config):
        gaussians = lift_clip(clip, config)
        velocities, source = gaussians.velocities.clone(), gaussians.source.numpy()
        lifted = np.flatnonzero(source >= 0)
        velocities[lifted, 0] = torch.from_numpy(flow[source[lifted]] / 0.1)
        true = flow_truth(clip, points)
        predicted = predicted_flow(replace(gaussians, velocities=velocities), clip, true)
        return predicted.nearest, accumulate_flow(predicted.flow, true).result()

    nearest, scores = predict(scene)
    assert nearest == 0
    assert scores.points == len(points.scored_points(clip)) > 30
    assert scores.epe3d == pytest.approx(0.0, abs=1e-6)
    if view == "everywhere":  # the crop that training uses would score copied velocities
        nearest, scores = predict(SCENE)
        assert nearest > scores.points / 4
        assert scores.epe3d > 0.1


def test_copied_velocities_are_counted_beside_the_scores():
    clip = clip_all_around()
    cropped = replace(STILL, name="cropped")
    whole = SceneMethod("whole", "", lambda c: lift_clip(c, replace(SCENE, crop_to_views=False)))
    evaluation = evaluate(
        [clip], [cropped, whole], ScoringConfig(width=48, backend="cpu", points=PointSet(view="everywhere"))
    )
    outside = int((~clip.points.in_view[PointSet(view="everywhere").scored_points(clip)]).sum())
    expected = [f"{outside:,}", "0", "n/a"]
    table = flow_table("Flow", evaluation, FLOW_COLUMNS)
    assert [row[2] for row in cells(table, "no Gaussian")] == expected
    assert [row[3] for row in cells(clip_flow_table("", evaluation, FLOW_COLUMNS), "no Gaussian")] == expected
    assert any(note.startswith("No Gaussian: scored points that none was made from") for note in table.notes)
    assert f"{outside:,}" in in_the_terminal(evaluation)


def in_the_terminal(evaluation):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))
    for part in rich_tables(evaluation):
        console.print(part)
    return console.export_text()


def test_the_terminal_shows_the_counts_of_a_large_data_set_in_80_columns(evaluation):
    counts = {"points": 48_000_000, "points_fd": 5_000_000}
    large = [
        replace(s, method="flux4d", clips=40, flow=replace(s.flow, **counts), flow_nearest=1_234_567)
        for s in evaluation.summaries
    ]
    printed = in_the_terminal(replace(evaluation, summaries=tuple(large)))
    assert re.search(r"flux4d +unseen \(40\) +0.167 ", printed)
    assert "48,000,000 5,000,000 1,234,567" in printed
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_smoothed_truth_scores_against_smoothed_motion(two_clips, tmp_path):
    points = PointSet(truth="smoothed")
    evaluation = evaluate(two_clips[:1], [STILL, TRUE], ScoringConfig(width=48, backend="cpu", points=points))
    assert evaluation.summary("still").flow.epe_fd == pytest.approx(0.55, rel=1e-5)
    assert evaluation.summary("true").flow.epe_fd == pytest.approx(0.05, rel=1e-4)
    assert evaluation.floors[0].flow.epe_fd == pytest.approx(0.05, rel=1e-5)
    assert "true motion along the smoothed tracks" in evaluation.protocol
    assert (
        "other reading of the annotation (the cuboids as annotated)"
        in flow_table("", evaluation, FLOW_COLUMNS).notes[-1]
    )
    evaluation.save(tmp_path / "evaluation.json")
    loaded = Evaluation.load(tmp_path / "evaluation.json")
    assert loaded == evaluation
    assert loaded.points == points


def test_point_set_changes_what_is_counted(two_clips):
    clip = two_clips[0]
    in_view = np.arange(len(clip.points)) % 2 == 0
    clip = with_points(clip, in_view=in_view)
    counts = {}
    for name, points in {
        "p0": P0,
        "all around": PointSet(view="everywhere"),
        "near": PointSet(view="everywhere", within_m=20.0),
        "forward": PointSet(lidar="forward"),
    }.items():
        evaluation = evaluate([clip], [STILL], ScoringConfig(width=48, backend="cpu", points=points))
        counts[name] = evaluation.summary("still").flow.points
        assert evaluation.floors[0].flow.points == counts[name]
    count = len(clip.points)
    near = (np.abs(clip.points.means[:, :2]) < 20).all(axis=1).sum()
    assert counts == {"p0": count // 2, "all around": count, "near": near, "forward": 0}
    assert 0 < near < count


def test_a_log_where_nothing_moves_has_no_dynamic_scores(two_clips):
    """n/a, not 0: nothing moving was predicted right or wrong."""
    clip = two_clips[0]
    still = np.zeros_like(clip.points.flow)
    classes = np.where(clip.points.flow_class == FlowClass.FOREGROUND_DYNAMIC, FlowClass.FOREGROUND_STATIC, 1)
    clip = with_points(clip, flow=still, smooth_flow=still, flow_class=classes.astype(np.uint8))
    evaluation = evaluate([clip], [STILL], ScoringConfig(width=48, backend="cpu"))
    table = flow_table("Flow", evaluation, FLOW_COLUMNS)
    for row in range(2):  # the method and the floor
        shown = {head: cells(table, head)[row][2] for head in ("EPE-FD", "EPE-3way", "θ_dyn", "V_RMSE_dyn", "EPE-FS")}
        assert shown == {"EPE-FD": "n/a", "EPE-3way": "n/a", "θ_dyn": "n/a", "V_RMSE_dyn": "n/a", "EPE-FS": "0.000"}
        assert cells(table, "FD points")[row][2] == "0"
    assert evaluation.summary("still").flow.mean_dynamic_nepe is None


def test_every_bucket_number_has_its_count(evaluation):
    summary = evaluation.summary("still", "unseen")
    shown = [(column.group, column.head, column.value(summary)) for column in bucket_columns()]
    values = {(group, head): value for group, head, value in shown}
    assert values["Car", "S ↓"] is None
    assert (values["Car", "S points"], values["Car", "D points"]) == (0, 600)
    assert values["Background", "S points"] == 1200
    assert (values["Mean", "S classes"], values["Mean", "D classes"]) == (1, 1)
    for left, right in zip(shown[::2], shown[1::2], strict=True):
        assert left[0] == right[0]
        assert right[1].split()[0] == left[1].split()[0]  # S, S points
