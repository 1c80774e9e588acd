"""Gaussians, sparse network, motion, rendering and losses of Flux4D (arXiv 2512.03210)."""
