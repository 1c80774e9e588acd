"""Data frames out of pickles that may be hostile: nothing of the pickle is ever executed.

Three locks, one behind the other. The opcodes are scanned first: only those a data frame needs, in
bounded number. Names are then resolved through a fixed table, never by import. And the table leads to
inert stand-ins (`pickle_parts`, `pickle_frame`), not to numpy or pandas: the frame is built here, from checked arrays.

Reads what pandas 0.24 (PandaSet) to 3 write, protocols 2 to 5, plain or gzip.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.sources.pandaset.pickle_frame import NAMES, Frame
from pipelines.sources.pandaset.pickle_parts import PickleRefusedError, expect
from store_schema.files.paths import read_bytes

MAX_BYTES = 512 << 20
"""Default bound of an unpacked file; a PandaSet sweep has 8 MB."""
_MAX_OPCODES = 1_000_000
_MAX_TUPLES = 20_000
_MAX_MEMBERS = 1000
_GZIP_MAGIC = b"\x1f\x8b"
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK MEMOIZE GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD "
    "BINPUT LONG_BINPUT BINGET LONG_BINGET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3".split()
)


def load_dataframe(path: Path, *, max_bytes: int | None = None) -> pd.DataFrame:
    """Read a pickled data frame, gzip or plain (told apart by content), equal to ``pd.read_pickle``.

    Columns may be read-only views. `DataFrame.attrs` are not read. `max_bytes` is `MAX_BYTES` where it is not given.

    Raises:
        PickleRefusedError: truncated, damaged, larger than `max_bytes` when unpacked, or not a data frame of
            numbers, booleans and strings.
        OSError: the file cannot be read.
    """
    try:
        return loads(_unpack(path, MAX_BYTES if max_bytes is None else max_bytes))
    except PickleRefusedError as error:
        raise PickleRefusedError(error.reason, path) from error


def loads(data: bytes) -> pd.DataFrame:
    """Read a pickled data frame from memory.

    Raises:
        PickleRefusedError: the bytes are not the pickle of a data frame.
    """
    _scan(data)
    try:
        frame = _Unpickler(io.BytesIO(data)).load()
        expect(isinstance(frame, Frame), "the pickle does not hold a DataFrame; save one with DataFrame.to_pickle")
        built: pd.DataFrame = frame.build()
        return built
    except PickleRefusedError:
        raise
    # Whatever a hostile pickle provokes inside the unpickler (wrong argument counts, missing attributes,
    # memory) has one meaning here.
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise PickleRefusedError(f"the pickle does not have the form of a data frame ({what})") from error


def _unpack(path: Path, max_bytes: int) -> bytes:
    """The pickle's bytes, out of gzip if need be, never more than `max_bytes`."""
    if path.stat().st_size > max_bytes:
        raise PickleRefusedError(f"the file is larger than the {max_bytes} bytes a frame may have")
    packed = read_bytes(path)
    expect(packed, "the file is empty; fetch it again")
    if not packed.startswith(_GZIP_MAGIC):
        return packed
    members: list[bytes] = []
    room = max_bytes
    while packed:
        expect(packed.startswith(_GZIP_MAGIC), f"{len(packed)} bytes of garbage follow the gzip data; fetch it again")
        # Each member costs a copy of the rest: a file of a million empty ones would take hours.
        expect(len(members) < _MAX_MEMBERS, f"more than {_MAX_MEMBERS} gzip members")
        inflate = zlib.decompressobj(wbits=31)
        try:
            # One byte more than allowed tells a bomb from a file of exactly that size.
            members.append(inflate.decompress(packed, room + 1))
        except zlib.error as error:
            raise PickleRefusedError(f"the gzip data are damaged ({error}); fetch it again") from error
        room -= len(members[-1])
        expect(room >= 0, f"it unpacks to more than the {max_bytes} bytes a frame may have")
        expect(inflate.eof, "the gzip data are truncated; fetch it again")
        packed = inflate.unused_data
    return members[0] if len(members) == 1 else b"".join(members)


def _scan(data: bytes) -> None:
    """Refuse opcodes no data frame needs, and amounts that would crash the interpreter, before anything runs.

    Tuples are counted because hashing a deeply nested one overflows the C stack; a memo index far beyond the
    number of entries would make the unpickler allocate and touch that much memory.
    """
    count = tuples = end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            count += 1
            expect(opcode.name in _OPCODES, f"pickle opcode {opcode.name} has no place in a data frame")
            expect(count <= _MAX_OPCODES, f"more than {_MAX_OPCODES} pickle opcodes")
            if opcode.name.startswith("TUPLE"):
                tuples += 1
                expect(tuples <= _MAX_TUPLES, f"more than {_MAX_TUPLES} tuples")
            elif opcode.name in ("BINPUT", "LONG_BINPUT"):
                expect(argument is not None and argument <= count, "a memo index out of order")
            end = (position or 0) + 1
    except PickleRefusedError:
        raise
    except Exception as error:
        raise PickleRefusedError(f"not an intact pickle ({str(error)[:200]}); fetch it again") from error
    expect(end == len(data), f"{len(data) - end} bytes of garbage follow the pickle; fetch it again")


class _Unpickler(pickle.Unpickler):
    """Knows the names in `pickle_frame.NAMES` and nothing else; never imports."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return NAMES[module, name]
        except KeyError:
            raise PickleRefusedError(
                f"it asks for {module}.{name}, which a data frame does not need: refused, nothing was run"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise PickleRefusedError("it refers to objects outside the file")
