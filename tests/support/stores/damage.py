"""Kinds of damage to the files of a fake log (`tests.support.logs.fake_log`), and how each must be answered."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg
from PIL import Image

from tests.support.logs.fake_log import edit_table, write_json

Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One damage of one file of a log."""

    name: str
    file: str
    """By path in the log; the error names this file, or `names` where that is set."""
    damage: Damage
    reason: str
    """Regular expression that the error's text must hold."""
    frame: int | None = None
    """Frame the error must name."""
    names: str | None = None

    @property
    def id(self) -> str:
        return f"{self.file}-{self.name}".replace("/", ".")


# Any file.


def cut(share: float) -> Damage:
    """Keep the first part of a file; negative: that many bytes less."""

    def change(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(share)] if share < 0 else data[: int(len(data) * share)])

    return change


def fill(data: bytes) -> Damage:
    return lambda path: path.write_bytes(data)


def huge(size: int) -> Damage:
    """A sparse file: it takes no room on the disk."""

    def change(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return change


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to(target: str) -> Damage:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return change


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def named(name: str, *, keep: bool = True) -> Damage:
    """The same bytes under another name, beside the file."""

    def change(path: Path) -> None:
        (path.parent / name).write_bytes(path.read_bytes())
        if not keep:
            path.unlink()

    return change


# Tables.


class Evil:
    """Unpickled by pandas or pickle this would run a command."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch marker",)


def pickled(value: object) -> Damage:
    return lambda path: path.write_bytes(gzip.compress(pickle.dumps(value)))


def unzipped(change: Callable[[bytes], bytes]) -> Damage:
    """Change the pickle inside the gzip, whose checksum is right again afterwards."""
    return lambda path: path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frame.pkl", b"\0" * 1000)


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda path: edit_table(path, change)


def put(column: str, value: object, row: int = 1) -> Damage:
    """Write a value into one cell."""

    def change(held: pd.DataFrame) -> pd.DataFrame:
        values = list(held[column])
        values[row] = value
        # Without its dtype, pandas would refuse half a surrogate pair.
        kind = object if held[column].dtype == object else None
        return held.assign(**{column: pd.Series(values, index=held.index, dtype=kind)})

    return table(change)


def dtype(column: str, kind: object) -> Damage:
    return table(lambda held: held.astype({column: kind}))


def table_cases(file: str, frame: int, numbers: tuple[str, ...], texts: tuple[str, ...] = ()) -> list[Case]:
    """Damage that any table can have; `numbers` and `texts` are columns of it."""
    case = lambda name, damage, reason: Case(name, file, damage, reason, frame)  # noqa: E731
    cases = [
        *[
            case(f"cut at {share}", cut(share), "truncated|empty|not an intact")
            for share in (0, 0.01, 0.3, 0.9, -1, -8)
        ],
        case("cut inside the gzip", unzipped(lambda data: data[: len(data) // 2]), "not an intact pickle"),
        case("garbage behind", lambda path: path.write_bytes(path.read_bytes() + b"x"), "garbage follow"),
        case("zeros", fill(bytes(100)), "pickle"),
        case("text", fill(b"<html>404</html>"), "pickle"),
        case("gzip of nothing", fill(gzip.compress(b"")), "pickle"),
        case("bad checksum", lambda path: path.write_bytes(path.read_bytes()[:-5] + b"12345"), "damaged|truncated"),
        case("zip", zipped, "pickle"),
        case("gzip in gzip", lambda path: path.write_bytes(gzip.compress(path.read_bytes())), "pickle"),
        case("class", pickled(Case), "asks for tests.support.stores.damage.Case, .* nothing was run"),
        case("command", pickled(Evil()), r"asks for posix\.system, .* nothing was run"),
        case("command in a list", pickled([pd.DataFrame({"x": [1.0]}), Evil()]), r"asks for posix\.system"),
        case("no table", pickled({"x": [1.0]}), "does not hold a DataFrame"),
        case("deep", fill(b"\x80\x03" + b"]" * 90_000 + b"a" * 89_999 + b"."), "does not hold a DataFrame"),
        case("bomb", fill(gzip.compress(bytes(3 << 20))), "unpacks to more than"),
        case("huge", huge((512 << 20) + 1), "is larger than"),
        case("folder", folder, "not a regular file"),
        case("pipe", pipe, "not a regular file"),
        case("two names", named(f"{frame}.pkl.gz"), "of the same frame; remove one of them"),
        case("other columns", table(lambda held: held.rename(columns="[/{}]".format)), "0 columns are named"),
    ]
    for column in numbers + texts:
        cases += [
            case(f"without {column}", table(lambda held, c=column: held.drop(columns=c)), f"0 columns are .*{column}"),
            case(f"{column} twice", table(lambda held, c=column: pd.concat([held, held[c]], axis=1)), "2 columns are"),
        ]
    for column in numbers:
        cases += [
            case(f"{column} as text", dtype(column, str), f"'{column}' has dtype (str|object), expected"),
            case(f"{column} as objects", dtype(column, object), f"'{column}' has dtype object, expected"),
            case(f"{column} as truth", dtype(column, bool), f"'{column}' has dtype bool, expected"),
        ]
    return cases


# JSON.


def edit_json(change: Callable[[list | dict], object]) -> Damage:
    return lambda path: write_json(path, change(json.loads(path.read_text())))


def numbers_in(value: object) -> int:
    """How many numbers a JSON value holds."""
    if isinstance(value, (list, dict)):
        return sum(map(numbers_in, value.values() if isinstance(value, dict) else value))
    return 1


def with_number(value: object, place: int, new: object) -> object:
    """The value, its number at `place` in file order replaced."""
    if isinstance(value, dict):
        return dict(zip(value, with_number(list(value.values()), place, new), strict=True))
    if isinstance(value, list):
        out = []
        for part in value:
            count = numbers_in(part)
            out.append(with_number(part, place, new) if 0 <= place < count else part)
            place -= count
        return out
    return new


def json_cases(file: str, frame: int | None, used: tuple[int, ...], *, optional: bool = False) -> list[Case]:
    """Damage that any JSON file can have; `used` are the places of its numbers of that frame that are read."""
    case = lambda name, damage, reason, at=None: Case(name, file, damage, reason, at)  # noqa: E731
    cases = [
        *[case(f"cut at {share}", cut(share), "not valid JSON") for share in (0, 0.02, 0.5, 0.98, -1)],
        case("zeros", fill(bytes(100)), "not valid JSON"),
        case("binary", fill(b"\xff\xfe\x00"), "not valid JSON"),
        case("page", fill(b"<html>404</html>"), "not valid JSON"),
        case("deep lists", fill(b"[" * 100_000), "not valid JSON"),
        case("deep objects", fill(b'{"a":' * 100_000), "not valid JSON"),
        case("endless digits", fill(b"[" + b"9" * 100_000 + b"]"), "not valid JSON"),
        *[
            case(text, fill(text.encode()), "holds a (str|int|float|bool|NoneType)")
            for text in ('"a"', "1", "NaN", "null")
        ],
        case("too large", huge((64 << 20) + 1), "bytes, expected at most"),
        case("folder", folder, "not a regular file"),
        case("pipe", pipe, "not a regular file"),
        case("link to a device", link_to("/dev/zero"), "not a regular file"),
    ]
    if not optional:
        cases += [
            case("missing", Path.unlink, "the file is missing"),
            case("link that leads nowhere", link_to("nowhere"), "the file is missing"),
            case("link to itself", link_to_itself, "levels of symbolic links"),
        ]
    for place in used:
        for name, value, reason in (
            ("NaN", float("nan"), "is not finite"),
            ("infinite", float("-inf"), "is not finite"),
            ("beyond any float", 10**400, "is not finite"),
            ("null", None, "is missing, expected a number"),
            ("text", "1.5", "is a str, expected a number"),
            ("truth", True, "is a bool, expected a number"),
            ("list", [1.0], "is a list, expected a number"),
        ):
            change = edit_json(lambda held, p=place, v=value: with_number(held, p, v))
            cases.append(case(f"number {place} {name}", change, reason, frame))
    return cases


def length_cases(file: str) -> list[Case]:
    """A list with one entry a frame, of another length."""
    lists = "lidar/timestamps.json lists"
    return [
        Case("one less", file, edit_json(lambda held: held[:-1]), lists),
        Case("one more", file, edit_json(lambda held: held + held[-1:]), lists),
        Case("none", file, fill(b"[]"), "lists no frames"),
        Case("an object", file, fill(b"{}"), "holds a dict instead of a list"),
    ]


# Images.


def image(mode: str = "RGB", size: tuple[int, int] = (16, 12), kind: str = "JPEG") -> Damage:
    """Another picture of noise, by Pillow."""
    noise = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)

    def change(path: Path) -> None:
        buffer = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(buffer, kind)
        path.write_bytes(buffer.getvalue())

    return change


def declared(width: int, height: int) -> Damage:
    """Another size in the JPEG's header than it has."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        path.write_bytes(bytes(data))

    return change


def cut_inside_the_scan(path: Path) -> None:
    """The second half of the scan is not there; the end mark is."""
    noise = np.random.default_rng(4).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    data = simplejpeg.encode_jpeg(noise, quality=100)
    start = data.index(b"\xff\xda")
    path.write_bytes(data[: start + (len(data) - start) // 2] + b"\xff\xd9")


def image_cases(file: str, frame: int) -> list[Case]:
    """Damage that any JPEG can have."""
    broken = "not an intact JPEG|truncated|not a readable JPEG"
    case = lambda name, damage, reason: Case(name, file, damage, reason, frame)  # noqa: E731
    return [
        *[case(f"cut at {share}", cut(share), broken) for share in (0, 0.01, 0.3, 0.6, 0.95, -1, -2, -20)],
        case("cut inside the scan", cut_inside_the_scan, broken),
        case("zeros", fill(bytes(500)), broken),
        case("garbage behind", lambda path: path.write_bytes(path.read_bytes() + b"x"), "truncated"),
        case("page", fill(b"<html>404</html>"), broken),
        case("PNG", image(kind="PNG"), broken),
        case("GIF", image(kind="GIF"), broken),
        case("grey", image("L"), "colours are Gray, expected RGB"),
        case("CMYK", image("CMYK"), "colours are CMYK, expected RGB"),
        case("one pixel", image(size=(1, 1)), "1 x 1 pixels, intrinsics.json puts its centre"),
        case("half the size", image(size=(8, 6)), "8 x 6 pixels, intrinsics.json puts its centre"),
        case("twice the size", image(size=(32, 24)), "32 x 24 pixels, intrinsics.json puts its centre"),
        case("on its side", image(size=(12, 16)), "12 x 16 pixels, intrinsics.json puts its centre"),
        case("declared larger", declared(17, 13), broken),
        case("declared enormous", declared(65500, 65500), "65500 x 65500 pixels, expected at most"),
        case("huge", huge((64 << 20) + 1), "bytes, expected at most"),
        case("folder", folder, "not a regular file"),
        case("pipe", pipe, "not a regular file"),
        case("two names", named(f"{frame}.jpg"), "of the same frame; remove one of them"),
    ]
