"""What a scene file holds: its columns, and its metadata as JSON (docs/scene_format.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from flux4d.scenes.scene import Scene, SceneCamera
from store_schema.camera_model import model_from_json, model_to_json
from store_schema.hashing import HASH_CHARS, canonical_json
from store_schema.json_dataclass import JsonError, from_json, to_json

FORMAT_VERSION = 1
KEY = "flux4d_scene"
"""The one entry of the safetensors metadata; the library writes several in random order."""
NO_SEAL = "0" * HASH_CHARS
"""Stands in the place of the seal while the seal is computed."""
SEAL_MARK = b'{\\"blake3\\":\\"'
"""What the seal follows in the file: it is the first entry of the metadata, whose quotes JSON has escaped."""
NUMPY = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "BOOL": np.dtype("bool")}


@dataclass(frozen=True, slots=True)
class SceneColumn:
    """A tensor of the file; its first dimension is the Gaussians."""

    dtype: str
    """As safetensors spells it, a key of `NUMPY`."""
    tail: tuple[int | None, ...] = ()
    """The other dimensions; None is any size above 0."""
    optional: bool = False


COLUMNS = {
    "means": SceneColumn("F32", (3,)),
    "quats": SceneColumn("F32", (4,)),
    "scales": SceneColumn("F32", (3,)),
    "opacities": SceneColumn("F32"),
    "rgb": SceneColumn("F32", (3,)),
    "times": SceneColumn("F32"),
    "velocities": SceneColumn("F32", (None, 3)),
    "is_sky": SceneColumn("BOOL"),
    "source": SceneColumn("I32", optional=True),
    "sigma_t": SceneColumn("F32", optional=True),
    "instance": SceneColumn("I32", optional=True),
}

_Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class CameraEntry:
    """A `SceneCamera` in the metadata."""

    agent: str
    camera: str
    model: dict[str, Any]
    time: float
    width: int
    height: int
    K: _Matrix
    cam2ego0: _Matrix


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the file says beside its columns."""

    blake3: str
    """The seal; sorts before all other names."""
    format_version: int
    clip_id: str
    log_id: str
    dataset_version: str
    method: str
    made: dict[str, str]
    duration: float
    ego02world: _Matrix | None
    cameras: tuple[CameraEntry, ...]


def metadata_text(scene: Scene) -> str:
    """The metadata of a scene as canonical JSON, without a seal yet."""
    cameras = tuple(
        CameraEntry(c.agent, c.camera, model_to_json(c.model), c.time, c.width, c.height, _rows(c.K), _rows(c.cam2ego0))
        for c in scene.cameras
    )
    about = Metadata(
        blake3=NO_SEAL,
        format_version=FORMAT_VERSION,
        clip_id=scene.clip_id,
        log_id=scene.log_id,
        dataset_version=scene.dataset_version,
        method=scene.method,
        made=dict(scene.made),
        duration=scene.duration,
        ego02world=None if scene.ego02world is None else _rows(scene.ego02world),
        cameras=cameras,
    )
    return canonical_json(to_json(about)).decode()


def parse_metadata(text: str) -> Metadata:
    """What `metadata_text` wrote, of this version.

    Raises:
        ValueError: of another version, or not of this form; says what.
    """
    value = json.loads(text)
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"scene format {version!r}, this version of the package reads {FORMAT_VERSION}: use the version that wrote "
            "it, or write it again"
        )
    names = {field.name for field in fields(Metadata)}
    if missing := sorted(names - value.keys()):
        raise ValueError(f"the metadata lacks {', '.join(missing)}")
    try:
        return from_json(Metadata, value)
    except JsonError as error:
        raise ValueError(f"the metadata does not have the form of docs/scene_format.md ({error})") from error


def cameras_of(about: Metadata) -> tuple[SceneCamera, ...]:
    """The views in the metadata.

    Raises:
        ValueError: a matrix is none, or means nothing.
    """
    return tuple(
        SceneCamera(
            camera=entry.camera,
            time=entry.time,
            cam2ego0=np.array(entry.cam2ego0, np.float64),
            K=np.array(entry.K, np.float64),
            width=entry.width,
            height=entry.height,
            agent=entry.agent,
            model=model_from_json(entry.model),
        )
        for entry in about.cameras
    )


def _rows(matrix: np.ndarray[Any, np.dtype[np.float64]]) -> _Matrix:
    return tuple(tuple(map(float, row)) for row in matrix)
