"""A scene to its file: columns and metadata as safetensors, sealed, there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from flux4d.scenes.layout import COLUMNS, KEY, NO_SEAL, NUMPY, SEAL_MARK, metadata_text
from flux4d.scenes.scene import Scene
from store_schema.files.atomic import write_atomic
from store_schema.files.paths import location
from store_schema.hashing import hash_bytes


def write_scene(path: Path | str, scene: Scene) -> None:
    """Write a scene file or replace it; equal scenes give equal bytes.

    Args:
        path: A local file or one of an object store (`store_schema.files.paths`).
        scene: The scene.

    Raises:
        ValueError: the scene holds no Gaussian, or row numbers that the file has no room for.
    """
    write_atomic(location(path), scene_bytes(scene))


def scene_bytes(scene: Scene) -> bytes:
    """The content of the file.

    Raises:
        ValueError: as `write_scene`.
    """
    data = bytearray(to_safetensors(_columns(scene), {KEY: metadata_text(scene)}))
    at = data.index(SEAL_MARK) + len(SEAL_MARK)
    assert data[at : at + len(NO_SEAL)] == NO_SEAL.encode()
    data[at : at + len(NO_SEAL)] = hash_bytes(memoryview(data)).encode()
    return bytes(data)


def _columns(scene: Scene) -> dict[str, NDArray[np.generic]]:
    """Contiguous, in the types of the file; `source` only where some Gaussian has one."""
    if not len(scene.gaussians):
        raise ValueError("the scene holds no Gaussian: there is nothing to write")
    arrays = {}
    for name, column in scene.gaussians.columns().items():
        dtype = NUMPY[COLUMNS[name].dtype]
        if name == "source":
            if not (column >= 0).any():
                continue
            if int(column.max()) >= 1 << 31:
                raise ValueError(f"source {int(column.max())} does not fit the file's 32 bits")
        arrays[name] = np.ascontiguousarray(column.detach().cpu().numpy().astype(dtype, copy=False))
    return arrays
