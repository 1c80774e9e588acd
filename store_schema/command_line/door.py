"""What all three commands do alike: read the command line, run, say an error in one sentence, give an exit status."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeVar

import tyro

from store_schema.command_line.errors import sentence

T = TypeVar("T")


class Status(IntEnum):
    """Exit statuses that mean the same in all three; a verb may give 1 or 2 another meaning and says so."""

    DONE = 0
    FAILED = 1
    """Bad or missing input, a connection that is lost, no space left."""
    MISUSED = 2
    """Unknown options, or such that contradict each other."""
    INTERRUPTED = 130
    """Ctrl-C, as a shell has it: 128 + SIGINT."""
    CUT_OFF = 141
    """Whoever read the output does so no more, as `head`: 128 + SIGPIPE."""


def parse_verbs(name: str, about: str, verbs: Mapping[str, type], arguments: Sequence[str]) -> Any:
    """The options of the verb that a command line names; wrong ones and ``--help`` end the program."""
    return tyro.extras.subcommand_cli_from_dict(dict(verbs), prog=name, description=about, args=arguments)


def run_door(
    name: str,
    parse: Callable[[list[str]], T],
    run: Callable[[T], int],
    arguments: Sequence[str] | None = None,
    *,
    expected: tuple[type[Exception], ...] = (),
    who: Callable[[], str] = lambda: "",
) -> int:
    """Read a command line and do what it says.

    Args:
        name: of the console command, before every error.
        parse: command line to options; ends the program, or raises ValueError, when they are wrong.
        run: does the work; returns the exit status.
        arguments: the command line; None is that of the process.
        expected: errors besides those of `errors.sentence` that are told in one sentence.
        who: which of several processes this is, before what is told.

    Returns:
        The exit status.

    Raises:
        SystemExit: ``--help``, or wrong options.
        Exception: a defect of this program.
    """

    def tell(reason: object, status: Status) -> int:
        print(f"{name}: {who()}{reason}", file=sys.stderr, flush=True)
        return status

    try:
        try:
            command = parse(list(sys.argv[1:] if arguments is None else arguments))
        except ValueError as error:
            return tell(error, Status.MISUSED)
        status = run(command)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return tell("interrupted", Status.INTERRUPTED)
    except SystemExit as error:
        # rich leaves in this way when the output is cut off.
        if isinstance(error.__context__, BrokenPipeError) or _cut_off():
            return _hushed()
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _cut_off():
            return _hushed()
        reason = sentence(error, expected)
        if reason is None:
            raise
        return tell(reason, Status.FAILED)


def _cut_off() -> bool:
    """Whether nobody reads this process's output any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no such system call, or output that is no file
        return False


def _hushed() -> int:
    """What is still to be printed goes nowhere, and not into an error at the interpreter's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return Status.CUT_OFF
