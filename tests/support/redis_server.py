"""A real redis-server for tests, on a port of its own, that can be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from tests.support.servers import free_port


def programs() -> list[str]:
    """Every redis-server there is: the one that the dev dependencies bring, and the system's."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", "").split(os.pathsep)]
    return [found for folder in folders if (found := shutil.which("redis-server", path=folder))]


def tls_programs() -> list[str]:
    """Those that were built with TLS: the others do not know the option, and say so."""
    answers = [subprocess.run([program, "--tls-port", "no number"], capture_output=True) for program in programs()]
    return [answer.args[0] for answer in answers if b"Bad directive" not in answer.stdout + answer.stderr]


class RedisServer:
    def __init__(self, folder: Path, *options: str, program: str | None = None, tls: bool = False) -> None:
        if not programs():
            pytest.skip("no redis-server: `make setup` installs one, and so does the system's package redis-server")
        self.port = free_port()
        ports = ["--port", "0", "--tls-port"] if tls else ["--port"]
        self._command = [program or programs()[0], *ports, str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "redis-server ended while starting"
                assert time.monotonic() < deadline, "redis-server does not listen"
                time.sleep(0.01)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It keeps its connections, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def commands(self) -> bytes:
        """All that it has had, where its options say that each is slow. Of an argument, the first 128 bytes."""
        with redis.Redis.from_url(self.url) as client:
            told: Any = client.slowlog_get(1_000_000)
        return b"\n".join(entry["command"] for entry in told)

    def everything(self) -> dict[bytes, list[bytes]]:
        """All that anyone who reads this Redis can see, by key."""
        with redis.Redis.from_url(self.url) as client:
            return {key: _content(client, key) for key in client.scan_iter()}


def _content(client: "redis.Redis", key: bytes) -> list[bytes]:
    if client.type(key) == b"zset":
        members: Sequence[bytes] = client.zrange(key, 0, -1)  # type: ignore[assignment]
        return list(members)
    value = client.get(key)
    assert isinstance(value, bytes)
    return [value]
