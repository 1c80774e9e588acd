"""Early evaluation: the evaluator's numbers, on a CPU the same bits however the clips are shared out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from evaluation.methods.method import SceneMethod
from evaluation.methods.standard import standard_methods
from evaluation.metrics.flow import FlowAccumulator
from evaluation.report.colours import ERROR_RAMP, ramp
from evaluation.report.pictures import FULL_ERROR
from evaluation.report.validation_pictures import ViewSheets
from evaluation.run_folder.seen_frames import SeenFrames
from evaluation.scoring.aggregate import ClipScores, aggregate
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.imaging import Imaging
from evaluation.scoring.loop import evaluate, score_clips
from evaluation.scoring.validation import Validation, best_metric, validate, validation_share
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.network.model import Flux4D, NetworkConfig
from store_schema.clip import Clip
from store_schema.json_dataclass import to_json
from store_schema.version.dataset import open_dataset
from store_schema.version.shards import CorruptShardError
from tests.support.scenes.toy import make_clip
from tests.support.stores.small_version import write_small_version

SCENE = SceneConfig(sky=SkyConfig(spacing=0.05))
ROLLING = Shutter(0.03, -0.012)
STILL = SceneMethod("still", "lifted", lambda clip: lift_clip(clip, SCENE))


def named(clip: Clip, name: str) -> Clip:
    return replace(clip, record=replace(clip.record, clip_id=f"{name}-{clip.record.setting}-s000", log_id=name))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Not sorted by id; the last has no future."""
    return [
        named(make_clip(width=48, height=27, per_frame=90, seed=1), "c"),
        named(make_clip(width=48, height=27, per_frame=60, seed=2), "a"),
        named(make_clip(width=48, height=27, per_frame=30, seed=3, setting="train_interpolation"), "b"),
    ]


@pytest.fixture(scope="module")
def network() -> Flux4D:
    torch.manual_seed(0)
    network = Flux4D(NetworkConfig(channels=(4, 8), blocks=1, head_width=8, conv_backend="torch"))
    with torch.no_grad():  # a new network moves and refines nothing
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def on_ranks(shares: Sequence[Sequence[Clip]], network: Flux4D) -> list[Validation | Exception]:
    """Each share on a rank of its own (a thread), bytes exchanged between them."""
    sent, barrier = [b""] * len(shares), Barrier(len(shares), timeout=20)
    results: list[Validation | Exception] = [RuntimeError("did not finish")] * len(shares)

    def rank(number: int) -> None:
        def gather(own: bytes) -> list[bytes]:
            sent[number] = own
            barrier.wait()
            return list(sent)

        try:
            results[number] = run(shares[number], network, gather=gather)
        except Exception as error:
            results[number] = error

    threads = [Thread(target=rank, args=(number,)) for number in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def run(clips: Sequence[Clip], network: Flux4D, **changes: object) -> Validation:
    options = {"width": 32, "shutter": Shutter(), "device": "cpu", "backend": "cpu", **changes}
    return validate(iter(clips), network, SCENE, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def alone(clips: list[Clip], network: Flux4D) -> Validation:
    return run(clips, network)


def test_every_number_is_the_evaluators(clips: list[Clip], network: Flux4D, alone: Validation) -> None:
    in_order = sorted(clips, key=lambda clip: clip.record.clip_id)
    whole = evaluate(in_order, standard_methods(network, SCENE, "cpu"), ScoringConfig(width=32, backend="cpu"))
    expected = whole.summary("flux4d")
    assert alone.clips == tuple(clip.record.clip_id for clip in in_order)
    for role in ("interpolation", "future"):
        images = getattr(expected, role)
        for suffix, region in (("", images.full), ("_moving", images.moving)):
            assert alone.metrics[f"{role}/psnr{suffix}"] == region.psnr
            assert alone.metrics[f"{role}/ssim{suffix}"] == region.ssim
            assert alone.metrics[f"{role}/depth_rmse{suffix}"] == region.depth_rmse
            assert alone.counts[f"{role}/views{suffix}"] == region.frames
            assert alone.counts[f"{role}/pixels{suffix}"] == region.pixels
    assert alone.counts["interpolation/views"] == 15
    assert alone.counts["future/views"] == 10
    for name in ("epe3d", "epe_3way", "v_rmse", "theta_dyn", "mean_dynamic_nepe"):
        assert alone.metrics[f"flow/{name}"] == getattr(expected.flow, name)
    assert alone.counts["flow/points"] == expected.flow.points > 0
    assert alone.metrics["flow/epe_fs"] is None  # no such point: n/a, not 0
    json.dumps([alone.metrics, alone.counts], allow_nan=False)


def test_the_shutter_is_the_one_given(clips: list[Clip], network: Flux4D) -> None:
    one = [clips[0]]
    rolling = run(one, network, shutter=ROLLING)
    method = standard_methods(network, SCENE, "cpu")[-1]
    expected = evaluate(one, [method], ScoringConfig(width=32, backend="cpu", imaging=Imaging(ROLLING))).summary(
        "flux4d"
    )
    assert rolling.metrics["interpolation/psnr"] == expected.interpolation.full.psnr


@pytest.mark.parametrize("split", [[[0, 1, 2]], [[2], [0, 1]], [[], [1], [2, 0]], [[2, 1], [], [0], []]])
def test_the_result_is_the_same_bits_however_clips_are_shared_out(
    clips: list[Clip], network: Flux4D, alone: Validation, split: list[list[int]]
) -> None:
    assert on_ranks([[clips[index] for index in share] for share in split], network) == [alone] * len(split)


def test_a_clip_that_two_ranks_scored_is_refused_on_every_rank(clips: list[Clip], network: Flux4D) -> None:
    for error in on_ranks([clips[:1], [], clips[:1]], network):
        assert isinstance(error, ValueError)
        assert "clip c-evaluation-s000 comes twice" in str(error)
    for error in on_ranks([[], []], network):
        assert isinstance(error, ValueError)
        assert "no clip to evaluate" in str(error)


@given(st.integers(0, 9), st.integers(1, 5))
def test_shares_hold_each_clip_once(count: int, world_size: int) -> None:
    records = [replace(make_clip_record(), clip_id=f"{n}-evaluation-s000") for n in range(count)]
    shares = [validation_share(records, rank, world_size) for rank in range(world_size)]
    assert sorted(record.clip_id for share in shares for record in share) == [record.clip_id for record in records]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(ValueError, match=f"rank {world_size} of {world_size}"):
        validation_share(records, world_size, world_size)


def make_clip_record(made: list[Clip] = []):  # noqa: B006 - made once
    if not made:
        made.append(make_clip(per_frame=3))
    return made[0].record


def test_the_training_is_left_as_it_was(clips: list[Clip], network: Flux4D) -> None:
    network.train()
    network.unet.eval()  # not all modules in one mode
    parameters = list(network.parameters())
    parameters[0].grad = torch.ones_like(parameters[0])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes, random = [module.training for module in network.modules()], torch.get_rng_state()
    run(clips[:1], network)
    assert [module.training for module in network.modules()] == modes
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(parameters[0].grad, torch.ones_like(parameters[0]))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in parameters[1:])
    with pytest.raises(ValueError, match="no interpolation or future view"):
        run([replace(clips[0], views=clips[0].views_of("input"))], network)
    assert [module.training for module in network.modules()] == modes
    parameters[0].grad = None
    network.eval()


def test_a_damaged_clip_stops_it_by_name(tmp_path: Path, network: Flux4D) -> None:
    folder = write_small_version(tmp_path)
    dataset = open_dataset(tmp_path)
    record = dataset.select(setting="evaluation")[0]
    member = dataset.members[record.clip_id]["points.arrow"]
    shard = folder / "shards" / member.shard
    data = bytearray(shard.read_bytes())
    data[member.offset + member.size // 2] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptShardError, match=record.clip_id):
        validate(
            (dataset.read(record.clip_id) for _ in range(1)), network, SCENE, width=32, shutter=Shutter(), device="cpu"
        )


def test_the_best_is_told_by_future_views_where_there_are_no_others() -> None:
    assert best_metric({"interpolation/psnr": 3.0, "future/psnr": 9.0}) == "interpolation/psnr"
    only_future = Validation(metrics={"interpolation/psnr": None, "future/psnr": 9.0}, counts={}, clips=("a",))
    assert (only_future.best_metric, only_future.score) == ("future/psnr", 9.0)


def test_scores_travel_as_json_without_losing_a_bit(clips: list[Clip]) -> None:
    options = {"width": 32, "backend": "cpu"}
    config = ScoringConfig(seen_frames=SeenFrames({"c": ((0, 15),)}), **options)  # type: ignore[arg-type]
    scores = score_clips(clips, [STILL], config)
    perfect = replace(scores[0].methods[0].frames[0].scores.full, psnr=float("inf"))
    frame = scores[0].methods[0].frames[0]
    frame = replace(frame, scores=replace(frame.scores, full=perfect))
    method = replace(scores[0].methods[0], frames=(frame, *scores[0].methods[0].frames[1:]))
    scores[0] = replace(scores[0], methods=(method,))
    text = json.dumps([each.to_json() for each in scores], allow_nan=False)
    back = [ClipScores.from_json(value) for value in json.loads(text)]
    assert json.dumps([each.to_json() for each in back], allow_nan=False) == text
    direct, travelled = (aggregate(each, [STILL.info], ScoringConfig(backend="cpu")) for each in (scores, back))
    assert travelled == direct
    assert travelled.frames[0].scores.full.psnr == float("inf")
    assert travelled.summary("still", "seen").clips == 1
    for name, value in vars(scores[0].methods[0].flow).items():
        loaded = getattr(back[0].methods[0].flow, name)
        assert loaded.dtype == value.dtype
        np.testing.assert_array_equal(loaded, value)


def test_evaluate_is_scoring_and_pooling(clips: list[Clip]) -> None:
    scores = [score_clips([clip], [STILL], ScoringConfig(width=32, backend="cpu"))[0] for clip in clips]
    pooled = aggregate(scores, [STILL.info], ScoringConfig(backend="cpu"))
    whole = evaluate(clips, [STILL], ScoringConfig(width=32, backend="cpu"))

    def timeless(evaluation):  # type: ignore[no-untyped-def]
        still = {"reconstruct_seconds": 0.0, "render_seconds": 0.0}
        rows = {
            name: tuple(replace(row, **still) for row in getattr(evaluation, name)) for name in ("clips", "summaries")
        }
        return to_json(replace(evaluation, **rows))

    assert timeless(pooled) == timeless(whole)
    other = score_clips(clips[:1], [STILL], ScoringConfig(width=16, backend="cpu"))
    with pytest.raises(ValueError, match=r"clip c-evaluation-s000: views of one evaluation must share one size"):
        aggregate([scores[1], *other], [STILL.info])
    with pytest.raises(ValueError, match=r"was scored by methods \['still'\], the evaluation compares \['x'\]"):
        aggregate(scores, [replace(STILL, name="x").info])


@settings(max_examples=30)
@given(arrays(np.float64, 3, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_flow_sums_survive_json_whatever_they_are(sums: np.ndarray) -> None:
    flow = FlowAccumulator()
    flow.error = sums
    flow.count = np.array([0, 2**53 + 1, 3])
    back = FlowAccumulator.from_json(json.loads(json.dumps(flow.to_json())))
    assert back.error.tobytes() == sums.tobytes()
    assert back.count.tolist() == [0, 2**53 + 1, 3]


def test_flow_sums_of_another_shape_are_refused() -> None:
    value = FlowAccumulator().to_json()
    with pytest.raises(ValueError, match=r"flow sum error has shape \(3,\), got \(2,\)"):
        FlowAccumulator.from_json({**value, "error": [0.0, 0.0]})
    with pytest.raises(ValueError, match="flow sums are"):
        FlowAccumulator.from_json({name: sums for name, sums in value.items() if name != "angle"})


def test_sheets_show_image_rendering_and_error_of_the_first_views(
    clips: list[Clip], network: Flux4D, tmp_path: Path
) -> None:
    sheets = ViewSheets(tmp_path / "pictures", 2, max_width=24, prefix="step-00001500")
    run(clips[:2], network, width=None, observer=sheets)
    names = [f"{log}-evaluation-s000/front_camera-{frame:03d}" for log in "ca" for frame in (1, 3)]
    assert list(sheets.images) == names
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == sorted(f"step-00001500_{name.replace('/', '_')}.jpg" for name in names)
    for image in sheets.images.values():
        assert image.dtype == np.uint8
        assert image.shape[1] == 24
    with Image.open(tmp_path / "pictures" / files[0]) as image:
        assert image.size == (3 * 24 + 8, 14)


def test_a_sheet_is_there_whole_or_not_at_all(
    clips: list[Clip], network: Flux4D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks when a sheet is half written, or after a kill at that moment, sees no torn one."""
    seen = []

    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            seen.append([each.name for each in path.parent.glob("step-*")])
            return len(data[: len(data) // 2]) + file.write(data[len(data) // 2 :])

    monkeypatch.setattr(Path, "write_bytes", half)
    run(clips[:1], network, width=None, observer=ViewSheets(tmp_path, 2, prefix="step-00000001"))
    first = "step-00000001_c-evaluation-s000_front_camera-001.jpg"
    assert seen == [[], [first]]
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            image.load()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_sheet_is_the_truth_the_rendering_and_their_difference(clips: list[Clip], network: Flux4D) -> None:
    sheets, seen = ViewSheets(None, 1, prefix=""), []

    class Both:
        def wants_velocity(self, clip, view):  # type: ignore[no-untyped-def]
            return sheets.wants_velocity(clip, view)

        def scene(self, *shown):  # type: ignore[no-untyped-def]
            sheets.scene(*shown)

        def frame(self, clip, method, view, rendering, truth):  # type: ignore[no-untyped-def]
            seen.append((rendering, truth))
            sheets.frame(clip, method, view, rendering, truth)

    run(clips[:1], network, width=None, observer=Both())
    (sheet,) = sheets.images.values()
    assert sheet.shape == (27, 3 * 48 + 8, 3)
    rendering, truth = seen[0]
    rgb = rendering.rgb.numpy().clip(0, 1)
    np.testing.assert_array_equal(sheet[:, :48], (truth.rgb * 255).round().astype(np.uint8))
    np.testing.assert_array_equal(sheet[:, 52:100], (rgb * 255).round().astype(np.uint8))
    expected = ramp(np.abs(rgb - truth.rgb).mean(-1) / FULL_ERROR, ERROR_RAMP)
    np.testing.assert_array_equal(sheet[:, 104:], expected)
    assert (sheet[:, 48:52] == 255).all()
