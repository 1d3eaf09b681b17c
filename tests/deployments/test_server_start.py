"""A Ray that does not start in time, in a process of its own, whose children are then all Ray's; and a Serve that does
not.
"""

import io
import subprocess
import sys
from typing import Any

import pytest
from ray import serve
from ray.exceptions import ActorDiedError
from rich.console import Console

from psychechat.config import Settings
from psychechat_ray import server

TRIES = """
import io, subprocess
from rich.console import Console
from psychechat.config import Settings
from psychechat_ray import server

tries = []

def init(**_):
    tries.append(subprocess.Popen(["sleep", "60"]))
    if len(tries) <= {failures}:
        raise Exception("The current node {why} during startup.")

server.ray.init = init
console = Console(file=io.StringIO())
try:
    server._start_ray(Settings(), console, 1, logs=False)
    print("started", end=" ")
except server.StartFailed as failure:
    print("Once more" not in str(failure) and "failed", end=" ")
left = [process for process in tries if process.poll() is None]
print(len(tries), len(left), console.file.getvalue().count("Once more"))
for process in left:
    process.kill()
    process.wait()
"""


@pytest.mark.parametrize(
    ("failures", "why", "told"),
    [
        (0, "", "started 1 1 0"),
        (2, "timed out", "started 3 1 2"),
        (3, "timed out", "failed 3 1 2"),
        (1, "has no room", "failed 1 1 0"),
    ],
)
def test_it_is_tried_again_and_nothing_of_a_late_one_is_left(failures: int, why: str, told: str) -> None:
    script = TRIES.format(failures=failures, why=why)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == told, ended.stderr


@pytest.mark.parametrize("error", [ActorDiedError(), TimeoutError("HTTP proxies not available after 60s.")])
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_serve_whose_proxy_was_late_is_ended_and_started_once_more(
    failures: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def start(http_options: dict[str, Any]) -> None:
        done.append("start")
        if done.count("start") <= failures:
            raise error

    monkeypatch.setattr(serve, "start", start)
    monkeypatch.setattr(serve, "shutdown", lambda: done.append("shutdown"))
    console = Console(file=io.StringIO())
    if failures == 2:
        with pytest.raises(server.StartFailed, match="Serve cannot start"):
            server._start_serve(Settings(), console)
    else:
        server._start_serve(Settings(), console)
    assert done == ["start", *["shutdown", "start"] * min(failures, 1)]
