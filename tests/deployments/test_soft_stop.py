"""Whoever runs with the node's file is told to end, whenever it began; who is gone already keeps nobody from it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from psychechat_ray import soft_stop

WAIT_SECONDS = 30


class Proxies:
    """Processes that the file's name is an argument of. SIGUSR1 ends them, as it ends a HAProxy without replies."""

    def __init__(self, config: Path, stack: ExitStack) -> None:
        self._config, self._stack = config, stack
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(60)", str(self._config)]
        process = self._stack.enter_context(subprocess.Popen(command))
        self._stack.callback(process.kill)
        self.started.append(process)


@pytest.fixture
def proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    monkeypatch.setattr(soft_stop, "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", str(tmp_path / "haproxy.cfg"))
    monkeypatch.setattr(soft_stop, "RAY_SERVE_HAPROXY_SOCKET_PATH", str(tmp_path / "admin.sock"))
    monkeypatch.setattr(soft_stop, "POLL_SECONDS", 0.01)
    with ExitStack() as stack:
        yield Proxies(tmp_path / "node" / "haproxy.cfg", stack)


def test_one_that_starts_meanwhile_is_told_too(proxies: Proxies) -> None:
    proxies.start()

    def tell(_: int) -> None:
        if len(proxies.started) == 1:
            proxies.start()

    assert soft_stop.let_replies_end("node", 1, WAIT_SECONDS, tell)
    assert [process.wait(WAIT_SECONDS) for process in proxies.started] == [-10, -10]


def test_one_that_has_just_ended_is_no_error(proxies: Proxies, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies.start()
    gone = subprocess.Popen(["true"])
    gone.wait()
    found = soft_stop._running_with
    monkeypatch.setattr(
        soft_stop, "_running_with", lambda config: [gone.pid, *running] if (running := found(config)) else []
    )
    assert soft_stop.let_replies_end("node", 1, WAIT_SECONDS, lambda _: None)


def test_it_waits_no_longer_than_it_may(proxies: Proxies, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies.start()
    began = time.monotonic()
    with monkeypatch.context() as patch:  # which ends before the process does
        patch.setattr(os, "kill", lambda *_: None)
        assert not soft_stop.let_replies_end("node", 1, 0.05, lambda _: None)
    assert time.monotonic() - began < WAIT_SECONDS
