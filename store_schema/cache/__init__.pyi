from .local_cache import (
    LocalCache as LocalCache,
)
