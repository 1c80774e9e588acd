"""A generated street in PandaSet layout, with exact velocities."""

from pathlib import Path

from pipelines.synth.config import Preset, SynthConfig
from pipelines.synth.generate import generate, generate_log
from pipelines.synth.kernel_cache import drop_stale_kernels

__all__ = ["Preset", "SynthConfig", "generate", "generate_log"]

# Early enough: numba looks into its cache at a kernel's first call.
drop_stale_kernels(Path(__file__).parent)
