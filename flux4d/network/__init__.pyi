from .model import (
    Flux4D as Flux4D,
)
from .model import (
    NetworkConfig as NetworkConfig,
)
from .weights import (
    load_network as load_network,
)
from .weights import (
    save_weights as save_weights,
)
