"""Readers of driving logs, all behind the protocol in `pipelines.sources.base`."""
