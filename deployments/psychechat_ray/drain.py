"""Before a pod goes: its replicas start anew elsewhere, and the turns that it holds end. The chart's preStop hook.

    python -m psychechat_ray.drain --seconds 195

A pod's processes are killed once it is told to stop; Ray's own replicas and connections among them. This asks Ray to
drain the node first, as its autoscaler does, and returns once nothing of Serve is left there.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import ray.util
import typer
from ray.util.state import list_actors, list_nodes

POLL_SECONDS = 1.0


def drain(
    seconds: Annotated[int, typer.Option(help="Until the node is killed.")],
    node: Annotated[str | None, typer.Option(help="Another node's id.")] = None,
    address: Annotated[str | None, typer.Option(help="The cluster's. Else RAY_ADDRESS, which KubeRay sets.")] = None,
) -> None:
    until = time.monotonic() + seconds
    node = node or own_node(address)
    command: list[str | Path] = [Path(sys.executable).parent / "ray", "drain-node", "--node-id", node]
    command += ["--address", address] if address else []
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod goes"]
    subprocess.run([*command, "--deadline-remaining-seconds", str(seconds)], check=True)  # noqa: S603
    # Serve notices within a second or so; until then it looks as it did.
    time.sleep(2 * POLL_SECONDS)
    while busy(node, address) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


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
