"""A generated street in PandaSet layout, with exact velocities."""
