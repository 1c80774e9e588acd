"""A scene file back to a scene: every size is checked before memory is taken, every byte against the seal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.scenes.layout import COLUMNS, KEY, NO_SEAL, NUMPY, SEAL_MARK, Metadata, cameras_of, parse_metadata
from flux4d.scenes.scene import Scene
from store_schema.files.paths import location
from store_schema.hashing import HASH_CHARS, hash_bytes

MAX_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
_COPY = "copy it again or make it anew"


class SceneFileError(ValueError):
    """A file is no scene of this version, or not what was written; the message names it and says what to do."""


def read_scene(path: Path | str, device: torch.device | str = "cpu") -> Scene:
    """Read and verify what `flux4d.scenes.write.write_scene` or another program wrote by docs/scene_format.md.

    Args:
        path: A local file or one of an object store.
        device: Where the Gaussians go.

    Raises:
        FileNotFoundError: there is no such file.
        SceneFileError: the file is damaged, cut, foreign, of another version, lacks a column, has one of another type
            or shape, or holds values that mean nothing.
    """
    path = location(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: there is no such scene file")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header, head = _header(file, size)
            about, places = _about(header), _places(header, size - len(head))
            data = _rest(file, head, size)
        _check_seal(data, about)
        columns = {name: _tensor(data, len(head), name, place).to(device) for name, place in places.items()}
        return _scene(columns, about)
    except SceneFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise SceneFileError(f"{path}: {error}") from error


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], bytes]:
    """The safetensors header, and all bytes before the columns."""
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > min(size - 8, MAX_HEADER):
        raise ValueError(f"not a whole safetensors file ({size} bytes, a header of {length}); {_COPY}")
    text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ValueError(f"its header is not JSON ({error}); {_COPY}") from error
    if not isinstance(header, dict):
        raise ValueError(f"its header is no JSON object; {_COPY}")
    return header, first + text


def _rest(file: BinaryIO, head: bytes, size: int) -> bytearray:
    data = bytearray(size)
    data[: len(head)] = head
    rest = memoryview(data)[len(head) :]
    while len(rest):
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"{len(rest)} of its {size} bytes cannot be read; {_COPY}")
        rest = rest[count:]
    return data


def _about(header: dict[str, Any]) -> Metadata:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ValueError(f"no scene file: its metadata has no {KEY!r}; write it as docs/scene_format.md says")
    return parse_metadata(metadata[KEY])


def _places(header: dict[str, Any], room: int) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Shape, begin and end of every column, after a check that they fill the `room` bytes of the file exactly."""
    found = {name: entry for name, entry in header.items() if name != "__metadata__"}
    required = {name for name, column in COLUMNS.items() if not column.optional}
    if missing := sorted(required - found.keys()):
        raise ValueError(f"column {', '.join(missing)} is missing; write it as docs/scene_format.md says")
    if unknown := sorted(found.keys() - COLUMNS.keys()):
        raise ValueError(f"column {', '.join(unknown)} is not known to scene format 1; leave it out")
    places = {name: _place(name, entry) for name, entry in found.items()}
    at = 0
    for name, (_, begin, end) in sorted(places.items(), key=lambda item: item[1][1:]):
        if begin != at:
            raise ValueError(f"column {name} begins at byte {begin}, the one before ends at {at}; {_COPY}")
        at = end
    if at != room:
        raise ValueError(f"the columns need {at} bytes, the file has {room} for them: it was cut or added to; {_COPY}")
    if len({shape[0] for shape, _, _ in places.values()}) != 1:
        counts = ", ".join(f"{name} {shape[0]}" for name, (shape, _, _) in sorted(places.items()))
        raise ValueError(f"columns differ in their number of Gaussians: {counts}; write one row a Gaussian in each")
    if not places["means"][0][0]:
        raise ValueError("it holds no Gaussian")
    return places


def _place(name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    column = COLUMNS[name]
    wanted = f"{column.dtype} of shape [{', '.join(['N', *('L + 1' if n is None else str(n) for n in column.tail)])}]"
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"column {name} is not described as safetensors does; {_COPY}") from error
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in (*shape, begin, end)):
        raise ValueError(f"column {name} has sizes that are no whole numbers; {_COPY}")
    tail = len(shape) == 1 + len(column.tail) and all(
        (have >= 1) if want is None else have == want for have, want in zip(shape[1:], column.tail, strict=True)
    )
    if dtype != column.dtype or not tail:
        raise ValueError(f"column {name} is {dtype} of shape {shape}, it must be {wanted}; convert it first")
    if end - begin != math.prod(shape) * NUMPY[dtype].itemsize:
        raise ValueError(f"column {name} of shape {shape} has {end - begin} bytes; {_COPY}")
    return shape, begin, end


def _check_seal(data: bytearray, about: Metadata) -> None:
    """blake3 of the file with zeros in the place of the seal."""
    if (mark := data.find(SEAL_MARK)) < 0:
        raise ValueError('its metadata must begin with {"blake3":" and have no blanks, or the seal is not found')
    at = mark + len(SEAL_MARK)
    seal = bytes(data[at : at + HASH_CHARS])
    data[at : at + HASH_CHARS] = NO_SEAL.encode()
    if seal != about.blake3.encode() or hash_bytes(memoryview(data)).encode() != seal:
        raise ValueError(f"it is not what was written (its blake3 is another); {_COPY}")


def _tensor(data: bytearray, start: int, name: str, place: tuple[tuple[int, ...], int, int]) -> Tensor:
    shape, begin, _ = place
    dtype = NUMPY[COLUMNS[name].dtype]
    array = np.frombuffer(data, dtype, count=math.prod(shape), offset=start + begin).reshape(shape)
    if dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise ValueError(f"column {name} holds bytes that are neither 0 nor 1; {_COPY}")
    tensor = torch.from_numpy(array.copy())  # aligned, and free of the file's bytes
    return tensor.long() if name == "source" else tensor


def _scene(columns: dict[str, Tensor], about: Metadata) -> Scene:
    if "source" not in columns:
        columns["source"] = torch.full_like(columns["is_sky"], -1, dtype=torch.int64)
    return Scene(
        gaussians=Gaussians(**columns),
        duration=about.duration,
        cameras=cameras_of(about),
        ego02world=None if about.ego02world is None else np.array(about.ego02world, np.float64),
        clip_id=about.clip_id,
        log_id=about.log_id,
        dataset_version=about.dataset_version,
        method=about.method,
        made=about.made,
    )
