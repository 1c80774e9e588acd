"""Cameras and LiDARs of the generated street: ray casting, light, shadows."""
