"""The corpus of damaged logs: which damage of which file, and what the error must say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.support.stores import damage
from tests.support.stores.damage import Case, edit_json, fill, put, table

BAD = 1
"""Frame whose files are damaged."""
SWEEP, BOXES, LABELS = (f"{name}/01.pkl.gz" for name in ("lidar", "annotations/cuboids", "annotations/semseg"))
FRONT, BACK = "camera/front_camera", "camera/back_camera"

# What the frames' files can have.

SWEEP_CASES = [
    *damage.table_cases(SWEEP, BAD, ("x", "y", "z", "i", "t", "d")),
    *[Case(f"{c} NaN", SWEEP, put(c, np.nan), f"'{c}' is not finite in 1 rows", BAD) for c in "xyzit"],
    *[Case(f"{c} infinite", SWEEP, put(c, -np.inf), f"'{c}' is not finite in 1 rows", BAD) for c in "xyzit"],
    *[Case(f"{c} far", SWEEP, put(c, 1e30), f"'{c}' spans", BAD) for c in "xyz"],
    *[Case(f"{c} cut to integers", SWEEP, damage.dtype(c, int), "expected numbers with", BAD) for c in "xyz"],
    Case("t as integers", SWEEP, damage.dtype("t", int), "epoch seconds only fit float64", BAD),
    Case("t as float32", SWEEP, damage.dtype("t", np.float32), "epoch seconds only fit float64", BAD),
    Case("t in milliseconds", SWEEP, table(lambda t: t.assign(t=t["t"] * 1000)), "s from the sweep's stamp", BAD),
    Case("d as floats", SWEEP, damage.dtype("d", float), "'d' has dtype float64, expected integers", BAD),
    Case("d of a third sensor", SWEEP, put("d", 2), "'d' spans", BAD),
    Case("i beyond a byte", SWEEP, put("i", 256.0), "'i' spans", BAD),
    Case("no rows", SWEEP, table(lambda t: t[:0]), "holds no points", BAD),
]
BOX_CASES = [
    *damage.table_cases(BOXES, BAD, ("yaw", "position.x", "dimensions.z", "cuboids.sensor_id"), ("uuid", "label")),
    *[
        Case(f"{c} {value}", BOXES, put(c, value), f"'{c}' is not finite", BAD)
        for c in ("yaw", "position.y", "dimensions.x")
        for value in (np.nan, np.inf)
    ],
    *[Case(f"{c} far", BOXES, put(c, 1e30), f"'{c}' spans", BAD) for c in ("yaw", "position.y", "dimensions.x")],
    Case("yaw in degrees", BOXES, put("yaw", 170.0), "'yaw' spans", BAD),
    Case("flat box", BOXES, put("dimensions.y", 0.0), "expected more than 0 m", BAD),
    Case("inverted box", BOXES, put("dimensions.y", -2.0), "expected more than 0 m", BAD),
    Case("flags as integers", BOXES, damage.dtype("stationary", int), "'stationary' has dtype int64", BAD),
    Case("flags as text", BOXES, damage.dtype("stationary", str), "'stationary' has dtype", BAD),
    Case("sensor as floats", BOXES, damage.dtype("cuboids.sensor_id", float), "expected integers", BAD),
    Case("one track twice", BOXES, put("uuid", "track-0"), "track track-0 stands more than once", BAD),
    *[
        Case(f"{c} {value!r:.9}", BOXES, put(c, value), f"'{c}' holds", BAD)
        for c in ("uuid", "label")
        for value in (None, 3, np.nan, "", "a\nb", "\ud800", "a\0", "x" * 300)
    ],
]
IMAGE_CASES = [case for folder in (FRONT, BACK) for case in damage.image_cases(f"{folder}/01.jpg", BAD)]

# What the log's own files can have. A pose has 7 numbers, a GPS entry 5 of which 2 are read.

STAMPS = ("lidar/timestamps.json", f"{FRONT}/timestamps.json", f"{BACK}/timestamps.json")
POSES = ("lidar/poses.json", f"{FRONT}/poses.json", f"{BACK}/poses.json")
INTRINSICS, GPS = f"{BACK}/intrinsics.json", "meta/gps.json"
JSON_CASES = [
    *[case for file in STAMPS for case in damage.json_cases(file, BAD, (1,))],
    *[case for file in POSES for case in damage.json_cases(file, BAD, (7, 13))],
    *damage.json_cases(INTRINSICS, None, (0, 3)),
    *damage.json_cases(GPS, BAD, (5, 6), optional=True),
    Case("link that leads nowhere", GPS, damage.link_to("nowhere"), "the file is missing"),
    Case("link to itself", GPS, damage.link_to_itself, "levels of symbolic links"),
    *[case for file in (*STAMPS[1:], *POSES, GPS) for case in damage.length_cases(file)],
    Case("none", STAMPS[0], fill(b"[]"), "lists no frames"),
    Case("one less", STAMPS[0], edit_json(lambda v: v[:-1]), r"lists \d+ frames, .* lists \d+", names=POSES[0]),
    *[Case("swapped", f, edit_json(lambda v: [v[0], v[2], v[1]]), "stamps must increase", 2) for f in STAMPS],
    *[Case("twice", f, edit_json(lambda v: [v[0], v[0], v[2]]), "stamps must increase", 1) for f in STAMPS],
    Case("gap", STAMPS[0], edit_json(lambda v: [v[0], v[1], v[2] + 3600]), "within 10 s", 2),
    Case("another day", STAMPS[1], edit_json(lambda v: [t + 86400 for t in v]), "from the sweep's stamp", 0),
    *[
        Case(name, file, edit_json(lambda v, n=new: damage.with_number(v, 7, n)), reason, BAD)
        for file in POSES
        for name, new, reason in (("far", 1e12, "position is .* from the origin"),)
    ],
    *[
        Case(f"heading {scale}", f, edit_json(lambda v, s=scale: [scaled(pose, s) for pose in v]), "no rotation", 0)
        for f in POSES
        for scale in (0, 2.0, 1e200)
    ],
    *[
        Case(f"{name} {value}", INTRINSICS, edit_json(lambda v, n=name, x=value: {**v, n: x}), "must be positive")
        for name in ("fx", "cy")
        for value in (0, -1.0, 1e30)
    ],
    Case("of another size", INTRINSICS, edit_json(lambda v: {**v, "cx": 960.0}), "centre at", 0, f"{BACK}/00.jpg"),
    Case("without fy", INTRINSICS, edit_json(lambda v: {"fx": 1.0}), "fy is missing"),
    Case("a list", INTRINSICS, fill(b"[1, 2, 3, 4]"), "holds a list"),
    *[
        Case(f"{name} {value}", GPS, edit_json(lambda v, n=name, x=value: [v[0], {**v[1], n: x}, v[2]]), "degrees", 1)
        for name, value in (("lat", 90.1), ("lat", -91), ("long", 180.1), ("long", 1e300 / 10))
    ],
    Case("without long", GPS, edit_json(lambda v: [v[0], {"lat": 1.0}, v[2]]), "long is missing", 1),
]


def scaled(pose: dict, scale: float) -> dict:
    return {**pose, "heading": {axis: value * scale for axis, value in pose["heading"].items()}}


# What its folders can have.


def replace_folder(data: bytes | None, target: str | None = None) -> damage.Damage:
    """A file, a link or nothing in the place of a folder."""

    def change(path: Path) -> None:
        shutil.rmtree(path)
        if data is not None:
            path.write_bytes(data)
        if target is not None:
            path.symlink_to(target)

    return change


def folder_cases(file: str) -> list[Case]:
    return [
        Case("file", file, replace_folder(b"x"), "not a folder"),
        Case("link that leads nowhere", file, replace_folder(None, "nowhere"), "not a folder"),
        Case("link to itself", file, replace_folder(None, Path(file).name), "not a folder"),
    ]


FOLDER_CASES = [
    *[case for file in ("annotations", "annotations/cuboids", "annotations/semseg") for case in folder_cases(file)],
    *[case for file in ("meta", "camera", FRONT, BACK) for case in folder_cases(file)],
    Case("missing", "lidar", replace_folder(None), "the file is missing", names=STAMPS[0]),
    Case("file", "lidar", replace_folder(b"x"), "the file is missing", names=STAMPS[0]),
    Case(
        "empty camera", BACK, lambda path: (path.parent / "top").mkdir(), "missing", names="camera/top/timestamps.json"
    ),
    *[
        Case(
            f"camera {name!r}",
            BACK,
            lambda path, n=name: path.rename(path.parent / n),
            "rename",
            names=f"camera/{name}",
        )
        for name in ("back.camera", "back camera", "rück", "a\nb")
    ],
    Case("frame beyond the last", SWEEP, damage.named("03.pkl.gz"), "lists only 3 frames", 3, "lidar/03.pkl.gz"),
    Case("frame beyond the last", f"{BACK}/01.jpg", damage.named("10.jpg"), "only 3", 10, f"{BACK}/10.jpg"),
    *[Case("pipe", file, damage.pipe, "not a regular file", BAD) for file in (LABELS,)],
    *[Case("folder", file, damage.folder, "not a regular file", BAD) for file in (LABELS,)],
    Case("two names", LABELS, damage.named("1.pkl.gz"), "of the same frame", BAD),
]
ALL = [*SWEEP_CASES, *BOX_CASES, *IMAGE_CASES, *JSON_CASES, *FOLDER_CASES]
"""Every case that a single damaged log of three frames shows."""
BUILT = [
    *[case for case in SWEEP_CASES if case.name in ("cut at 0.3", "command", "x NaN", "t as float32", "x as text")],
    *[case for case in SWEEP_CASES if case.name in ("without x", "x twice", "no rows", "pipe", "two names")],
    *[case for case in SWEEP_CASES if case.name == "other columns"],
    *[case for case in BOX_CASES if case.name in ("cut at 0.9", "yaw inf", "one track twice", "command")],
    *[case for case in IMAGE_CASES if case.name in ("cut at 0.6", "grey", "one pixel")],
    *[case for case in JSON_CASES if case.name in ("cut at 0.5", "missing", "pipe", "folder", "null", "one less")],
    *[case for case in JSON_CASES if case.name.endswith((" NaN", " infinite")) or "link" in case.name],
    *[case for case in FOLDER_CASES if "beyond" not in case.name],
]
"""Some of each class of damage, for whole builds."""
