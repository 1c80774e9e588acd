from .find import (
    find_leakage as find_leakage,
)
from .find import (
    log_tracks as log_tracks,
)
from .text import (
    report_lines as report_lines,
)
