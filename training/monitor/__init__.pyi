from .callbacks import (
    Callback as Callback,
)
from .compare import (
    compare_runs as compare_runs,
)
from .display import (
    TrainingDisplay as TrainingDisplay,
)
from .tensorboard import (
    Board as Board,
)
