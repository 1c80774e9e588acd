"""Names of unfinished cache files with host and process in them, so that those of dead processes can be removed.

.tmp-{machine}-{process id}-{writer}-{unique}
"""

from __future__ import annotations

import os
import platform
import re
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from store_schema.files.atomic import TEMPORARY_PREFIX
from store_schema.hashing import hash_json

_NAME = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}([0-9a-f]{{12}})-([0-9]{{1,10}})-[0-9a-f]+-[0-9a-f]+")


def new_writer() -> str:
    """A word for all unfinished files of one object."""
    return uuid.uuid4().hex[:8]


def unfinished_name(writer: str) -> str:
    """A new name for a file that `writer`, an object of this process, is about to write."""
    return f"{_own_prefix(writer)}{uuid.uuid4().hex}"


def is_own(name: str, writer: str) -> bool:
    """Whether `writer` made this name, in this process: a fork's copy of an object is another writer."""
    return name.startswith(_own_prefix(writer))


def is_dead(name: str) -> bool:
    """Whether the process that made this name is known to have ended: one of this machine, and no longer there."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != _machine():
        return False
    try:
        os.kill(int(found[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _own_prefix(writer: str) -> str:
    return f"{TEMPORARY_PREFIX}{_machine()}-{os.getpid()}-{writer}-"


@cache
def _machine() -> str:
    """Where a process id means the same process: containers of one name, each with ids of its own, differ."""
    known = [platform.node()]
    with suppress(OSError):
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hash_json(known)[:12]
