from .step import (
    clip_losses as clip_losses,
)
from .step_report import (
    StepReport as StepReport,
)
