from .door import (
    parse_verbs as parse_verbs,
)
from .door import (
    run_door as run_door,
)
from .options import (
    StoreOptions as StoreOptions,
)
from .progress import (
    progress_bars as progress_bars,
)
