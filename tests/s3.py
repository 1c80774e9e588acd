"""A real S3 server for tests: moto's server mode, over HTTP, with a log of the requests it served."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import pytest


@dataclass
class S3:
    """A running server with one empty bucket."""

    bucket: str
    requests: list[str] = field(default_factory=list)
    """Request line and status of every request, in order."""

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


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
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    running = S3(bucket)
    recorder = _Recorder(running.requests)
    log.addHandler(recorder)
    level, log.level = log.level, logging.INFO
    try:
        with mock.patch.dict(os.environ, environment):
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir(bucket)
            yield running
    finally:
        log.removeHandler(recorder)
        log.setLevel(level)
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
