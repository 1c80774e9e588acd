"""LiDAR reconstruction scored: held-out sweeps rendered as range images and compared with what was measured."""
