"""HAProxy's end in its own time: it lets nobody new in, and is gone once the last reply has left.

Serve's shutdown kills HAProxy before anything else, and every open reply with it; and deleting the application deletes
the engines together with the ingress, whose turns still call them. So this comes first, and then the shutdown.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Thread

from ray.serve._private.constants import RAY_SERVE_HAPROXY_CONFIG_FILE_LOC, RAY_SERVE_HAPROXY_SOCKET_PATH

POLL_SECONDS = 0.2
_ESTABLISHED = "01"


def let_replies_end(node: str, port: int, seconds: float, tell: Callable[[int], None]) -> bool:
    """Close `port` of the Ray node's HAProxy, and within a second connections without a request; wait until the others
    have ended. What one of those still asks for is answered.

    `tell` gets the number of those now and then. Gives whether they have ended within `seconds`.
    """
    until = time.monotonic() + seconds
    with _answering_for(_of_node(RAY_SERVE_HAPROXY_SOCKET_PATH, node)):
        config = _of_node(RAY_SERVE_HAPROXY_CONFIG_FILE_LOC, node)
        while proxies := _running_with(config):
            # Again each time: Ray may just have started another one. To one that is stopping it says nothing new.
            for proxy in proxies:
                with suppress(ProcessLookupError):
                    os.kill(proxy, signal.SIGUSR1)  # HAProxy's word for it
            if time.monotonic() > until:
                return False
            tell(_connections(port))
            time.sleep(POLL_SECONDS)
    return True


def _of_node(path: str, node: str) -> Path:
    """Where Ray puts this file of a node's HAProxy."""
    return Path(path).parent / node / Path(path).name


def _running_with(config: Path) -> list[int]:
    """The HAProxy that serves, and those whose place it took while they had replies under way."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended meanwhile
                continue
            if os.fsencode(config) in arguments:
                found.append(int(process.name))
    return found


def _connections(port: int) -> int:
    """Established ones at this machine's end."""
    rows = [row.split() for table in ("tcp", "tcp6") for row in _lines(Path("/proc/net") / table)]
    return sum(local.endswith(f":{port:04X}") and state == _ESTABLISHED for _, local, _, state, *_ in rows)


def _lines(table: Path) -> list[str]:
    """Without the heading; none where the kernel has no such table."""
    return table.read_text().splitlines()[1:] if table.exists() else []


@contextmanager
def _answering_for(admin: Path) -> Iterator[None]:
    """Answers in HAProxy's place at its admin socket, where one that is stopping is silent.

    Ray would take that for a dead one after half a minute, kill it and start another, which opens the port again.
    """
    own = admin.with_name("stop.sock")
    own.parent.mkdir(exist_ok=True)
    own.unlink(missing_ok=True)
    with ThreadingUnixStreamServer(str(own), _Empty) as server:
        Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        own.replace(admin)
        try:
            yield
        finally:
            server.shutdown()


class _Empty(StreamRequestHandler):
    """Answer to any command: Ray wants one, and has no use for what it says."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"\n")
