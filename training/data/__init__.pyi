from .clip_stream import (
    ClipStream as ClipStream,
)
from .sample import (
    Sample as Sample,
)
from .sampler import (
    SamplePlace as SamplePlace,
)
