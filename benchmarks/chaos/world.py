"""Two Ray nodes on one machine that share the server between them, with a real Redis behind both.

The GCS keeps its tables in that Redis (`RAY_REDIS_ADDRESS`), and so does our memory of turns. Each node has room for
as many replicas again, as an update with surge and a node that is lost need it. Engines are scripted: they write the
same words at a known pace, so that a turn lasts and a whole reply is known.
"""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import httpx

from psychechat.conversation import Conversation, Reading, Utterance
from psychechat.emotion import Language
from psychechat.policy import Policy
from psychechat.risk import Kind
from psychechat.safety.fixed_replies import FixedReplies
from psychechat.safety.output_guard import sentences
from psychechat_ray.environment import DEFAULTS
from tests.support.ray_cluster import DEPLOYMENTS, Cluster, Node, application, ray_head, ray_worker
from tests.support.servers import answers, free_port, wait_until

REPLICAS = 2
ROOM = dict.fromkeys(DEPLOYMENTS, REPLICAS)
"""For replicas of each on each node."""
POLICY: Mapping[str, Any] = {"quota": {"crises_per_minute": None}}
"""All seekers have one key."""
GRACEFUL_SECONDS = 150
DRAINING = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "30"}
"""Both as the chart has them."""
REPLY = (
    "Thank you for telling me about this. It sounds like a lot to carry on your own. "
    "I would like to understand it better. What about it weighs on you most today?"
)
DRAFT = json.dumps({"phase": "exploration", "strategy": "Ask openly.", "response": REPLY})


def whole_replies() -> frozenset[str]:
    """What a counselor with these words can say, behind a crisis's fixed ones and without; or fixed words alone."""
    policy = Policy()
    fixed = FixedReplies(policy.crisis, Conversation((Utterance("seeker", ""),)), None)
    alone, before = {REPLY}, set()
    for language in get_args(Language):
        reading = Reading(language, policy.thresholds)
        alone |= {fixed.unknown_risk(reading).text, *policy.crisis.words[language].listening.model_dump().values()}
        before |= {fixed.crisis(replace(reading, kind=kind)).text for kind in (None, *get_args(Kind))}
    # Behind fixed words that thank already, a reply does without its own thanks.
    without_thanks = "".join([*sentences(REPLY)][1:]).lstrip()
    own = (REPLY, without_thanks)
    return frozenset(alone | before | {f"{opening}\n\n{words}" for opening in before for words in own})


@dataclass
class World:
    cluster: Cluster
    worker: Node
    pace: float
    """Seconds a word."""
    revision: int = 0
    before: frozenset[str] = field(default=frozenset())
    """The replicas that an update is to replace."""

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.cluster.head, self.worker

    @property
    def fronts(self) -> list[str]:
        return [node.url for node in self.nodes]

    def deploy(self, policy: Mapping[str, Any] = POLICY, *, anew: bool = False) -> None:
        """`anew`: with another argument of the counselor's engine, for which Serve replaces every replica."""
        if anew:
            self.revision += 1
            self.before = frozenset(self.replicas())
        engine = {"engine": "scripted"}
        arguments = {
            "table": {"reply": [f"<think>The seeker speaks of a worry.</think>{REPLY}"], "draft": [DRAFT]},
            "seconds_per_word": self.pace,
            "keep": False,
            "context_length": 32_768 + self.revision,
        }
        args = {
            "ingress": _replicas("ingress"),
            "classifier": {**engine, "replicas": _replicas("classifier")},
            "counselor": {**engine, "replicas": _replicas("counselor"), "engine_args": arguments},
            "memory": {"backend": "redis"},
        }
        more = {"graceful_shutdown_timeout_s": GRACEFUL_SECONDS, "max_surge_percent": 100}
        ours = application(args, user_config=policy, **more)
        self.cluster.put(self.cluster.config(ours, proxy_location="EveryNode"))

    def replicas(self) -> list[str]:
        return [replica for ids in self.cluster.replicas().values() for replica in ids]

    def policy(self) -> dict[str, Any]:
        """As Serve has given it to the ingress."""
        ingress = self.cluster.application()["deployments"]["ingress"]
        found: dict[str, Any] = ingress["deployment_config"]["user_config"]
        return found

    def is_whole(self) -> bool:
        """Every replica runs and is of the newest version, none is left over, and they answer at each node's front.

        Serve gives no HAProxy to a node without a replica, but for the head.
        """
        try:
            application = self.cluster.application()
        except (httpx.HTTPError, ValueError, KeyError):  # the head is away, or only just back
            return False
        deployments = application.get("deployments", {})
        states = {
            replica["replica_id"]: replica["state"] for found in deployments.values() for replica in found["replicas"]
        }
        return (
            application.get("status") == "RUNNING"
            and len(states) == REPLICAS * len(DEPLOYMENTS)
            and set(states.values()) == {"RUNNING"}
            and not self.before.intersection(states)
            and all(len(self.processes(name)) == REPLICAS for name in DEPLOYMENTS)
            and all(answers(f"{node.url}/ready") for node in self.nodes if self._has_a_front(node))
        )

    def _has_a_front(self, node: Node) -> bool:
        return node is self.cluster.head or any(node.replicas(name) for name in DEPLOYMENTS)

    def processes(self, deployment: str) -> list[int]:
        return [process.pid for node in self.nodes for process in node.replicas(deployment)]

    def kill_replica(self, deployment: str) -> None:
        """One of those at the worker, else at the head."""
        replicas = self.worker.replicas(deployment) or self.cluster.head.replicas(deployment)
        replicas[0].kill()


def _replicas(name: str) -> dict[str, Any]:
    return {"num_replicas": REPLICAS, "num_cpus": 0, "resources": {name: 1}}


@contextmanager
def built(folder: Path, *, pace: float, env: Mapping[str, str] | None = None) -> Iterator[World]:
    """Both nodes with the server on them, whole, and each with its half of the replicas. `folder`: a short path."""
    with _redis(folder) as port:
        keys = {"index": secrets.token_hex(32), "encrypt_with": "any", "keys": {"any": secrets.token_hex(32)}}
        variables = {
            **DEFAULTS,
            **DRAINING,
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{port}",
            "PSYCHECHAT_REDIS_URL": f"redis://127.0.0.1:{port}/1",
            "PSYCHECHAT_MEMORY_KEYS": json.dumps(keys),
            **(env or {}),
        }
        resources = json.dumps(ROOM)
        with (
            ray_head(folder, env=variables, resources=resources) as cluster,
            ray_worker(cluster, "worker", env=variables, resources=resources) as worker,
        ):
            world = World(cluster, worker, pace)
            cluster.wait_for_dashboard()
            wait_until(lambda: _nodes(cluster) == 2, 60, "the second node did not join")
            world.deploy()
            wait_until(world.is_whole, 120, f"the server did not start; see {folder}", every=0.5)
            spread = [len(node.replicas(name)) for node in world.nodes for name in DEPLOYMENTS]
            if set(spread) != {REPLICAS // 2}:
                raise RuntimeError(f"Serve did not spread the replicas over the nodes: {spread}")
            yield world


def _nodes(cluster: Cluster) -> int:
    """How many are alive."""
    summary = httpx.get(f"{cluster.dashboard}/nodes?view=summary", timeout=10).json()["data"]["summary"]
    return sum(node["raylet"].get("state") == "ALIVE" for node in summary)


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """A real one that outlives the nodes. What is yielded is its port."""
    port = free_port()
    program = shutil.which("redis-server", path=Path(sys.executable).parent) or "redis-server"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        server.kill()
        server.wait()
