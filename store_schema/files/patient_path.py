"""Remote paths that know how patiently they are read: the policy goes wherever the path goes.

Paths are made of paths (``store / "versions"``), listed, and sent to Dask workers. A policy that is an argument of
every function between the command line and a read would be forgotten in one of them; so it is the path's own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

from store_schema.files.retry import RetryPolicy


def patient(path: Path, policy: RetryPolicy) -> Path:
    """A remote path as `path` that is read by a policy, and so are all paths made of it."""
    return cast(Path, _class_of(policy)._from_upath(getattr(path, "__wrapped__", path)))


def patience(path: Path) -> RetryPolicy:
    """The policy that a path is read by: its own, or the defaults."""
    policy = getattr(path, "retry", None)
    return policy if isinstance(policy, RetryPolicy) else RetryPolicy()


@cache
def _class_of(policy: RetryPolicy) -> Any:
    # universal_pathlib makes paths of paths by their class alone, so there is a class for each policy.
    from upath.extensions import ProxyUPath

    class PatientPath(ProxyUPath):  # type: ignore[misc]
        __slots__ = ()
        retry = policy

        def __reduce__(self) -> tuple[Any, ...]:
            return patient, (self.__wrapped__, policy)

    return PatientPath
