from .term import (
    LossInput as LossInput,
)
from .term import (
    LossTerm as LossTerm,
)
from .term import (
    weight_of as weight_of,
)
from .total import (
    TERMS as TERMS,
)
from .total import (
    LossConfig as LossConfig,
)
from .total import (
    Losses as Losses,
)
from .total import (
    view_loss as view_loss,
)
