"""Ports of a worker's own: pytest-xdist runs several on one machine, and each may have a server, a Ray, a HAProxy."""

import os
import random
from collections.abc import Iterator

from psychechat_ray.environment import PORTS
from psychechat_ray.ports import free_from, is_free

OURS = range(20_000, 30_000)
"""Below those that systems and Serve hand out, so that nobody is given one by chance before a server has it."""
FIXED = 15_000
"""From here on lie those that a Ray and its Serve have one each of."""
REPLICAS = {"HTTP": 30_000, "GRPC": 40_000}
"""From where on Serve numbers replicas. Where one has died, HAProxy asks for a while, and must find nobody's."""
APART = 200


def worker() -> int | None:
    """Its index, or None without pytest-xdist."""
    name = os.environ.get("PYTEST_XDIST_WORKER")
    return int(name.removeprefix("gw")) if name else None


def fixed(worker: int) -> dict[str, str]:
    """What Ray and Serve read from the environment, for this worker."""
    names = [*PORTS, "AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT"]
    found = {name: free_from(FIXED + APART * worker + 20 * n) for n, name in enumerate(names)}
    for protocol, port in REPLICAS.items():
        found[f"RAY_SERVE_DIRECT_INGRESS_MIN_{protocol}_PORT"] = port + APART * worker
        found[f"RAY_SERVE_DIRECT_INGRESS_MAX_{protocol}_PORT"] = port + APART * (worker + 1) - 1
    return {name: str(port) for name, port in found.items()}


def free_port() -> int:
    return next(_free)


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def _ports() -> Iterator[int]:
    """None of them twice before all were given. Where it begins is left to chance: somebody else may run tests too."""
    mine = worker()
    own = OURS if mine is None else OURS[mine % 10 * 1000 :][:1000]
    at = random.randrange(len(own))
    while True:
        at = (at + 1) % len(own)
        if is_free("127.0.0.1", own[at]):
            yield own[at]


_free = _ports()
