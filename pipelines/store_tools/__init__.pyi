from .diff import (
    diff_versions as diff_versions,
)
from .export_index import (
    export_index as export_index,
)
from .gc import (
    Scopes as Scopes,
)
from .gc import (
    collect as collect,
)
from .summary import (
    VersionSummary as VersionSummary,
)
from .summary import (
    summarise as summarise,
)
