"""A generated street in PandaSet layout, with exact velocities."""

from pipelines.synth.config import Preset, SynthConfig
from pipelines.synth.generate import generate, generate_log

__all__ = ["Preset", "SynthConfig", "generate", "generate_log"]
