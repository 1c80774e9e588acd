from .folder import (
    is_training_run as is_training_run,
)
from .log import (
    read_curves as read_curves,
)
from .log import (
    read_record as read_record,
)
from .log import (
    read_rows as read_rows,
)
from .page import (
    write_run_report as write_run_report,
)
