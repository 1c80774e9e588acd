"""Reading pickles that may be hostile: equal to pandas on good ones, nothing run on bad ones."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.sources.pandaset.pickle_frame import NAMES
from pipelines.sources.pandaset.pickle_parts import Call, Part, PickleRefusedError
from pipelines.sources.pandaset.safe_pickle import load_dataframe, loads
from tests.support.logs.fake_log import cuboid_table, sweep_table
from tests.support.logs.real_slice import real_log

RNG = np.random.default_rng(1)
FRAMES = {
    "sweep": sweep_table(RNG, 50, 1.5e9),
    "cuboids": cuboid_table(RNG),
    "objects": pd.DataFrame({"a": ["x", None, np.nan, 3, True, 2.5]}, dtype=object),
    "small": pd.DataFrame({"a": np.float32([1, 2]), "b": np.int8([1, 2]), "c": [True, False]}),
    "big endian": pd.DataFrame({"a": np.array([1.5, 2.5], dtype=">f8")}),
    "no rows": sweep_table(RNG, 50, 1.5e9)[:0],
    "sliced": sweep_table(RNG, 50, 1.5e9)[10:20:3],
    "labelled rows": pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([7, 9], name="row")),
    "no columns": pd.DataFrame(index=range(3)),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", FRAMES)
def test_equals_pandas(name: str, protocol: int) -> None:
    data = pickle.dumps(FRAMES[name], protocol=protocol)
    pd.testing.assert_frame_equal(loads(data), pickle.loads(data), check_exact=True)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_equals_pandas_on_its_own_strings(storage: str, protocol: int) -> None:
    with pd.option_context("mode.string_storage", storage):
        frame = pd.DataFrame({"a": ["x", "ünï", None, ""], "b": [1, 2, 3, 4]})
        assert frame["a"].dtype == "str"
        for part in (frame, frame[1:3], frame[:0]):
            data = pickle.dumps(part, protocol=protocol)
            pd.testing.assert_frame_equal(loads(data), pickle.loads(data), check_exact=True)


@pytest.mark.parametrize("kind", ["lidar", "annotations/cuboids", "annotations/semseg"])
def test_equals_pandas_on_the_real_slice(kind: str) -> None:
    for frame in (0, 7, 35):
        path = real_log() / kind / f"{frame:02d}.pkl.gz"
        pd.testing.assert_frame_equal(load_dataframe(path), pd.read_pickle(path), check_exact=True)


def test_plain_and_gzip_are_told_apart_by_content(tmp_path: Path) -> None:
    data = pickle.dumps(FRAMES["sweep"])
    half = len(data) // 2
    for name, content in {
        "a.pkl": data,
        "b.pkl.gz": gzip.compress(data),
        "c.pkl": gzip.compress(data),
        "d.pkl.gz": data,
        "two members.gz": gzip.compress(data[:half]) + gzip.compress(data[half:]),
    }.items():
        (tmp_path / name).write_bytes(content)
        pd.testing.assert_frame_equal(load_dataframe(tmp_path / name), FRAMES["sweep"])


# Hostile pickles. Each would leave the marker file if it were run; `test_attacks_work` shows that.


class Reduce:
    """Pickles as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def attacks(marker: Path) -> dict[str, bytes]:
    code = f"open({str(marker)!r}, 'w')"
    command = f"touch '{marker}'"
    dotted = b"\x80\x04" + short("pandas") + short("io.common.os.system") + b"\x93" + short(command) + b"\x85R."
    evil_frame = pd.DataFrame({"a": [1]})
    evil_frame.attrs["x"] = Reduce(os.system, command)
    evil_cell = pd.DataFrame({"a": pd.Series([Reduce(os.system, command)], dtype=object)})
    nested = b"\x80\x04cbuiltins\ngetattr\ncbuiltins\n__import__\n" + short("os") + b"\x85R" + short("system")
    return {
        "os.system": pickle.dumps(Reduce(os.system, command)),
        "eval": pickle.dumps(Reduce(eval, code)),
        "exec": pickle.dumps(Reduce(exec, code)),
        "Popen": pickle.dumps(Reduce(subprocess.Popen, ["touch", str(marker)])),
        "getattr chain": nested + b"\x86R" + short(command) + b"\x85R.",
        "dotted name, protocol 4": dotted,
        "dotted name in GLOBAL": b"\x80\x04cpandas\nio.common.os.system\n" + short(command) + b"\x85R.",
        "read_pickle": pickle.dumps(Reduce(pd.read_pickle, str(marker.parent / "inner.pkl"))),
        "old INST opcode": f"(S{command!r}\nios\nsystem\n.".encode(),
        "old OBJ opcode": b"(cos\nsystem\nS" + repr(command).encode() + b"\no.",
        "in attrs": pickle.dumps(evil_frame),
        "in a cell": pickle.dumps(evil_cell),
        "after a frame": pickle.dumps((pd.DataFrame({"a": [1]}), Reduce(os.system, command))),
        "in a key": pickle.dumps({Reduce(os.system, command): 1}),
    }


NAMES_OF_ATTACKS = sorted(attacks(Path("/nowhere/marker")))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES_OF_ATTACKS)
def test_attack_is_refused_and_leaves_no_trace(name: str, packed: bool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "inner.pkl").write_bytes(pickle.dumps(Reduce(os.system, f"touch '{marker}'")))
    data = attacks(marker)[name]
    path = tmp_path / "00.pkl.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(PickleRefusedError) as caught:
        load_dataframe(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_attacks_work(tmp_path: Path) -> None:
    """Plain pickle does run them: otherwise the test above would show nothing."""
    for name in NAMES_OF_ATTACKS:
        (tmp_path / name).mkdir()
        marker = tmp_path / name / "marker"
        (tmp_path / name / "inner.pkl").write_bytes(pickle.dumps(Reduce(os.system, f"touch '{marker}'")))
        (tmp_path / name / "00.pkl").write_bytes(attacks(marker)[name])
    script = (
        "import pathlib, pickle, sys\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*/00.pkl'):\n"
        "    try: getattr(pickle.load(path.open('rb')), 'wait', int)()\n"
        "    except Exception: pass\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    assert [name for name in NAMES_OF_ATTACKS if not (tmp_path / name / "marker").exists()] == []


def test_refusal_names_the_class_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "05.pkl").write_bytes(b"\x80\x02cmy_module\nMyClass\n)R.")
    with pytest.raises(PickleRefusedError, match=r"05\.pkl: it asks for my_module\.MyClass"):
        load_dataframe(tmp_path / "05.pkl")


def array_pickle(dtype: bytes, shape: bytes, data: bytes) -> bytes:
    """An ndarray through _reconstruct and BUILD; the arguments are pickled already."""
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + shape + dtype
    return b"\x80\x03" + head + b"\x89" + data + b"tb."


def dtype_pickle(code: str, flags: int) -> bytes:
    call = b"cnumpy\ndtype\nX" + len(code).to_bytes(4, "little") + code.encode() + b"\x89\x88\x87R"
    minus = b"J\xff\xff\xff\xff"
    return call + b"(K\x03X\x01\x00\x00\x00|NNN" + minus * 2 + b"K" + bytes([flags]) + b"tb"


def test_bytes_never_become_pointers() -> None:
    """Without its flags, an object dtype makes numpy take the pickle's bytes for pointers."""
    attack = array_pickle(dtype_pickle("O8", 0), b"K\x01\x85", b"C\x08AAAAAAAA")
    with pytest.raises(PickleRefusedError, match="object array without a list"):
        loads(attack)
    code = f"import pickle; print(pickle.loads({attack!r})[0])"
    crashed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
    assert crashed < 0, "numpy no longer crashes on this pickle: the test shows nothing any more"


STATE = b"N}X\x03\x00\x00\x00fooK\x01s\x86b."  # BUILD with (None, {"foo": 1}): setattr(thing, "foo", 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x03cpandas.core.frame\nDataFrame\n" + STATE, "form of a data frame"),
        (b"\x80\x03cpandas.core.indexes.base\n_new_Index\n" + STATE, "sets a state on a Call"),
        (b"\x80\x03cpandas\nRangeIndex\n" + STATE, "form of a data frame"),
        (b"\x80\x03cpandas\nDataFrame\n)\x81.", "form of a data frame"),
        (b"\x80\x03cpandas\nDataFrame\n.", "does not hold a DataFrame"),
        (b"\x80\x03K\x01.", "does not hold a DataFrame"),
        (pickle.dumps([1, 2]), "does not hold a DataFrame"),
        (pickle.dumps({1, 2}), "opcode EMPTY_SET has no place"),
        (pickle.dumps(np.arange(3)), "does not hold a DataFrame"),
        (pickle.dumps(pd.Series([1])), "pandas.Series"),
        (pickle.dumps(pd.DataFrame({"a": pd.Categorical(["x"])})), "refused, nothing was run"),
        (pickle.dumps(pd.DataFrame({"a": pd.array(["x"], dtype="string")})), "asks for pandas.NA"),
        (b"\x80\x03cpandas\nStringDtype\nX\x06\x00\x00\x00python\x85R.", "nullable string column"),
        (pickle.dumps(pd.DataFrame({"a": [[1]]})), "object array holds a list"),
        (pickle.dumps(pd.DataFrame({"a": np.array([1 + 2j])})), "dtype 'c16'"),
        (b"\x80\x03}" + b"\x85" * 1_000_000 + b"Ns.", "tuples"),
        (b"\x80\x03Nr\xff\xff\xff\x7f.", "memo index out of order"),
        (b"\x80\x03" + b"N" * 1_000_001 + b".", "opcodes"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "pickle"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fN.", "pickle"),
        (b"\x80\x03cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "not made of bytes"),
        (b"\x80\x03\x82\x01.", "opcode EXT1"),
        (b"\x80\x03Nx.", "intact pickle"),
        (b"not a pickle at all", "intact pickle|opcode"),
        (b"\x80\x03.", "form of a data frame"),
        (pickle.dumps(FRAMES["small"]) + b"tail", "4 bytes of garbage follow"),
        (pickle.dumps(FRAMES["small"])[:-40], "intact pickle"),
        (array_pickle(dtype_pickle("f8", 0), b"J\xff\xff\xff\x7f\x85", b"C\x08AAAAAAAA"), "declared to hold"),
        (array_pickle(dtype_pickle("V8", 0), b"K\x01\x85", b"C\x08AAAAAAAA"), "dtype 'V8'"),
        (array_pickle(dtype_pickle("f8", 0), b"K\x01\x85", b"C\x07AAAAAAA"), "ends inside a value"),
    ],
)
def test_refuses(data: bytes, reason: str) -> None:
    with pytest.raises(PickleRefusedError, match=reason):
        loads(data)


def test_names_lead_to_sealed_stand_ins_only() -> None:
    for part in NAMES.values():
        assert isinstance(part, Call) or issubclass(part, Part)
        with pytest.raises((PickleRefusedError, AttributeError)):
            part.anything = 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "intact pickle"),
        (gzip.compress(pickle.dumps(FRAMES["sweep"]))[:-20], "truncated"),
        (gzip.compress(pickle.dumps(FRAMES["sweep"]))[:5], "truncated"),
        (gzip.compress(pickle.dumps(FRAMES["sweep"])) + b"\0\0", "2 bytes of garbage"),
        (gzip.compress(pickle.dumps(FRAMES["sweep"]))[:-8] + b"\0" * 8, "damaged"),
        (b"\x1f\x8bnonsense", "damaged"),
        (gzip.compress(b"") * 100_000, "gzip members"),
    ],
)
def test_refuses_damaged_files(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "03.pkl.gz").write_bytes(content)
    with pytest.raises(PickleRefusedError, match=rf"03\.pkl\.gz: .*{reason}"):
        load_dataframe(tmp_path / "03.pkl.gz")


@pytest.mark.parametrize("members", [1, 4])
def test_bomb_is_bounded(members: int, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.zeros(1 << 17)})
    data = pickle.dumps(frame)
    path, size = tmp_path / "00.pkl.gz", len(data)
    step = -(-size // members)
    path.write_bytes(b"".join(gzip.compress(data[start : start + step]) for start in range(0, size, step)))
    assert path.stat().st_size < 5000
    pd.testing.assert_frame_equal(load_dataframe(path, max_bytes=size), frame)
    with pytest.raises(PickleRefusedError, match=f"unpacks to more than the {size - 1} bytes"):
        load_dataframe(path, max_bytes=size - 1)
    (tmp_path / "00.pkl").write_bytes(data)
    with pytest.raises(PickleRefusedError, match="larger than"):
        load_dataframe(tmp_path / "00.pkl", max_bytes=size - 1)


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(PickleRefusedError("why", Path("a/b.pkl"))))
    assert (error.reason, error.path, str(error)) == ("why", Path("a/b.pkl"), "a/b.pkl: why")


GOOD = [pickle.dumps(FRAMES[name], protocol=protocol) for name in ("cuboids", "small") for protocol in (2, 3, 5)]
GOOD.append(pickle.dumps(pd.DataFrame({"a": ["x", None]})))


EDIT = st.tuples(st.integers(0, 5000), st.integers(0, 255), st.sampled_from("=+-"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    which=st.integers(0, len(GOOD) - 1),
    edits=st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 255), st.sampled_from("=+-")), min_size=1, max_size=4
    ),
)
def test_damage_is_refused_or_harmless(which: int, edits: list[tuple[int, int, str]]) -> None:
    """Whatever bytes change: a frame or a refusal, never another error."""
    data = bytearray(GOOD[which])
    for place, value, how in edits:
        at = place % len(data)
        data[at : at + (how != "+")] = b"" if how == "-" else bytes([value])
    with contextlib.suppress(PickleRefusedError):
        assert isinstance(loads(bytes(data)), pd.DataFrame)
