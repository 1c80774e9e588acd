from .page import (
    write_report as write_report,
)
from .pictures import (
    PictureBook as PictureBook,
)
from .pictures import (
    PictureIndex as PictureIndex,
)
from .provenance import (
    RunInfo as RunInfo,
)
from .table_text import (
    markdown as markdown,
)
from .table_text import (
    rich_tables as rich_tables,
)
from .tables import (
    ScoreTable as ScoreTable,
)
from .tables import (
    all_tables as all_tables,
)
