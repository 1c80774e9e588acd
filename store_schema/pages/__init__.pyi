from .line_chart import (
    Curve as Curve,
)
from .line_chart import (
    chart as chart,
)
from .pictures import (
    Picture as Picture,
)
from .pictures import (
    encoded as encoded,
)
from .shell import (
    render as render,
)
from .shell import (
    write_page as write_page,
)
from .table import (
    Cell as Cell,
)
from .table import (
    Head as Head,
)
from .table import (
    Row as Row,
)
from .table import (
    Table as Table,
)
