"""The generated street itself: layout, things, traffic and its exact motion."""
