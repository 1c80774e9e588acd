from .checkpoint import (
    Learner as Learner,
)
from .checkpoint import (
    Progress as Progress,
)
from .checkpoint import (
    load_checkpoint as load_checkpoint,
)
from .checkpoint import (
    save_checkpoint as save_checkpoint,
)
from .ema import (
    Ema as Ema,
)
