from .flow import (
    FlowAccumulator as FlowAccumulator,
)
from .flow import (
    FlowScores as FlowScores,
)
from .flow_prediction import (
    predicted_flow as predicted_flow,
)
from .image import (
    RegionScores as RegionScores,
)
from .image import (
    ViewScores as ViewScores,
)
from .image import (
    score_view as score_view,
)
from .lpips import (
    Lpips as Lpips,
)
from .lpips_weights import (
    load_lpips as load_lpips,
)
from .metric import (
    Metric as Metric,
)
from .point_set import (
    P0 as P0,
)
from .point_set import (
    FlowTruth as FlowTruth,
)
from .point_set import (
    PointSet as PointSet,
)
from .point_set import (
    flow_truth as flow_truth,
)
from .region import (
    Region as Region,
)
from .table import (
    METRICS as METRICS,
)
from .truth import (
    Truth as Truth,
)
from .truth import (
    truth_of as truth_of,
)
