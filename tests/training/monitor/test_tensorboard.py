"""TensorBoard's event files, read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as AppAccumulator

from evaluation.run_folder.files import BOARD
from tests.training.monitor.test_display import report
from training.monitor.tensorboard import SPEED_EDGES, Board


def read(run: Path) -> EventAccumulator:
    keep_all = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(run / BOARD), size_guidance=keep_all).Reload()


def scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(run).Scalars(tag)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    board = Board(tmp_path, 0)
    board.step(report(1, loss=0.25, depth=None, psnr=20.5, seconds=2.0, data_seconds=0.5, gpu_mb=None))
    board.step(report(2, loss=0.125, depth=1.5, lr=3e-4))
    board.evaluation(2, {"psnr": 21.25, "epe3d": None})
    image = np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    board.images(2, {"toy front": image})
    board.config('{\n "seed": 0\n}')
    board.close()
    assert scalars(tmp_path, "loss/total") == [(1, 0.25), (2, 0.125)]
    assert scalars(tmp_path, "loss/depth_m") == [(2, 1.5)]
    assert scalars(tmp_path, "train/psnr_db")[0] == (1, 20.5)
    assert scalars(tmp_path, "train/lr")[1] == (2, pytest.approx(3e-4))
    assert scalars(tmp_path, "pace/data_wait_share")[0] == (1, 0.25)
    assert scalars(tmp_path, "evaluation/psnr") == [(2, 21.25)]
    events = read(tmp_path)
    assert not {"memory/gpu_mb", "evaluation/epe3d"} & set(events.Tags()["scalars"])
    (picture,) = events.Images("pictures/toy front")
    decoded = _png(picture.encoded_image_string)
    assert (picture.step, decoded.shape) == (2, (9, 16, 3))
    np.testing.assert_array_equal(decoded, image)
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '     "seed": 0' in text


def _png(data: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def test_every_speed_is_in_a_bin_and_the_quantiles_are_those_of_the_speeds(tmp_path: Path) -> None:
    speeds = torch.cat([torch.zeros(10), torch.full((85,), 5.0), torch.full((4,), 30.0), torch.tensor([75.0])])
    board = Board(tmp_path, 0)
    board.speeds(3, speeds.requires_grad_())
    board.speeds(4, torch.empty(0))
    board.close()
    (event,) = read(tmp_path).Histograms("speed/m_per_s")
    histogram = event.histogram_value
    assert (event.step, histogram.num, histogram.max) == (3, 100, 75.0)
    assert sum(histogram.bucket) == 100
    edges = histogram.bucket_limit
    assert set(np.round(edges, 9)) <= set(np.round([*SPEED_EDGES, 75.0], 9))
    per_bin = {edge: count for edge, count in zip(edges, histogram.bucket, strict=True) if count}
    assert list(per_bin.values()) == [10, 85, 4, 1]
    assert scalars(tmp_path, "speed/median") == [(3, 5.0)]
    assert scalars(tmp_path, "speed/max") == [(3, 75.0)]
    assert scalars(tmp_path, "speed/p90") == [(3, 5.0)]
    assert scalars(tmp_path, "speed/count") == [(3, 100.0), (4, 0.0)]


def test_a_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    first = Board(tmp_path, 0)
    for step in range(1, 9):
        first.step(report(step, loss=1.0))
    first.evaluation(5, {"psnr": 1.0})
    first.close()
    second = Board(tmp_path, 5)
    for step in range(6, 11):
        second.step(report(step, loss=2.0))
    second.evaluation(10, {"psnr": 2.0})
    second.close()
    expected = [(step, 1.0 if step <= 5 else 2.0) for step in range(1, 11)]
    assert scalars(tmp_path, "loss/total") == expected
    # The evaluation at the checkpoint itself is not made again.
    assert scalars(tmp_path, "evaluation/psnr") == [(5, 1.0), (10, 2.0)]


def test_a_run_that_begins_again_forgets_the_first_try(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        board = Board(tmp_path, 0)
        board.config("same")
        board.step(report(1, loss=loss))
        board.close()
    assert scalars(tmp_path, "loss/total") == [(1, 2.0)]
    # What TensorBoard itself reads with; the other one keeps texts.
    assert len(AppAccumulator(str(tmp_path / BOARD)).Reload().Tensors("config/text_summary")) == 1


def test_flushed_events_survive_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.training.monitor.test_display import report;"
        "from training.monitor.tensorboard import Board; board = Board(Path(sys.argv[1]), 0);"
        "board.step(report(1, loss=0.5));"
        "board.flush(); os._exit(9)"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=120)
    assert finished.returncode == 9
    assert scalars(tmp_path, "loss/total") == [(1, 0.5)]


def test_a_missing_package_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ValueError, match="--no-tensorboard"):
        Board(tmp_path, 0)
    assert not (tmp_path / BOARD).exists()


def test_pictures_and_speeds_that_cannot_be_shown_are_refused(tmp_path: Path) -> None:
    board = Board(tmp_path, 0)
    with pytest.raises(ValueError, match=r"picture front: uint8 \[H, W, 3\] is needed, got float32 \[9, 16, 3\]"):
        board.images(1, {"front": np.zeros((9, 16, 3), np.float32)})
    with pytest.raises(ValueError, match="step 7: 1 of 3 speeds are not finite"):
        board.speeds(7, torch.tensor([1.0, float("nan"), 2.0]))
    board.close()
