"""The ready samples in the formats of the peers, each written by its own library.

Runs in the environment of the peers: ``.venv-peers/bin/python -m benchmarks.stream.sides.formats FOLDER PEER``.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from benchmarks.stream.sample import Ready, read_ready

CHUNK_BYTES = 64_000_000
"""What LitData's documentation recommends, and Mosaic's default (2^26), about."""


def write_webdataset(folder: Path, ready: Ready) -> None:
    """Tars of about `CHUNK_BYTES`; the library sorts the members of a sample by name."""
    import webdataset as wds

    folder.mkdir()
    with wds.ShardWriter(str(folder / "%04d.tar"), maxsize=CHUNK_BYTES, verbose=0) as sink:
        for sample in ready.samples:
            columns = ready.columns(sample)
            sink.write({"__key__": sample.clip, **{f"{name}.bin": value for name, value in columns.items()}})


def _litdata_sample(folder: Path, number: int) -> dict[str, bytes | str]:
    ready = read_ready(folder)
    sample = ready.samples[number]
    return {"clip": sample.clip, **ready.columns(sample)}


def write_litdata(folder: Path, ready: Ready) -> None:
    """Optimised chunks."""
    import litdata

    litdata.optimize(
        fn=partial(_litdata_sample, ready.path.parent),
        inputs=list(range(len(ready.samples))),
        output_dir=str(folder),
        chunk_bytes=CHUNK_BYTES,
        num_workers=1,
        verbose=False,
    )


def write_mosaic(folder: Path, ready: Ready) -> None:
    """MDS shards with a hash each, so that they can be validated when they are downloaded."""
    from benchmarks.stream.sides.mosaic import MDSWriter

    columns = {"clip": "str", **dict.fromkeys(ready.columns(ready.samples[0]), "bytes")}
    with MDSWriter(out=str(folder), columns=columns, hashes=["xxh3_64"], size_limit=CHUNK_BYTES) as out:
        for sample in ready.samples:
            out.write({"clip": sample.clip, **ready.columns(sample)})


WRITERS = {"webdataset": write_webdataset, "litdata": write_litdata, "mosaic": write_mosaic}

if __name__ == "__main__":
    place, peer = Path(sys.argv[1]), sys.argv[2]
    WRITERS[peer](place / peer, read_ready(place / "ready"))
