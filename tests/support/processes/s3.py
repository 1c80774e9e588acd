"""A real S3 server for tests: moto's server mode, over HTTP, with a log of the requests it served."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from urllib.request import urlopen

import pytest

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "shortened": lambda content: content[: len(content) // 2],
    "right": lambda content: content,
    "flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
}
"""What becomes of a right answer; "right" leaves it. Of one that is shortened the header says so, of one that is cut it
does not."""


@dataclass
class S3:
    """A running server with one empty bucket."""

    bucket: str
    requests: list[str] = field(default_factory=list)
    """Request line and status of every request, in order."""
    server: Any = None
    port: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(status line, S3 error code) that the next requests get; without a status line the code is one of `SPOILT`."""

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def gets(self, part: str) -> list[str]:
        """Requests for the content of objects whose key has `part`."""
        return [line for line in self.requests if "GET" in line and part in line]

    def start(self) -> None:
        """Start, or start again with what it held, at the same address."""
        self.server._port = self.port
        self.server.start()
        self.port = self.server.get_host_and_port()[1]
        answer = self.server._server.app
        self.server._server.app = lambda environ, respond: _answer(self, answer, environ, respond)

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.server.stop()


def _answer(running: S3, answer: Any, environ: Any, respond: Any) -> Any:
    if not running.faults:
        return answer(environ, respond)
    status, code = running.faults.pop(0)
    if not status and environ["REQUEST_METHOD"] == "HEAD":
        running.faults.insert(0, (status, code))
        return answer(environ, respond)
    if status:
        respond(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()]
    told: list[Any] = []
    content = b"".join(answer(environ, lambda *given: told.extend(given)))
    spoilt = SPOILT[code](content)
    if code == "shortened":
        told[1] = [(name, str(len(spoilt)) if name.lower() == "content-length" else value) for name, value in told[1]]
    respond(*told)
    return [spoilt]


class _Recorder(logging.Handler):
    def __init__(self, requests: list[str]) -> None:
        super().__init__()
        self.requests = requests

    def emit(self, record: logging.LogRecord) -> None:
        self.requests.append(record.getMessage())


@contextmanager
def s3_server(bucket: str = "drives") -> Iterator[S3]:
    """Run a server; the environment points s3fs at it meanwhile."""
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(port=0, verbose=True)
    log = logging.getLogger("werkzeug")
    running = S3(bucket, server=server)
    running.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{running.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    recorder = _Recorder(running.requests)
    log.addHandler(recorder)
    level, log.level = log.level, logging.INFO
    try:
        with mock.patch.dict(os.environ, environment):
            s3fs.S3FileSystem.clear_instance_cache()
            # What an earlier server of this process held is moto's still.
            urlopen(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", data=b"").close()
            s3fs.S3FileSystem().mkdir(bucket)
            yield running
    finally:
        log.removeHandler(recorder)
        log.setLevel(level)
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()
