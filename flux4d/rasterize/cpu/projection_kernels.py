"""Compiled EWA projection of one Gaussian after the other, forward and backward, for float32 and float64.

The formulas, the culling and the order of operations are those of `flux4d.rasterize.projection`, the plain twin.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from flux4d.rasterize.constants import ALPHA_THRESHOLD, FOV_MARGIN, MAX_EXTENT, RasterSettings
from flux4d.rasterize.cpu.simd import prefetch

Array: TypeAlias = np.ndarray[Any, Any]

SIMD_SOURCE = "45889bd8ec4db613"
"""As in kernels.py: `prefetch` is compiled in."""
CHUNKS = 64
"""Partial sums of the view matrix' gradient: fixed, so that the sum does not depend on the threads."""
_AHEAD = 16
_KERNEL = {"nogil": True, "cache": True, "error_model": "numpy"}
# Inlined always, see kernels.py.
_PIECE = {**_KERNEL, "forceinline": True}


class Lens(NamedTuple):
    """Intrinsics, image and culling as scalars of the data's own type."""

    fx: Any
    fy: Any
    cx: Any
    cy: Any
    left: Any
    """Largest -x/z the Jacobian is taken at; `right`, `up`, `down` alike."""
    right: Any
    up: Any
    down: Any
    width: Any
    height: Any
    near: Any
    far: Any
    radius_clip: Any
    eps2d: Any
    max_extent: Any
    threshold: Any
    sigma_slack: Any
    pixel_slack: Any
    half: Any
    zero: Any
    one: Any
    two: Any


def lens(K: Array, settings: RasterSettings, sigma_slack: float, pixel_slack: float) -> Lens:
    """Scalars of a camera with intrinsics `K` [3, 3]."""
    fx, fy, cx, cy = (float(value) for value in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    width, height = settings.width, settings.height
    across, along = FOV_MARGIN * width / fx, FOV_MARGIN * height / fy
    values = (
        *(fx, fy, cx, cy),
        *(cx / fx + across, (width - cx) / fx + across, cy / fy + along, (height - cy) / fy + along),
        *(width, height, settings.near_plane, min(settings.far_plane, float(np.finfo(K.dtype).max))),
        *(settings.radius_clip, settings.eps2d, MAX_EXTENT, ALPHA_THRESHOLD, sigma_slack, pixel_slack),
        *(0.5, 0.0, 1.0, 2.0),
    )
    return Lens(*(K.dtype.type(value) for value in values))


@njit(**_PIECE)
def _ask_for(index: Array, m: int, means: Array, quats: Array, scales: Array) -> None:
    """Depth order jumps about in memory: have a later Gaussian brought near."""
    if m < len(index):
        g = index[m]
        prefetch(means, g * 3)
        prefetch(quats, g * 4)
        prefetch(scales, g * 3)


@njit(**_PIECE)
def _to_camera(means: Array, g: int, view: Array) -> Any:
    x, y, z = means[g, 0], means[g, 1], means[g, 2]
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3],
    )


@njit(**_PIECE)
def _rotation(quats: Array, g: int, c: Lens) -> Any:
    """Rotation matrix by rows, the unit quaternion and one over the norm of the given one."""
    w, x, y, z = quats[g, 0], quats[g, 1], quats[g, 2], quats[g, 3]
    inverse = c.one / np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    rows = (
        (c.one - c.two * (y * y + z * z), c.two * (x * y - w * z), c.two * (x * z + w * y)),
        (c.two * (x * y + w * z), c.one - c.two * (x * x + z * z), c.two * (y * z - w * x)),
        (c.two * (x * z - w * y), c.two * (y * z + w * x), c.one - c.two * (x * x + y * y)),
    )
    return rows, (w, x, y, z), inverse


@njit(**_PIECE)
def _row_of_jw(zoom: Any, slope: Any, axis: int, view: Array) -> Any:
    """A row of the Jacobian of the projection times the world's rotation."""
    return (
        zoom * (view[axis, 0] - slope * view[2, 0]),
        zoom * (view[axis, 1] - slope * view[2, 1]),
        zoom * (view[axis, 2] - slope * view[2, 2]),
    )


@njit(**_PIECE)
def _times(row: Any, matrix: Any) -> Any:
    return (
        row[0] * matrix[0][0] + row[1] * matrix[1][0] + row[2] * matrix[2][0],
        row[0] * matrix[0][1] + row[1] * matrix[1][1] + row[2] * matrix[2][1],
        row[0] * matrix[0][2] + row[1] * matrix[1][2] + row[2] * matrix[2][2],
    )


@njit(**_PIECE)
def _times_transposed(row: Any, matrix: Any) -> Any:
    return (_dot(row, matrix[0]), _dot(row, matrix[1]), _dot(row, matrix[2]))


@njit(**_PIECE)
def _dot(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**_PIECE)
def _scaled(a: Any, scales: Array, g: int) -> Any:
    return (a[0] * scales[g, 0], a[1] * scales[g, 1], a[2] * scales[g, 2])


@njit(**_PIECE)
def _clamped(value: Any, low: Any, high: Any) -> Any:
    return low if value < low else (high if value > high else value)


@njit(**_KERNEL)
def candidates(
    part: int,
    parts: int,
    means: Array,  # [N, 3]
    scales: Array,  # [N, 3]
    opacities: Array,  # [N]
    view: Array,  # [4, 4]
    norm: Any,  # spectral norm of the view matrix' rotation
    c: Lens,
    depths: Array,  # out [N], 0 where the Gaussian cannot be seen
) -> None:
    """z-depths of what may be seen: cheap, and never leaves out a visible one."""
    many = len(means)
    wide_x = np.sqrt(c.one + max(c.left, c.right) ** 2)
    wide_y = np.sqrt(c.one + max(c.up, c.down) ** 2)
    slack = c.max_extent + c.max_extent * c.pixel_slack
    for g in range(many * part // parts, many * (part + 1) // parts):
        # Behind the camera, too far or too faint: not seen.
        x, y, z = _to_camera(means, g, view)
        depths[g] = c.zero
        if not (z >= c.near and z <= c.far and opacities[g] >= c.threshold):
            continue
        # A box that surely holds the splat's footprint: its largest scale in every direction.
        largest = max(max(abs(scales[g, 0]), abs(scales[g, 1])), abs(scales[g, 2])) * norm / z
        u, v = c.fx * x / z + c.cx, c.fy * y / z + c.cy
        # |J W R S| <= focal / z * sqrt(1 + lim^2) * |W| * largest scale
        across, along = c.fx * largest * wide_x, c.fy * largest * wide_y
        across = slack * np.sqrt(across * across + c.eps2d) + c.two
        along = slack * np.sqrt(along * along + c.eps2d) + c.two
        if u + across > c.zero and u - across < c.width and v + along > c.zero and v - along < c.height:
            depths[g] = z


@njit(**_KERNEL)
def forward(
    part: int,
    parts: int,
    index: Array,  # [M] int64
    means: Array,  # [N, 3]
    quats: Array,  # [N, 4]
    scales: Array,  # [N, 3]
    opacities: Array,  # [N]
    view: Array,  # [4, 4]
    c: Lens,
    means2d: Array,  # out [M, 2]
    conics: Array,  # out [M, 3]
    depths: Array,  # out [M]
    radii: Array,  # out [M, 2] int32, 0 where culled
    boxes: Array,  # out [M, 4] int32
) -> None:
    """Project the Gaussians `index`."""
    many = len(index)
    for m in range(many * part // parts, many * (part + 1) // parts):
        g = index[m]
        _ask_for(index, m + _AHEAD, means, quats, scales)
        # Mean in camera axes, and its pixel.
        x, y, z = _to_camera(means, g, view)
        u, v = c.fx * x / z + c.cx, c.fy * y / z + c.cy
        # Rows of J W R S: the Jacobian at the mean (its slope held near the image) times rotation and scales.
        rotation = _rotation(quats, g, c)[0]
        slope_x, slope_y = _clamped(x / z, -c.left, c.right), _clamped(y / z, -c.up, c.down)
        a = _scaled(_times(_row_of_jw(c.fx / z, slope_x, 0, view), rotation), scales, g)
        b = _scaled(_times(_row_of_jw(c.fy / z, slope_y, 1, view), rotation), scales, g)
        # 2D covariance, blurred by eps2d, and its inverse, the conic.
        xx, xy, yy = _dot(a, a) + c.eps2d, _dot(a, b), _dot(b, b) + c.eps2d
        det = xx * yy - xy * xy
        means2d[m, 0], means2d[m, 1], depths[m] = u, v, z
        keep = det > c.zero
        det = det if keep else c.one
        conics[m, 0], conics[m, 1], conics[m, 2] = yy / det, -xy / det, xx / det
        # gsplat's radii: how far the splat is above the alpha threshold; culled outside the image.
        reach = c.two * np.log(opacities[g] / c.threshold)
        cut = min(np.sqrt(reach), c.max_extent)
        deviation_x, deviation_y = np.sqrt(xx), np.sqrt(yy)
        radius_x, radius_y = np.ceil(cut * deviation_x), np.ceil(cut * deviation_y)
        keep &= u + radius_x > c.zero and u - radius_x < c.width and v + radius_y > c.zero and v - radius_y < c.height
        keep &= radius_x > c.radius_clip or radius_y > c.radius_clip
        keep &= radius_x > c.zero and radius_y > c.zero
        # The rectangle of pixels that blending looks at: never smaller, whatever rounding does.
        cut = np.sqrt(reach + c.two * c.sigma_slack)
        far_x, far_y = cut * deviation_x + c.pixel_slack, cut * deviation_y + c.pixel_slack
        x0, x1 = np.ceil(u - far_x - c.half), np.floor(u + far_x + c.half)
        y0, y1 = np.ceil(v - far_y - c.half), np.floor(v + far_y + c.half)
        x0, x1 = _clamped(x0, c.zero, c.width), _clamped(x1, c.zero, c.width)
        y0, y1 = _clamped(y0, c.zero, c.height), _clamped(y1, c.zero, c.height)
        radii[m, 0] = np.int32(min(radius_x, c.one * (1 << 30))) if keep else 0
        radii[m, 1] = np.int32(min(radius_y, c.one * (1 << 30))) if keep else 0
        keep &= x1 > x0 and y1 > y0
        boxes[m, 0], boxes[m, 1] = np.int32(x0) if keep else 0, np.int32(x1) if keep else 0
        boxes[m, 2], boxes[m, 3] = np.int32(y0) if keep else 0, np.int32(y1) if keep else 0


@njit(**_KERNEL)
def backward(
    part: int,
    parts: int,
    index: Array,  # [M] int64
    means: Array,  # [N, 3]
    quats: Array,  # [N, 4]
    scales: Array,  # [N, 3]
    view: Array,  # [4, 4]
    c: Lens,
    v_means2d: Array,  # [M, 2]
    v_conics: Array,  # [M, 3]
    v_depths: Array,  # [M]
    v_means: Array,  # out [N, 3], zero on entry; likewise the next two
    v_quats: Array,  # out [N, 4]
    v_scales: Array,  # out [N, 3]
    v_view: Array,  # out [CHUNKS, 3, 4] float64, zero on entry: the terms of many Gaussians cancel
) -> None:
    """Gradient of the projection; `v_view` by chunk of the splats."""
    many = len(index)
    for chunk in range(part, CHUNKS, parts):
        v_chunk = v_view[chunk]
        for m in range(many * chunk // CHUNKS, many * (chunk + 1) // CHUNKS):
            g = index[m]
            _ask_for(index, m + _AHEAD, means, quats, scales)
            # Again what the forward pass had: keeping it would cost more memory than the arithmetic costs time.
            x, y, z = _to_camera(means, g, view)
            near = c.one / z
            rotation, unit, over_norm = _rotation(quats, g, c)
            slope_x, slope_y = _clamped(x * near, -c.left, c.right), _clamped(y * near, -c.up, c.down)
            zoom_x, zoom_y = c.fx * near, c.fy * near
            row_x, row_y = _row_of_jw(zoom_x, slope_x, 0, view), _row_of_jw(zoom_y, slope_y, 1, view)
            turned_x, turned_y = _times(row_x, rotation), _times(row_y, rotation)
            a, b = _scaled(turned_x, scales, g), _scaled(turned_y, scales, g)
            xx, xy, yy = _dot(a, a) + c.eps2d, _dot(a, b), _dot(b, b) + c.eps2d
            det = xx * yy - xy * xy
            if not det > c.zero:
                continue  # culled
            # From the conic's gradient to that of the 2D covariance.
            over_det = c.one / det
            v0, v1, v2 = v_conics[m, 0] * over_det, v_conics[m, 1] * over_det, v_conics[m, 2] * over_det
            v_det = -(v0 * yy - v1 * xy + v2 * xx) * over_det
            v_xx, v_xy, v_yy = c.two * (v2 + v_det * yy), -v1 - c.two * v_det * xy, c.two * (v0 + v_det * xx)
            # From the covariance to the rows a and b of J W R S, and on to scales, quaternion and the rows of J W.
            v_a = (v_xx * a[0] + v_xy * b[0], v_xx * a[1] + v_xy * b[1], v_xx * a[2] + v_xy * b[2])
            v_b = (v_yy * b[0] + v_xy * a[0], v_yy * b[1] + v_xy * a[1], v_yy * b[2] + v_xy * a[2])
            for j in range(3):
                v_scales[g, j] = v_a[j] * turned_x[j] + v_b[j] * turned_y[j]
            v_a, v_b = _scaled(v_a, scales, g), _scaled(v_b, scales, g)
            _back_rotation(row_x, row_y, v_a, v_b, unit, over_norm, c, v_quats, g)
            v_row_x, v_row_y = _times_transposed(v_a, rotation), _times_transposed(v_b, rotation)
            # From the rows of J W to the Jacobian's zoom and slope and to the view matrix.
            v_zoom_x = v_slope_x = v_zoom_y = v_slope_y = c.zero
            for i in range(3):
                v_zoom_x += v_row_x[i] * (view[0, i] - slope_x * view[2, i])
                v_zoom_y += v_row_y[i] * (view[1, i] - slope_y * view[2, i])
                v_slope_x -= zoom_x * v_row_x[i] * view[2, i]
                v_slope_y -= zoom_y * v_row_y[i] * view[2, i]
                v_chunk[0, i] += zoom_x * v_row_x[i]
                v_chunk[1, i] += zoom_y * v_row_y[i]
                v_chunk[2, i] -= slope_x * zoom_x * v_row_x[i] + slope_y * zoom_y * v_row_y[i]
            # Beyond the clamp the slope stands still.
            v_slope_x = v_slope_x if slope_x == x * near else c.zero
            v_slope_y = v_slope_y if slope_y == y * near else c.zero
            # The pixel of the mean and its depth add to the same slopes and to z.
            v_slope_x += v_means2d[m, 0] * c.fx
            v_slope_y += v_means2d[m, 1] * c.fy
            # From slopes, zooms and depth to the point in camera axes, and to mean and view matrix in the world's.
            v_near = v_slope_x * x + v_slope_y * y + v_zoom_x * c.fx + v_zoom_y * c.fy
            v_point = (v_slope_x * near, v_slope_y * near, v_depths[m] - v_near * near * near)
            for i in range(3):
                v_means[g, i] = view[0, i] * v_point[0] + view[1, i] * v_point[1] + view[2, i] * v_point[2]
                for r in range(3):
                    v_chunk[r, i] += v_point[r] * means[g, i]
            for r in range(3):
                v_chunk[r, 3] += v_point[r]


@njit(**_PIECE)
def _back_rotation(
    row_x: Any, row_y: Any, v_a: Any, v_b: Any, unit: Any, over_norm: Any, c: Lens, v_quats: Array, g: int
) -> None:
    """Gradient of a quaternion of any norm from that of its rotation matrix, ``row^T v`` summed over both rows."""
    w, x, y, z = unit
    r00, r01, r02 = _outer(row_x[0], row_y[0], v_a, v_b)
    r10, r11, r12 = _outer(row_x[1], row_y[1], v_a, v_b)
    r20, r21, r22 = _outer(row_x[2], row_y[2], v_a, v_b)
    # Gradient of the rotation matrix by its unit quaternion.
    v_w = c.two * (z * (r10 - r01) + y * (r02 - r20) + x * (r21 - r12))
    v_x = c.two * (y * (r01 + r10) + z * (r02 + r20) + w * (r21 - r12) - c.two * x * (r11 + r22))
    v_y = c.two * (x * (r01 + r10) + z * (r12 + r21) + w * (r02 - r20) - c.two * y * (r00 + r22))
    v_z = c.two * (x * (r02 + r20) + y * (r12 + r21) + w * (r10 - r01) - c.two * z * (r00 + r11))
    # Only the part across the quaternion: its norm does not turn anything.
    along = w * v_w + x * v_x + y * v_y + z * v_z
    v_quats[g, 0] = (v_w - along * w) * over_norm
    v_quats[g, 1] = (v_x - along * x) * over_norm
    v_quats[g, 2] = (v_y - along * y) * over_norm
    v_quats[g, 3] = (v_z - along * z) * over_norm


@njit(**_PIECE)
def _outer(left: Any, right: Any, v_a: Any, v_b: Any) -> Any:
    return (left * v_a[0] + right * v_b[0], left * v_a[1] + right * v_b[1], left * v_a[2] + right * v_b[2])
