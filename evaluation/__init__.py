"""Protocol, image and scene-flow metrics, pictures and the offline report."""
