from .config import (
    FeatureConfig as FeatureConfig,
)
from .frame_features import (
    FrameComputer as FrameComputer,
)
from .frame_features import (
    compute_frame as compute_frame,
)
from .images import (
    EncodedImage as EncodedImage,
)
from .visibility import (
    Sighting as Sighting,
)
from .visibility import (
    see as see,
)
