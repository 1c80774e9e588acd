"""One frame of a raw log on one page: what the pipeline makes of it, drawn over what the sensors gave."""
