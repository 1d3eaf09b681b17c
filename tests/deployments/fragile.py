"""Settings of a server that has each of its parts once, so that each is missed, and whose replies take their time."""

import signal
from typing import Any

from tests.support.ray_cluster import Cluster

REPLY = (
    "I hear you. Thank you for telling me about this. It sounds like a lot to carry on your own. "
    "I would like to understand it better, at your pace. What about it weighs on you most today?"
)
"""At this pace it takes four seconds, and its first sentence leaves within one."""
REPLICAS = {"num_cpus": 0, "health_check_seconds": 1}
ENGINE: dict[str, Any] = {"engine": "scripted", "replicas": REPLICAS}
TABLE = {"reply": [f"<think>A worry.</think>{REPLY}"]}
SETTINGS = {
    "ingress": REPLICAS,
    "classifier": ENGINE,
    "counselor": {**ENGINE, "max_num_seqs": 5, "engine_args": {"table": TABLE, "seconds_per_word": 0.1}},
    "policy": {"admission": {"generation_seconds": 1.0}, "quota": {"crises_per_minute": None}},
}


def strike(server: Cluster, deployment: str, blow: signal.Signals = signal.SIGKILL) -> None:
    [replica] = server.processes(deployment)
    replica.send_signal(blow)
