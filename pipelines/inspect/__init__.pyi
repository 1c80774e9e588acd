from .command import (
    Inspect as Inspect,
)
from .command import (
    run_inspect as run_inspect,
)
from .gather import (
    gather_frame as gather_frame,
)
from .page import (
    page_html as page_html,
)
