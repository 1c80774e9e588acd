from .config import (
    ScoringConfig as ScoringConfig,
)
from .imaging import (
    IDEAL as IDEAL,
)
from .imaging import (
    Imaging as Imaging,
)
from .loop import (
    evaluate as evaluate,
)
from .loop import (
    score_clips as score_clips,
)
from .results import (
    Evaluation as Evaluation,
)
from .validation import (
    Validation as Validation,
)
from .validation import (
    validate as validate,
)
