"""Before a pod goes: its replicas start anew elsewhere, and the turns that it holds end. The chart's preStop hook.

    python -m psychechat_ray.drain --seconds 195

A pod's processes are killed once it is told to stop; Ray's own replicas and connections among them. This asks Ray to
drain the node first, as its autoscaler does, and returns once nothing of Serve is left there. While Ray does not answer
the node counts as busy, for a minute. After that Ray may be gone for good, as where the whole cluster is deleted, and
the node is busy while its replicas and its HAProxy hold connections.
"""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, TypeVar

import psutil
import ray.util
import typer
from ray.util.state import list_actors, list_nodes

POLL_SECONDS = 1.0
QUESTION_SECONDS = 40.0
"""A question that takes longer is not answered, nor one that takes longer than the node has left."""
COMMAND_SHARE = 7 / 8
"""Of a question's time, for Ray's command in it: so its process ends before it is given up, and leaves none behind."""
SILENT_SECONDS = 60.0
"""Of a head that is replaced. One that takes longer finds the node's connections, where there are any."""

_T = TypeVar("_T")
_FORK = multiprocessing.get_context("fork")


def drain(
    seconds: Annotated[int, typer.Option(help="Until the node is killed.")],
    node: Annotated[str | None, typer.Option(help="Another node's id.")] = None,
    address: Annotated[str | None, typer.Option(help="The cluster's. Else RAY_ADDRESS, which KubeRay sets.")] = None,
) -> None:
    told = wait(
        seconds,
        leave=lambda remaining: ask(lambda: leave(node, address, remaining), remaining),
        busy=lambda leaving, remaining: ask(lambda: busy(leaving, address), remaining),
        in_use=in_use,
    )
    if not told:
        raise typer.Exit(1)


def wait(
    seconds: float,
    *,
    leave: Callable[[float], str | None],
    busy: Callable[[str, float], bool | None],
    in_use: Callable[[], bool],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Until the node is empty, or for that long. Returns whether Ray was told that it goes.

    `leave` tells Ray how many seconds are left, and gives the node's id; `busy` is of this node. Both are given the
    seconds left, and keep them: a hook that overruns takes them from what Ray's processes have for their end. None is
    a Ray that does not answer: it may a moment later, and a hook that ends early cuts the pod's turns.
    """
    until, heard, leaving = now() + seconds, now(), None

    def pause() -> None:
        sleep(max(0.0, min(POLL_SECONDS, until - now())))

    while (remaining := until - now()) > 0:
        answer: str | bool | None
        if leaving is None:
            answer = leaving = leave(remaining)
            pause()  # Serve notices within a second or so; until then it looks as it did
        else:
            answer = busy(leaving, remaining)
        if answer is False:
            return True
        if answer is not None:
            heard = now()
        elif now() - heard >= SILENT_SECONDS and not in_use():
            break
        pause()
    return leaving is not None


def ask(question: Callable[[], _T], seconds: float = QUESTION_SECONDS) -> _T | None:
    """What Ray answers within so many seconds, or None. In a process that can be given up: without a GCS a client looks
    for long.
    """
    receiver, sender = _FORK.Pipe(duplex=False)
    asked = _FORK.Process(target=_answer, args=(sender, question), daemon=True)
    asked.start()
    sender.close()
    try:
        answer: _T | None = receiver.recv() if receiver.poll(min(seconds, QUESTION_SECONDS)) else None
    except EOFError:
        answer = None
    finally:
        asked.kill()
        asked.join()
    if answer is None:
        typer.echo("No answer; Ray is asked again", err=True)
    return answer


def _answer(to: Connection, question: Callable[[], object]) -> None:
    try:
        to.send(question())
    except Exception as error:
        typer.echo(type(error).__name__, err=True)


def leave(node: str | None, address: str | None, remaining: float) -> str:
    """Asks Ray to drain the node, this machine's where none is named, and gives its id."""
    due = time.monotonic() + COMMAND_SHARE * min(remaining, QUESTION_SECONDS)
    node = node or own_node(address)
    command: list[str | Path] = [Path(sys.executable).parent / "ray", "drain-node", "--node-id", node]
    command += ["--address", address] if address else []
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod goes"]
    command += ["--deadline-remaining-seconds", str(max(1, round(remaining)))]
    subprocess.run(command, check=True, timeout=max(0.0, due - time.monotonic()))  # noqa: S603
    return node


def own_node(address: str | None) -> str:
    """The id of the node at this machine's address: a pod has one node."""
    own = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    [node] = list_nodes(address, filters=[("node_ip", "=", own), ("state", "=", "ALIVE")])
    return str(node.node_id)


def busy(node: str, address: str | None) -> bool:
    """Whether a replica runs there, or a HAProxy, which stays while it holds a connection."""
    actors = list_actors(address, filters=[("node_id", "=", node), ("state", "=", "ALIVE")], limit=1000)
    return any(actor.class_name.startswith(("ServeReplica", "HAProxy", "ProxyActor")) for actor in actors)


def in_use() -> bool:
    """Whether a client is connected to this machine's HAProxy, or another machine to one of its replicas.

    An ingress keeps its connection to the engines that it calls: these wait for it, and it for its clients.
    """
    for process in psutil.process_iter(["name", "cmdline"]):
        is_haproxy = process.info["name"] == "haproxy"
        if is_haproxy or any("ServeReplica:" in part for part in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                if _is_used(process, is_haproxy=is_haproxy):
                    return True
    return False


def _is_used(process: psutil.Process, *, is_haproxy: bool) -> bool:
    from ray.serve._private import constants  # slow to import, and seldom asked for

    connections = process.net_connections("tcp")
    ports = {held.laddr.port for held in connections if held.status == psutil.CONN_LISTEN}
    if is_haproxy:
        ports -= {constants.RAY_SERVE_HAPROXY_METRICS_PORT, constants.RAY_SERVE_HAPROXY_STATS_PORT}
    else:
        # Of an ingress, where HAProxy comes in. Engines connect to it too, with what it has asked them for.
        http = range(
            constants.RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT, constants.RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT + 1
        )
        ports = ports & {*http} or ports
    return any(
        held.status == psutil.CONN_ESTABLISHED
        and held.laddr.port in ports
        and (is_haproxy or held.raddr.ip != held.laddr.ip)
        for held in connections
    )


if __name__ == "__main__":
    typer.run(drain)
