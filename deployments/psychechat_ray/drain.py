"""Before a pod goes: its replicas start anew elsewhere, and the turns that it holds end. The chart's preStop hook.

    python -m psychechat_ray.drain --seconds 195

A pod's processes are killed once it is told to stop; Ray's own replicas and connections among them. This asks Ray to
drain the node first, as its autoscaler does, and returns once nothing of Serve is left there. As long as Ray does not
answer the node counts as busy.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import ray.util
import typer
from ray.util.state import list_actors, list_nodes

POLL_SECONDS = 1.0

_T = TypeVar("_T")


def drain(
    seconds: Annotated[int, typer.Option(help="Until the node is killed.")],
    node: Annotated[str | None, typer.Option(help="Another node's id.")] = None,
    address: Annotated[str | None, typer.Option(help="The cluster's. Else RAY_ADDRESS, which KubeRay sets.")] = None,
) -> None:
    until = time.monotonic() + seconds
    while (leaving := _tried(lambda: leave(node, address, until))) is None and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    if leaving is None:
        raise typer.Exit(1)
    # Serve notices within a second or so; until then it looks as it did.
    time.sleep(2 * POLL_SECONDS)
    while _tried(lambda: busy(leaving, address)) is not False and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _tried(ask: Callable[[], _T]) -> _T | None:
    """None if Ray does not answer. It may a moment later, and a hook that ends early cuts the pod's turns."""
    try:
        return ask()
    except Exception as error:
        typer.echo(f"{type(error).__name__}; Ray is asked again", err=True)
        return None


def leave(node: str | None, address: str | None, until: float) -> str:
    """Asks Ray to drain the node, this machine's where none is named, and gives its id."""
    node = node or own_node(address)
    remaining = max(1, round(until - time.monotonic()))
    command: list[str | Path] = [Path(sys.executable).parent / "ray", "drain-node", "--node-id", node]
    command += ["--address", address] if address else []
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod goes"]
    command += ["--deadline-remaining-seconds", str(remaining)]
    subprocess.run(command, check=True, timeout=remaining)  # noqa: S603
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


if __name__ == "__main__":
    typer.run(drain)
