"""Scenes the rasteriser is timed on: Gaussians on the raw LiDAR points of a log, or a made street."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.projection import project
from pipelines.features.images import EncodedImage
from pipelines.features.knn import knn_scale
from pipelines.sources.pandaset.reader import PandaSetLog

FRONT = "front_camera"
SWEEPS = {"A": range(-1, 1), "B": range(-4, 5)}
"""Sweeps of a load, counted from the frame that the camera is of: A is all around the car, B what the camera sees."""
CHANNELS = 7  # RGB, velocity, depth


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """N Gaussians and one pinhole camera."""

    load: str  # A, B or street
    means: Tensor  # [N, 3] m, ego axes of the frame (street: camera axes)
    quats: Tensor  # [N, 4] wxyz, any norm
    scales: Tensor  # [N, 3] m
    opacities: Tensor  # [N]
    features: Tensor  # [N, 6] RGB, velocity in m/s; the depth is the rasteriser's own channel
    viewmat: Tensor  # [4, 4]
    K: Tensor  # [3, 3] pixels of an image of `size`
    size: tuple[int, int]  # width, height

    def at(self, width: int) -> tuple[Tensor, int, int]:
        """Intrinsics, width and height of the camera's image scaled to a width."""
        height = round(self.size[1] * width / self.size[0])
        zoom = torch.tensor([width / self.size[0], height / self.size[1], 1.0])
        return self.K * zoom[:, None], width, height

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Fresh leaves: means, quats, scales, opacities, features."""
        means, quats, scales, opacities, features = (
            value.clone().requires_grad_()
            for value in (self.means, self.quats, self.scales, self.opacities, self.features)
        )
        return means, quats, scales, opacities, features


def splats_of(scene: Scene, width: int) -> tuple[Tensor, Tensor, RasterSettings]:
    """What the blend stage starts from.

    Returns:
        Splats [M, 6 + 7] front to back (geometry, RGB, velocity, depth), pixel boxes [M, 4], settings.
    """
    K, width, height = scene.at(width)
    settings = RasterSettings(width, height)
    with torch.no_grad():
        seen = project(scene.means, scene.quats, scene.scales, scene.opacities, scene.viewmat, K, settings)
        columns = [seen.means2d, seen.conics, seen.opacities[:, None], scene.features[seen.index], seen.depths[:, None]]
    return torch.cat(columns, dim=1), seen.boxes, settings


def real_scene(log: Path, load: str, frame: int, count: int) -> Scene:
    """Gaussians on raw LiDAR points.

    `count` points are drawn from all sweeps of the load, or all are taken where they are fewer. The scale of each is
    its mean distance to the three nearest of them, times a lognormal of 0.3 for each axis. Opacity is uniform in
    0.3..0.99, rotations, colours and velocities are random, all from one seed.

    Args:
        log: folder of a PandaSet log.
        load: "A" or "B", see `SWEEPS`.
        frame: frame whose front camera and ego axes are taken.
        count: Gaussians wanted.

    Raises:
        SystemExit: the log is too short around that frame, or has no front camera.
    """
    reader = PandaSetLog(log)
    frames = [frame + offset for offset in SWEEPS[load]]
    if frames[0] < 0 or frames[-1] >= reader.num_frames:
        raise SystemExit(
            f"load {load} of frame {frame} needs the sweeps {frames[0]} to {frames[-1]} and {log} has 0 to "
            f"{reader.num_frames - 1}: pass another --frame"
        )
    if FRONT not in reader.cameras:
        raise SystemExit(f"{log} has no {FRONT}: choose another --log")
    camera = reader.camera(FRONT, frame)
    image = EncodedImage.read(reader.log_id, camera)
    world2ego = np.linalg.inv(reader.ego2world(frame))
    ego2cam = np.asarray(np.linalg.inv(world2ego @ camera.cam2world), np.float64)
    points = np.concatenate([reader.sweep(number).points for number in frames]) @ world2ego[:3, :3].T + world2ego[:3, 3]
    if load == "B":
        points = points[_in_image(points, ego2cam, image)]
    return _gaussians(load, points, count, ego2cam, image)


def _in_image(points: NDArray[np.float64], ego2cam: NDArray[np.float64], image: EncodedImage) -> NDArray[np.bool_]:
    x, y, z = ego2cam[:3, :3] @ points.T + ego2cam[:3, 3:]
    K = image.camera.K
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
    inside: NDArray[np.bool_] = (z > 0.1) & (u >= 0) & (u < image.width) & (v >= 0) & (v < image.height)
    return inside


def _gaussians(
    load: str,
    points: NDArray[np.float64],  # [P, 3] ego axes
    count: int,
    ego2cam: NDArray[np.float64],
    image: EncodedImage,
) -> Scene:
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(points), min(count, len(points)), replace=False))
    points, N = points[rows], len(rows)
    features = np.concatenate([rng.uniform(size=(N, 3)), rng.normal(0, 2, (N, 3))], axis=1)

    def tensor(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    return Scene(
        load=load,
        means=tensor(points),
        quats=tensor(rng.normal(size=(N, 4))),
        scales=tensor(knn_scale(points)[:, None] * rng.lognormal(0, 0.3, (N, 3))),
        opacities=tensor(rng.uniform(0.3, 0.99, N)),
        features=tensor(features),
        viewmat=tensor(ego2cam),
        K=tensor(image.camera.K),
        size=(image.width, image.height),
    )


def street(count: int) -> Scene:
    """Ground and two walls with the spacing of a LiDAR (scale grows with range), about a third of it in view."""
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(count, generator=g) * 2 * torch.pi
    distance = 4 * torch.exp(torch.rand(count, generator=g) * 3)
    x, z = distance * torch.sin(angle), distance * torch.cos(angle)
    y = torch.full_like(x, 1.8)
    wall = x.abs() > 12
    y[wall] = 1.8 - 6 * torch.rand(int(wall.sum()), generator=g)
    return Scene(
        load="street",
        means=torch.stack([x.clamp(-12, 12), y, z], dim=1),
        quats=torch.randn(count, 4, generator=g),
        scales=0.006 * distance[:, None] * torch.exp(0.3 * torch.randn(count, 3, generator=g)),
        opacities=0.3 + 0.69 * torch.rand(count, generator=g),
        features=torch.rand(count, 6, generator=g),
        viewmat=torch.eye(4),
        K=torch.tensor([[1978.0, 0, 960], [0, 1978.0, 540], [0, 0, 1]]),
        size=(1920, 1080),
    )
