"""The GPU check tried out on a CPU: it runs end to end, fails when it should, and never pretends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import conv as gpu_conv
from benchmarks.gpu import speed as gpu_speed
from benchmarks.gpu import subject as gpu_subject
from benchmarks.gpu.subject import Check, at_most, difference
from tests.support.processes.gpu_check_size import CPU, TINY, one_thread
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store


@pytest.fixture
def check() -> Check:
    return Check(CPU, TINY, quick=True)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gpu_subject, "QUICK", TINY)
    with one_thread():
        yield


def run_gpu(*arguments: str) -> int:
    return gpu.main(["--device", "cpu", "--quick", *arguments])


def read(folder: Path, section: str) -> dict:
    return json.loads((folder / f"gpu_{section}.json").read_text())


def test_all_sections_run_on_the_toy_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spconv")
    assert run_gpu("--json", "--out", str(tmp_path)) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == read(tmp_path, "summary")
    assert list(summary["sections"]) == list(gpu.SECTIONS)
    assert {section["status"] for section in summary["sections"].values()} == {"ok"}
    # A try on a CPU says that it is one, in every file.
    assert summary["environment"]["note"] == gpu.SCRIPT_CHECK
    for name in gpu.SECTIONS[1:]:
        about = read(tmp_path, name)
        assert about["environment"]["gpu"] is None
        assert about["date"] == summary["date"]

    toy = read(tmp_path, "raster")["result"]["toy"]
    assert toy["covered"] > 0.9
    assert all(0 < value["relative_l2"] < 1e-4 for value in toy["gradients"].values())  # two programs, not one
    for name in ("packed", "packed_in_autocast"):  # to the bit on a CPU
        assert toy["forms"][name]["features"]["relative_l2"] == toy["forms"][name]["gradients"]["relative_l2"] == 0
    times = read(tmp_path, "raster_times")["result"]
    for backend in ("torch", "cpu"):
        assert times[backend]["packed"]["visible"] == times[backend]["dense"]["visible"] > 100
        assert times[backend]["packed"]["peak_memory_mb"] is None
        assert min(value["min"] for value in times[backend]["dense"]["ms"].values()) > 0
        assert list(times[backend]["parts"]["ms"]) == ["projection", "blend", "backward_blend", "backward_projection"]
    conv = read(tmp_path, "conv")["result"]
    assert 0 < conv["spconv"]["against_torch_without_kink"]["weight_gradient"]["relative_l2"] < 1e-4
    steps = read(tmp_path, "steps")["result"]
    assert steps["data_ms"]["read"] is None  # the toy clip lies in memory
    for width in (96, 48):
        ms = {name: value["median"] for name, value in steps[f"small_{width}"]["ms"].items()}
        assert steps[f"small_{width}"]["peak_memory_mb"] is None  # n/a on a CPU
        assert 0.5 * ms["step"] < sum(value for name, value in ms.items() if name != "step") < 1.5 * ms["step"]
    training = read(tmp_path, "training")["result"]
    assert training["steps"] == TINY.training_steps
    assert training["trained_psnr"] != training["lifted_psnr"]
    # At the first step the network changes nothing that shows.
    assert training["first_step_psnr"] == pytest.approx(training["lifted_psnr"], abs=1.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_one_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    assert gpu.main([]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: torch ")
    assert "CUDA" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_failing_section_is_reported_and_the_rest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(check: Check) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(gpu_conv, "conv", broken)
    assert run_gpu("--only", "conv", "raster", "--out", str(tmp_path)) == 1
    failed = read(tmp_path, "conv")
    assert failed["status"] == "failed"
    assert failed["error"] == "RuntimeError: no kernel image"
    assert "in broken" in failed["traceback"]
    assert read(tmp_path, "raster")["status"] == "ok"
    summary = read(tmp_path, "summary")
    assert summary["passed"] is False
    assert summary["sections"]["conv"]["error"] == failed["error"]
    assert "no kernel image" in capsys.readouterr().out


def test_a_try_on_a_cpu_is_not_written_among_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    assert run_gpu("--only", "environment") == 0
    assert not list(tmp_path.iterdir())


def test_another_convolution_is_out_of_tolerance(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spconv")
    libraries = gpu_conv._libraries

    def coarse(config, device):
        networks, missing = libraries(config, device)
        unet = networks["spconv"].unet
        forward = unet.forward
        # What half precision inside a layer does to its numbers.
        unet.forward = lambda features, voxels: forward(features.bfloat16().float(), voxels)
        return networks, missing

    monkeypatch.setattr(gpu_conv, "_libraries", coarse)
    section = gpu.run_section("conv", check)
    assert section["status"] == "exceeded"
    assert any("spconv output, relative L2" in line for line in section["problems"])


def test_no_convolution_library_is_a_failure(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_conv, "_libraries", lambda config, device: ({}, {"spconv": "not installed"}))
    section = gpu.run_section("conv", check)
    assert section["status"] == "failed"
    assert "not installed" in section["error"]


def test_a_stored_clip_is_read_and_compared(tmp_path: Path) -> None:
    clip = make_clip(seed=3)
    write_store(tmp_path / "store", [clip])
    arguments = ("--store", str(tmp_path / "store"), "--clip", clip.record.clip_id, "--out", str(tmp_path))
    assert run_gpu("--only", "raster", "steps", *arguments) == 0
    result = read(tmp_path, "raster")["result"]
    assert result["store"]["clip"] == clip.record.clip_id
    assert result["store"]["gaussians"] > 0
    assert read(tmp_path, "steps")["result"]["data_ms"]["read"]["median"] > 0
    assert read(tmp_path, "steps")["store"] == str(tmp_path / "store")


def test_an_unknown_clip_is_named(tmp_path: Path) -> None:
    write_store(tmp_path / "store", [make_clip()])
    section = gpu.run_section("raster", Check(CPU, TINY, store=tmp_path / "store", clip_id="other"))
    assert section["status"] == "failed"
    assert "'other'" in section["error"]


def test_a_store_without_its_packages_says_so(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "store_schema.version.dataset", None)
    section = gpu.run_section("steps", replace(check, store=Path("store")))
    assert section["status"] == "failed"
    assert "pip install pyarrow blake3" in section["error"]


def test_a_trainer_without_its_packages_says_so(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.gpu.training", None)
    section = gpu.run_section("training", check)
    assert section["status"] == "failed"
    assert "tyro" in section["error"]


def test_tables_are_plain_lines_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert run_gpu("--only", "environment") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("environment: ok (")
    assert any(line.split() == ["torch", torch.__version__] for line in lines)


def test_difference_of_vectors() -> None:
    apart = difference(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 5.0]))
    assert apart["relative_l2"] == pytest.approx(10**0.5 / 5)
    assert apart["cosine"] == pytest.approx(0.8)
    assert difference(torch.ones(2), torch.zeros(2))["relative_l2"] is None


def test_nothing_to_compare_and_nan_are_problems() -> None:
    assert at_most("x", 1.0, 1.0) == []
    assert at_most("x", 1.1, 1.0) == ["x is 1.1, more than 1"]
    assert at_most("x", float("nan"), 1.0) == ["x is nan, more than 1"]
    assert at_most("x", None, 1.0) == ["x: nothing to compare"]
    assert gpu._plain({"x": [float("nan"), 1.0]}) == {"x": ["nan", 1.0]}


def test_a_long_training_must_learn(check: Check) -> None:
    network = gpu_speed.Flux4D(TINY.networks["small"])
    result = {
        "conv_backend": network.unet.backend.name,
        "steps": gpu_speed.JUDGED_STEPS,
        "lifted_psnr": 18.0,
        "trained_psnr": 17.5,
    }
    assert "-0.50 dB" in gpu_speed._training_problems(check, network, result)[0]
    assert gpu_speed._training_problems(check, network, result | {"trained_psnr": 19.0}) == []
    assert gpu_speed._training_problems(check, network, result | {"trained_psnr": float("nan")}) != []
    assert gpu_speed._training_problems(check, network, result | {"steps": 4}) == []
    other = gpu_speed._training_problems(check, network, result | {"trained_psnr": 19.0, "conv_backend": "other"})
    assert "convolves with other" in other[0]
