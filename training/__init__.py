"""Streams clips, trains, checkpoints."""
