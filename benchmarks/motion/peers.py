"""Label-free scene flow of others as compact twins, from their published formulas: a pair or a few sweeps at a time.

All get the same points: above the ground, near enough, one LiDAR, in world axes, so that the ego's motion is gone.

* vote: per cluster a histogram of the displacements to the next sweep, its peaks, then ICP from each (ICP-Flow's kind);
* FastNSF: a coordinate network of 8 layers of 128 fitted to one pair through the target's distance transform;
* Floxels: a grid of flow vectors fitted through the distance transforms of several sweeps, with clusters held together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from scipy.spatial import cKDTree
from torch.nn import functional

Array = NDArray[np.float64]
CELL, MARGIN = 0.1, 3.0
FITTED = 4096


def clusters_of(points: Array, cell: float = 0.5) -> tuple[NDArray[np.int64], int]:
    """Connected cells: what the peers use HDBSCAN or DBSCAN for."""
    cells = np.floor(points / [cell, cell, 1.0]).astype(np.int64)
    cells -= cells.min(0)
    volume = np.zeros(cells.max(0) + 1, bool)
    volume[tuple(cells.T)] = True
    names, count = label(volume, np.ones((3, 3, 3)))
    return names[tuple(cells.T)] - 1, count


def vote(now: Array, after: Array, most: float = 4.0) -> Array:
    """Flow of each point [N, 3] m to the next sweep."""
    names, count = clusters_of(now)
    tree, flow = cKDTree(after), np.zeros_like(now)
    order = np.argsort(names, kind="stable")
    for mine in np.split(order, np.searchsorted(names[order], np.arange(1, count))):
        if len(mine) < 8 or np.ptp(now[mine, :2], axis=0).max() > 15:
            continue
        some = now[mine[np.linspace(0, len(mine) - 1, min(len(mine), 96)).astype(int)]]
        near = tree.query_ball_point(some, most)
        steps = np.concatenate([after[rows] - point for point, rows in zip(some, near, strict=True)])
        steps = steps[np.abs(steps[:, 2]) < 0.3][:, :2]
        if not len(steps):
            continue
        table, x, y = np.histogram2d(*steps.T, bins=int(2 * most / CELL), range=[[-most, most]] * 2)
        table = gaussian_filter(table, 1.0)
        peaks = np.argwhere((table == maximum_filter(table, 5)) & (table > 0))
        peaks = peaks[np.argsort(-table[tuple(peaks.T)], kind="stable")[:5]]
        starts = [np.zeros(3), *(np.array([x[a] + CELL / 2, y[b] + CELL / 2, 0.0]) for a, b in peaks)]
        results = [_icp(some, start, tree, after) for start in starts]
        still = tree.query(some, distance_upper_bound=1.0)[0].clip(0, 1.0).mean()
        cost, step = min(results, key=lambda one: one[0])
        flow[mine] = step if cost < 0.8 * still and np.linalg.norm(step) > 0.05 else 0.0
    return flow


def _icp(points: Array, step: Array, tree: cKDTree, after: Array) -> tuple[float, Array]:
    """Cost and translation after a few rounds of closest points."""
    for _ in range(5):
        away, rows = tree.query(points + step, distance_upper_bound=0.5)
        met = np.isfinite(away)
        if not met.any():
            break
        step = step + (after[rows[met]] - points[met] - step).mean(0)
    return float(tree.query(points + step, distance_upper_bound=1.0)[0].clip(0, 1.0).mean()), step


class DistanceField:
    """Trilinear distance to the nearest point of a sweep, m."""

    def __init__(self, points: Array, low: Array, high: Array, cell: tuple[float, float, float]) -> None:
        """Cells of `cell` m from `low` to `high`."""
        shape = np.ceil((high - low) / cell).astype(int) + 1
        empty = np.ones(shape, bool)
        inside = ((points >= low) & (points <= high)).all(1)
        empty[tuple(((points[inside] - low) / cell).astype(int).T)] = False
        away = distance_transform_edt(empty, sampling=cell).astype(np.float32)
        self.grid = torch.from_numpy(away)[None, None]
        self.low = torch.tensor(low, dtype=torch.float32)
        self.scale = torch.tensor(2.0 / (np.array(cell) * (shape - 1)), dtype=torch.float32)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Distances [N]."""
        place = ((points - self.low) * self.scale - 1.0).flip(-1)[None, None, None]
        return functional.grid_sample(self.grid, place, align_corners=True, padding_mode="border").reshape(-1)


def _bounds(sweeps: Sequence[Array]) -> tuple[Array, Array]:
    return np.min([s.min(0) for s in sweeps], 0) - MARGIN, np.max([s.max(0) for s in sweeps], 0) + MARGIN


def fast_nsf(now: Array, after: Array, steps: int, patience: int = 100) -> Array:
    """Flow of each point [N, 3] m: Adam at 8e-3 on the mean truncated distance, stopped when it no longer falls.

    Fitted to FITTED points spread over the sweep, which only makes it faster; the network then answers for all.
    """
    torch.manual_seed(0)
    low, high = _bounds([now, after])
    field = DistanceField(after, low, high, (0.2, 0.2, 0.2))
    layers: list[torch.nn.Module] = []
    width = 3
    for _ in range(8):
        layers += [torch.nn.Linear(width, 128), torch.nn.ReLU()]
        width = 128
    network = torch.nn.Sequential(*layers, torch.nn.Linear(128, 3))
    points = torch.tensor(now, dtype=torch.float32)
    centre = points - points.mean(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=8e-3)
    some = torch.from_numpy(np.random.default_rng(0).permutation(len(now))[:FITTED])
    best, kept, since = np.inf, network.state_dict(), 0
    for _ in range(steps):
        loss = field(points[some] + network(centre[some])).clamp(max=2.0).mean()
        if loss.item() < best - 1e-4:
            best, since = loss.item(), 0
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            since += 1
            if since > patience:
                break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.load_state_dict(kept)
    with torch.no_grad():
        return network(centre).numpy().astype(np.float64)


def floxels(sweeps: Sequence[Array], times: Sequence[float], now: int, steps: int, cell: float = 0.5) -> Array:
    """Flow of the points of sweep `now` over 0.1 s [N, 3] m, from a grid of vectors under sweeps at `times` s."""
    low, high = _bounds(sweeps)
    fields = [DistanceField(points, low, high, (0.2, 0.2, 0.2)) for points in sweeps]
    points = torch.tensor(sweeps[now], dtype=torch.float32)
    names, count = clusters_of(sweeps[now])
    groups = torch.from_numpy(names)
    size = torch.bincount(groups, minlength=count).clamp(min=1)[:, None]
    # The trilinear corners of each point in the grid of vectors.
    place = (points - torch.tensor(low, dtype=torch.float32)) / cell
    shape = np.ceil((high - low) / cell).astype(int) + 2
    base, part = place.floor().long(), place - place.floor()
    rows, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        index = base + torch.tensor(corner)
        rows.append((index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2])
        weights.append(torch.where(torch.tensor(corner).bool(), part, 1 - part).prod(1))
    used, row = torch.unique(torch.stack(rows, 1), return_inverse=True)
    weight = torch.stack(weights, 1)[..., None]
    vectors = torch.zeros((len(used), 3), requires_grad=True)
    optimiser = torch.optim.Adam([vectors], lr=0.05)
    for _ in range(steps):
        flow = (vectors[row] * weight).sum(1)
        loss = torch.zeros(())
        for number, field in enumerate(fields):
            if number != now:
                ahead = (times[number] - times[now]) / 0.1
                loss = loss + field(points + ahead * flow).clamp(max=5.0).mean() / round(ahead) ** 2
        mean = torch.zeros((count, 3)).index_add(0, groups, flow) / size
        loss = loss + 0.6 * (len(fields) - 1) * (flow - mean[groups]).norm(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return (vectors[row] * weight).sum(1).numpy().astype(np.float64)
