from .log import (
    read_curves as read_curves,
)
from .page import (
    write_run_report as write_run_report,
)
