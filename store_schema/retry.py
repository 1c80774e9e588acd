"""Read again when the connection failed: bounded attempts with growing, jittered pauses.

Only what may be better a moment later is tried again: a lost or refused connection, a time-out, an answer cut short,
HTTP 408, 429 and 5xx. A missing file, refused access, wrong credentials or a bad request is an answer, and final.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ConnectionLostError(OSError):
    """A remote read failed at every attempt: names the URL, the attempts, the last reason and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a remote read is tried. The defaults pause about 15 s altogether."""

    attempts: int = 5
    """The first one included; 1 never tries again."""
    first_delay: float = 1.0
    """s before the second attempt; doubles each time."""
    max_delay: float = 8.0
    """s, the longest pause before jitter."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_delay < 0 or self.max_delay < 0:
            raise ValueError(f"attempts must be 1 or more and delays 0 s or more, got {self}")

    def delays(self) -> Iterator[float]:
        """Pauses in s between the attempts, each 0.5 to 1.5 times its nominal length.

        The jitter keeps many readers that lost one server from coming back all at once.
        """
        for attempt in range(self.attempts - 1):
            yield min(self.first_delay * 2.0**attempt, self.max_delay) * random.uniform(0.5, 1.5)


DEFAULT_POLICY = RetryPolicy()
"""What `with_retries` uses when no policy is given; read at every call."""

_FINAL_TYPES = (
    ConnectionLostError,
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
# What s3fs makes of bad requests, of a bucket elsewhere and of what a server does not know.
_FINAL_ERRNOS = frozenset({errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EMSGSIZE, errno.ENAMETOOLONG, errno.EREMCHG})
# Libraries whose connection errors are no OSError; named, not imported: none of them need be installed.
_LIBRARIES = frozenset({"aiohttp", "botocore", "aiobotocore", "urllib3", "requests", "fsspec"})
_CONNECTION_ERRORS = frozenset(
    {
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
    if isinstance(error, _FINAL_TYPES):
        return False
    if isinstance(error, ConnectionError | TimeoutError) or _is_connection_error(error):
        return True
    status = _http_status(error) or _http_status(error.__cause__)
    if status is not None:
        return status >= 500 or status in _BUSY
    return isinstance(error, OSError) and error.errno not in _FINAL_ERRNOS


def with_retries(read: Callable[[], T], place: object, policy: RetryPolicy | None = None) -> T:
    """What `read` returns, tried again while the connection is the reason that it fails.

    Args:
        read: reads from a remote place; may be called several times.
        place: the URL, for messages.
        policy: None is `DEFAULT_POLICY`.

    Raises:
        ConnectionLostError: the last attempt failed too.
        Exception: whatever else `read` raises, at once.
    """
    policy = policy or DEFAULT_POLICY
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
    return any(
        kind.__name__ in _CONNECTION_ERRORS and kind.__module__.partition(".")[0] in _LIBRARIES
        for kind in type(error).__mro__
    )


def _http_status(error: BaseException | None) -> int | None:
    """Status of the answer that an error tells of: aiohttp's and gcsfs' attributes, botocore's response."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status", None) or getattr(error, "code", None)
    return status if isinstance(status, int) and status >= 400 else None
