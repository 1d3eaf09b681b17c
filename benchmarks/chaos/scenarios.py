"""What is done to the two nodes while seekers talk."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.chaos.world import POLICY, World
from tests.support.servers import wait_until

REPLACED_SECONDS = 10.0
"""Until a node that was killed is started again, as KubeRay replaces its pod. A cluster takes longer."""
NEW_POLICY = {**POLICY, "routing": {"raised_from": "ideation"}}


@dataclass(frozen=True)
class Scenario:
    does: str
    blow: Callable[[World], None]
    loses_none: bool
    """Whether no turn may be the worse for it."""


def _lose_the_worker(world: World) -> None:
    world.worker.kill()
    time.sleep(REPLACED_SECONDS)
    world.worker.start()


def _lose_the_head(world: World) -> None:
    world.cluster.head.kill()
    time.sleep(REPLACED_SECONDS)
    # What Ray's head has left in a pod's files would be gone. Here it would take the worker's raylet for its own GCS.
    (world.cluster.folder / "ray" / "ray_current_cluster").unlink()
    world.cluster.head.start()


def _new_policy(world: World) -> None:
    before = world.replicas()
    world.deploy(NEW_POLICY)
    wait_until(lambda: world.policy() == NEW_POLICY, 60, "the new policy did not arrive")
    if world.replicas() != before:
        raise RuntimeError("a new policy replaced replicas")


def _update(world: World) -> None:
    world.deploy(NEW_POLICY, anew=True)


def _update_and_kill(deployment: str) -> Callable[[World], None]:
    def blow(world: World) -> None:
        _update(world)
        # Once new replicas are on their way and old ones still have turns.
        wait_until(lambda: bool(set(world.replicas()) - world.before), 60, "the update did not begin")
        world.kill_replica(deployment)

    return blow


SCENARIOS: Mapping[str, Scenario] = {
    "worker": Scenario("the worker node killed, and replaced ten seconds later", _lose_the_worker, False),
    "head": Scenario("the head killed, and started again ten seconds later", _lose_the_head, False),
    "update": Scenario("a rolling update of every replica, with a new user_config", _update, loses_none=True),
    "counselor": Scenario("such an update, and a counselor replica killed in it", _update_and_kill("counselor"), False),
    "ingress": Scenario("such an update, and an ingress replica killed in it", _update_and_kill("ingress"), False),
    "classifier": Scenario(
        "such an update, and a classifier replica killed in it", _update_and_kill("classifier"), False
    ),
    "policy": Scenario("a new user_config alone", _new_policy, loses_none=True),
}
