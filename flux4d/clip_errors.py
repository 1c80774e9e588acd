"""Put the clip's name into errors that are raised while it is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming_clip(clip_id: str) -> Iterator[None]:
    """Put the clip before what a ValueError says, unless it names the clip already.

    Raises:
        ValueError: from the one that was raised.
    """
    try:
        yield
    except ValueError as error:
        if f"clip {clip_id}" in str(error):
            raise
        raise ValueError(f"clip {clip_id}: {error}") from error
