"""Starts the servers that are measured or tested, as a user would, and stops them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from psychechat_ray.configurations import load
from tests.support.ports import free_port as free_port
from tests.support.ports import free_ports as free_ports

START_SECONDS = 600
POLL_SECONDS = 0.1
TURN_SECONDS = 120.0
"""How long a client waits: more than a turn may take, so that a slow machine is only slow."""

_ENGINE: Mapping[str, Any] = {"engine": "scripted", "replicas": {"num_cpus": 0}}
SCRIPTED: Mapping[str, Any] = {"ingress": {"num_cpus": 0}, "classifier": _ENGINE, "counselor": _ENGINE}
"""Settings of the whole server with engines that answer from a table."""


@dataclass
class Server:
    """A server under way. `log` holds all it printed."""

    name: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    ready_path: str

    def wait_until_ready(self) -> None:
        """Raises RuntimeError, with the place of the log, if the server ends or takes longer than START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.url + self.ready_path):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended while starting; see {self.log}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready within {START_SECONDS} s; see {self.log}")
            time.sleep(POLL_SECONDS)


def answers(url: str) -> bool:
    """With status 200."""
    try:
        # Nobody speaks TLS here, for which httpx would prepare for 30 ms.
        return httpx.get(url, timeout=5, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(
    true: Callable[[], bool], seconds: float, otherwise: str | Callable[[], str], *, every: float = POLL_SECONDS
) -> None:
    """Raises RuntimeError, saying what is otherwise."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(every)


@contextmanager
def started(
    name: str, command: Sequence[str], port: int, log: Path, *, ready_path: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start without waiting; on leaving, ask it to stop and wait until it has.

    A Ctrl-C reaches it as from a terminal, also where the tests are a shell's background job, which ignores it.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["env", "--default-signal=INT", *command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield Server(name, f"http://127.0.0.1:{port}", log, process, ready_path)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def psychechat(port: int, log: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Our server with the CPU demo, by its own command."""
    command = [str(Path(sys.executable).with_name("psychechat")), "serve", "--port", str(port), *options]
    with started("psychechat", command, port, log, ready_path="/ready", env=env) as server:
        yield server


def with_all_crises(config: str) -> dict[str, Any]:
    """Settings of a configuration, but that the engines write for every crisis: all who ask here have one key."""
    settings: dict[str, Any] = load(config).model_dump(mode="json", exclude_unset=True)
    settings.setdefault("policy", {}).setdefault("quota", {})["crises_per_minute"] = None
    return settings


def demo() -> dict[str, Any]:
    """Settings of the CPU demo, with all crises. Who dies is soon missed."""
    settings = with_all_crises("demo-cpu")
    for part in (settings["ingress"], settings["classifier"]["replicas"], settings["engines"]["counselor"]["replicas"]):
        part["health_check_seconds"] = 1
    return settings


@contextmanager
def configured(settings: Mapping[str, Any], folder: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Our server with these settings, ready. They and its log lie in `folder`."""
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({"metrics_port": free_port(), **settings}))
    with psychechat(free_port(), folder / "log", "--config", str(file), env=env) as server:
        server.wait_until_ready()
        yield server
