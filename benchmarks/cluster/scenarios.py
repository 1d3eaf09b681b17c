"""What is done to the release while seekers talk, and what of it may cost a turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.cluster.kuberay import GROUP, NODE_TYPE
from benchmarks.cluster.world import NODES, World
from tests.support.servers import wait_until

TAKEN_SECONDS = 120.0


@dataclass(frozen=True)
class Scenario:
    does: str
    blow: Callable[[World], None]
    loses_none: bool
    """Whether no turn may be the worse for it."""


def _policy(world: World) -> None:
    replicas, pods = set(world.replicas()), [pod.name for pod in world.pods]
    world.upgrade("app.policy.routing.raised_from=ideation")
    wanted = world.release.application["deployments"][0]["user_config"]

    def is_served() -> bool:
        ingress = world.application()["deployments"]["ingress"]
        return bool(ingress["deployment_config"]["user_config"] == wanted)

    wait_until(is_served, TAKEN_SECONDS, "the new policy did not arrive", every=0.5)
    if set(world.replicas()) != replicas or [pod.name for pod in world.pods] != pods:
        raise RuntimeError("a new policy replaced replicas or pods")


def _kill_a_container(world: World) -> None:
    pod = world.of_group("engines")[0]
    pod.kill_container()
    wait_until(lambda: not pod.ready, TAKEN_SECONDS, "nobody noticed that its container is dead")


def _force(world: World) -> None:
    world.of_group("ingress")[0].delete(grace=0)


def _drain_a_node(world: World) -> None:
    def may_go(node: str) -> bool:
        return all(pod.labels.get(NODE_TYPE) == "worker" for pod in world.on(node))

    node = max(filter(may_go, NODES), key=lambda node: len(world.on(node)))
    going = world.on(node)
    if not going:
        raise RuntimeError("no node has workers alone")
    world.drain(node)
    for pod in going:
        # Of each group one pod is left, which is what the budgets are for.
        for other in world.of_group(pod.labels[GROUP]):
            if not other.terminating and world.evict(other):
                raise RuntimeError(f"the budget of {pod.labels[GROUP]} let the last pod go")
    wait_until(lambda: not world.on(node), 240, f"node {node} does not become empty", every=0.5)


def _replace_replicas(world: World) -> None:
    before = set(world.replicas())
    world.upgrade(anew=True)
    wait_until(lambda: set(world.replicas()) != before, TAKEN_SECONDS, "the update did not begin", every=0.5)


def _replace_the_cluster(world: World) -> None:
    operator = world.operator
    before = operator.active
    world.upgrade("image.tag=another-cpu")
    wait_until(lambda: operator.active is not before, 420, "the second cluster did not take over", every=0.5)


SCENARIOS: Mapping[str, Scenario] = {
    "policy": Scenario("another policy", _policy, loses_none=True),
    "killed": Scenario("the container of an engines' pod killed, as for want of memory", _kill_a_container, False),
    "forced": Scenario("an ingress pod deleted by force, and replaced", _force, False),
    "drained": Scenario("a node drained: a pod of each group evicted", _drain_a_node, loses_none=True),
    "app": Scenario("another setting in `app`: every replica replaced in place", _replace_replicas, loses_none=True),
    "image": Scenario("another image: a second cluster takes over the service", _replace_the_cluster, loses_none=True),
}
