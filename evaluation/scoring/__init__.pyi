from .evaluate import (
    Method as Method,
)
from .evaluate import (
    Observer as Observer,
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
from .methods import (
    lifted_method as lifted_method,
)
from .methods import (
    standard_methods as standard_methods,
)
from .results import (
    Evaluation as Evaluation,
)
from .results import (
    MethodInfo as MethodInfo,
)
from .validation import (
    Validation as Validation,
)
from .validation import (
    validate as validate,
)
