"""Options that are alike in all three commands: which store, and how patiently it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from store_schema.files.paths import location
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
    """A command line with the store right behind the verb, wherever an option names it; the last such option counts.

    Args:
        arguments: the command line.
        names: verb to the options that may name its store.
    """
    options = names.get(arguments[0], ()) if arguments else ()
    store: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in options:
            # Without a value the option stays, and is refused as unknown.
            store = [value if equals else next(words, word)]
        else:
            others.append(word)
    return [*others[:1], *store, *others[1:]]
