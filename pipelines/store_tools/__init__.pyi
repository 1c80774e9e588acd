from .diff import (
    diff_versions as diff_versions,
)
from .gc import (
    Scopes as Scopes,
)
from .gc import (
    collect as collect,
)
from .index_export import (
    export_index as export_index,
)
from .summary import (
    VersionSummary as VersionSummary,
)
from .summary import (
    summarise as summarise,
)
