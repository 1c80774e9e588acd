"""Retry reads after lost connections: bounded attempts with growing, jittered pauses.

Only what may be better a moment later is tried again: a lost or refused connection, a time-out, an answer cut short,
HTTP 408, 429 and 5xx. A missing file, refused access, wrong credentials or a bad request is an answer, and final; so
is trouble of this machine, such as a full disk or no descriptor left.
"""

from __future__ import annotations

import errno
import logging
import math
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ConnectionLostError(OSError):
    """A remote read failed at every attempt: names the URL, the attempts, the last reason and what to do."""


LONGEST_PAUSE = 8.0
"""s, before jitter. A power of two: pauses double up to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a remote read is tried. The defaults pause about 15 s altogether."""

    attempts: int = 5
    """The first one included; 1 never tries again."""
    first_delay: float = 1.0
    """s before the second attempt; doubles each time."""
    max_delay: float = LONGEST_PAUSE
    """s, the longest pause before jitter."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_delay < 0 or self.max_delay < 0:
            raise ValueError(f"attempts must be 1 or more and delays 0 s or more, got {self}")

    @classmethod
    def lasting(cls, seconds: float) -> Self:
        """The policy that pauses about `seconds` altogether: 1, 2, 4, then 8 s each; what the reads take comes on top.

        Of up to one second the only pause is exactly that long, of more the sum is at most 4 s off. 0 never tries
        again.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a policy lasts 0 s or more, got {seconds}")
        doubling = int(math.log2(LONGEST_PAUSE))
        if seconds > 2.0**doubling - 1:
            pauses = doubling + round((seconds - (2.0**doubling - 1)) / LONGEST_PAUSE)
        elif seconds > 1:
            pauses = min(range(1, doubling + 1), key=lambda count: abs(2.0**count - 1 - seconds))
        else:
            pauses = int(seconds > 0)
        return cls(attempts=1 + pauses, first_delay=min(1.0, seconds), max_delay=LONGEST_PAUSE)

    def delays(self) -> Iterator[float]:
        """Pauses in s between the attempts, each 0.5 to 1.5 times its nominal length.

        The jitter keeps many readers that lost one server from coming back all at once.
        """
        nominal = self.first_delay
        for _ in range(self.attempts - 1):
            nominal = min(nominal, self.max_delay)
            yield nominal * random.uniform(0.5, 1.5)
            nominal *= 2


_FINAL_TYPES = (
    ConnectionLostError,
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
# The network's own, and what s3fs makes of a server's inner error (EIO) and of its wish for fewer requests (EBUSY).
# Time-outs and connections that are refused or break off are classes, not numbers.
_TRANSIENT_ERRNOS = frozenset(
    {
        errno.EBUSY,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
    }
)
# Libraries whose connection errors are no OSError; named, not imported: none of them need be installed.
_LIBRARIES = frozenset({"aiohttp", "botocore", "aiobotocore", "urllib3", "requests", "fsspec"})
_CONNECTION_ERRORS = frozenset(
    {
        "ChunkedEncodingError",
        "ClientConnectionError",
        "ClientPayloadError",
        "ConnectionError",
        "FSTimeoutError",
        "HTTPClientError",
        "IncompleteRead",
        "IncompleteReadError",
        "ProtocolError",
        "ResponseParserError",
        "Timeout",
    }
)
_BUSY = frozenset({408, 429})


def is_transient(error: BaseException) -> bool:
    """Whether the same read may succeed a moment later."""
    # A ValueError besides is what libraries make of a wrong URL, header or certificate.
    if isinstance(error, (*_FINAL_TYPES, ValueError)):
        return False
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or _is_connection_error(error):
        return True
    status = http_status(error) or http_status(error.__cause__)
    if status is not None:
        return status >= 500 or status in _BUSY
    if not isinstance(error, OSError):
        return False
    if error.errno is None:
        # Somebody's own words. A library's would be among those named above.
        return bool(error.args) and not _of_library(type(error))
    return error.errno in _TRANSIENT_ERRNOS


def with_retries(read: Callable[[], T], place: object, policy: RetryPolicy) -> T:
    """What `read` returns, tried again while the connection is the reason that it fails.

    Args:
        read: reads from a remote place; may be called several times.
        place: the URL, for messages.
        policy: how often and how patiently.

    Raises:
        ConnectionLostError: the last attempt failed too.
        Exception: whatever else `read` raises, at once.
    """
    delays = policy.delays()
    attempt = 0
    while True:
        attempt += 1
        try:
            return read()
        except Exception as error:
            if not is_transient(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            delay = next(delays, None)
            if delay is None:
                raise ConnectionLostError(
                    f"{place} cannot be read, {attempt} attempts failed, the last with {reason}: "
                    "check the network and that the server answers, then run the command again"
                ) from error
        _log.warning("%s: attempt %d of %d failed (%s), next in %.1f s", place, attempt, policy.attempts, reason, delay)
        time.sleep(delay)


def _is_connection_error(error: BaseException) -> bool:
    return any(kind.__name__ in _CONNECTION_ERRORS and _of_library(kind) for kind in type(error).__mro__)


def _of_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _LIBRARIES


def http_status(error: BaseException | None) -> int | None:
    """Status of the answer that an error tells of, 400 or more; None when it tells of none.

    By aiohttp's and gcsfs' attributes, and by the response that botocore and requests give.
    """
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        names = ((response, "status_code"), (error, "status"), (error, "code"))
        status = next((value for holder, name in names if (value := getattr(holder, name, None)) is not None), None)
    return status if isinstance(status, int) and status >= 400 else None
