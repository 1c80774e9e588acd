"""Fixtures shared by tests: tiny generated logs, written once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.synth import SynthConfig, generate_log
from pipelines.synth.config import ForwardSpec, SpinningSpec, pandar64_elevations

TINY_FRAMES = 17


@pytest.fixture(scope="session")
def tiny_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two generated logs of 17 frames, 160x90 images, 4,000 points a sweep. Read only."""
    root = tmp_path_factory.mktemp("logs")
    beams = tuple(float(elevation) for elevation in pandar64_elevations()[::4])
    config = SynthConfig(160, 90, SpinningSpec(beams, 240), ForwardSpec(40, 15))
    for number in range(2):
        generate_log(root / f"tiny{number}", number, TINY_FRAMES, 0, config)
    return root
