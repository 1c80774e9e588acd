from .masks import (
    moving_mask as moving_mask,
)
from .point_boxes import (
    assign_points as assign_points,
)
from .scene_flow import (
    SceneFlow as SceneFlow,
)
from .scene_flow import (
    flow_ground_truth as flow_ground_truth,
)
from .track_smoothing import (
    smoothed_flow as smoothed_flow,
)
from .track_smoothing import (
    smoothed_motion as smoothed_motion,
)
