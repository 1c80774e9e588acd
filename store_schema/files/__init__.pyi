from .atomic import (
    write_atomic as write_atomic,
)
from .paths import (
    Place as Place,
)
from .paths import (
    location as location,
)
from .retry import (
    ConnectionLostError as ConnectionLostError,
)
from .retry import (
    RetryPolicy as RetryPolicy,
)
from .retry import (
    with_retries as with_retries,
)
