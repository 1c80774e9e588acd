"""Shapes and textures of the generated street: what a ray hits and which colour it has there."""
