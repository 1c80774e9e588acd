"""Which errors a command tells in one sentence, and in which words; all others are defects and show a traceback."""

from __future__ import annotations

from store_schema.clip import NotHeldError

_EXPECTED = (ValueError, OSError, RuntimeError, NotHeldError)
"""Bad input and a world that does not play along. What goes wrong in torch comes as RuntimeError, too."""
_DEFECTS = (NotImplementedError, RecursionError)
"""Kinds of RuntimeError that no input should bring about."""
_CLIENTS = frozenset({"botocore", "aiohttp", "google", "gcsfs", "azure"})
"""Libraries of object stores whose errors have no common class; named, not imported."""
_ADVICE: tuple[tuple[type[OSError], str], ...] = (
    (PermissionError, "change its permissions, or name another place"),
    (IsADirectoryError, "it is a folder, and a file is wanted"),
    (NotADirectoryError, "it is a file, and a folder is wanted"),
    (FileNotFoundError, "check the path"),
)


def sentence(error: Exception, expected: tuple[type[Exception], ...] = ()) -> str | None:
    """What to say of an error; None for a defect.

    Args:
        error: what ended the command.
        expected: further classes whose message says all.
    """
    if isinstance(error, expected) or (isinstance(error, _EXPECTED) and not isinstance(error, _DEFECTS)):
        named = isinstance(error, OSError) and error.strerror is not None
        return _of_the_system(error) if named else str(error) or type(error).__name__  # type: ignore[arg-type]
    if type(error).__module__.split(".")[0] in _CLIENTS:
        return f"object store: {error}; check its address and credentials, see docs/cluster.md"
    return None


def _of_the_system(error: OSError) -> str:
    """An error of the operating system: file, reason, next step."""
    advice = next((f": {words}" for kind, words in _ADVICE if isinstance(error, kind)), "")
    reason = f"{str(error.strerror)[:1].lower()}{str(error.strerror)[1:]}"
    return f"{error.filename}: {reason}{advice}" if error.filename is not None else f"{reason}{advice}"
