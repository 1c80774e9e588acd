from .packed import (
    PackedScene as PackedScene,
)
from .packed import (
    PackedTensors as PackedTensors,
)
from .packed import (
    lift_code_hash as lift_code_hash,
)
from .packed import (
    unpack as unpack,
)
from .scene import (
    SceneConfig as SceneConfig,
)
from .scene import (
    clip_duration as clip_duration,
)
from .scene import (
    lift_clip as lift_clip,
)
from .scene import (
    pack_clip as pack_clip,
)
from .sky import (
    SkyConfig as SkyConfig,
)
