"""Options that are alike in all three commands: which store, and how patiently it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from store_schema.files.location import location
from store_schema.files.retry import RetryPolicy

STORE = ("--store",)
RETRY_MINUTES = 0.25
"""What `RetryPolicy`'s defaults come to."""

StoreArgument = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="STORE", help="The store: folder or URL (s3://bucket/store); --store STORE says the same."),
]
RetryMinutes = Annotated[
    float, tyro.conf.arg(help="How long a remote store that does not answer is waited for, at every read.")
]
VersionArgument = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="VERSION", help="Dataset version, a hash or its beginning; the newest when left out."),
]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The store that a verb reads.

    Raises:
        ValueError: `retry_minutes` is negative or not finite.
    """

    store: StoreArgument
    retry_minutes: RetryMinutes = field(default=RETRY_MINUTES, kw_only=True)

    def __post_init__(self) -> None:
        _ = self.retry

    @property
    def retry(self) -> RetryPolicy:
        """How patiently the store is read."""
        return lasting(self.retry_minutes)

    @property
    def place(self) -> Path:
        """Where the store is."""
        return location(self.store, retry=self.retry)


def lasting(minutes: float) -> RetryPolicy:
    """The policy of an option in minutes.

    Raises:
        ValueError: it is negative or not finite.
    """
    if not 0 <= minutes < float("inf"):
        raise ValueError(f"--retry-minutes must be 0 or more, got {minutes:g}; 0 never tries again")
    return RetryPolicy.lasting(60.0 * minutes)


def store_first(arguments: Sequence[str], names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A command line with the store right behind the verb, wherever an option names it.

    Args:
        arguments: the command line.
        names: verb to the options that may name its store.
    """
    words = list(arguments)
    options = names.get(words[0], ()) if words else ()
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in options or not (equals or words[place + 1 :]):
            continue
        store, after = (value, place + 1) if equals else (words[place + 1], place + 2)
        return [words[0], store, *words[1:place], *words[after:]]
    return words
