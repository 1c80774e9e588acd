from .birds_eye import (
    birds_eye as birds_eye,
)
from .charts import (
    Curve as Curve,
)
from .charts import (
    Line as Line,
)
from .charts import (
    chart as chart,
)
from .charts import (
    line_chart as line_chart,
)
from .colours import (
    depth_colours as depth_colours,
)
from .colours import (
    velocity_colours as velocity_colours,
)
from .style import (
    STYLE as STYLE,
)
