"""A scene of a clip: its Gaussians with the clip's views, times and names."""

from __future__ import annotations

from collections.abc import Mapping

from flux4d.gaussians import Gaussians
from flux4d.lift.scene import clip_duration
from flux4d.scenes.scene import Scene, SceneCamera
from store_schema.clip import Clip


def scene_of(
    clip: Clip,
    gaussians: Gaussians,
    *,
    dataset_version: str = "",
    method: str = "",
    made: Mapping[str, str] | None = None,
) -> Scene:
    """Put Gaussians made from a clip into a scene; `ego02world` stays open, clips do not hold it.

    Args:
        clip: What they were made from.
        gaussians: In the clip's ego0 frame; `source` counts the clip's points.
        dataset_version: Hash of the version that the clip is of.
        method: What made them.
        made: How, in words.

    Raises:
        ValueError: the Gaussians do not make a scene (`flux4d.scenes.scene.check_gaussians`).
    """
    cameras = tuple(
        SceneCamera(v.camera, v.time, v.cam2ego0, v.K, v.width, v.height, v.agent, v.model) for v in clip.views
    )
    return Scene(
        gaussians=gaussians,
        duration=clip_duration(clip),
        cameras=cameras,
        clip_id=clip.record.clip_id,
        log_id=clip.record.log_id,
        dataset_version=dataset_version,
        method=method,
        made=made or {},
    )
