from .config import (
    ScoringConfig as ScoringConfig,
)
from .evaluate import (
    evaluate as evaluate,
)
from .evaluate import (
    score_clips as score_clips,
)
from .imaging import (
    IDEAL as IDEAL,
)
from .imaging import (
    Imaging as Imaging,
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
