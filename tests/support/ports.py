"""Ports of each process: workers of pytest-xdist, and others who test here, have servers, Rays and HAProxies."""

import os
import random
import socket
from collections.abc import Iterator
from functools import cache

from psychechat_ray.environment import PORTS
from psychechat_ray.ports import is_free

OURS = range(20_000, 30_000)
"""Below those that systems and Serve hand out, so that nobody is given one by chance before a server has it."""
BLOCK = 200
"""Of these a process has. It listens on the first for as long as it lives, so that no other takes them."""
FIXED = 15_000
"""From here on lie those that a Ray and its Serve have one each of."""
REPLICAS = {"HTTP": 30_000, "GRPC": 40_000}
"""From where on Serve numbers replicas. Where one has died, HAProxy asks for a while, and must find nobody's."""


def is_worker() -> bool:
    """Of pytest-xdist's."""
    return "PYTEST_XDIST_WORKER" in os.environ


def fixed(block: int) -> dict[str, str]:
    """What Ray and Serve read from the environment, apart for each block."""
    names = [*PORTS, "AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT"]
    free = (port for port in range(FIXED + 20 * block, FIXED + 20 * (block + 1)) if is_free("0.0.0.0", port))
    found = dict(zip(names, free, strict=False))
    assert len(found) == len(names)
    for protocol, port in REPLICAS.items():
        found[f"RAY_SERVE_DIRECT_INGRESS_MIN_{protocol}_PORT"] = port + 50 * block
        found[f"RAY_SERVE_DIRECT_INGRESS_MAX_{protocol}_PORT"] = port + 50 * (block + 1) - 1
    return {name: str(port) for name, port in found.items()}


def free_port() -> int:
    return next(_free)


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def own_block() -> int:
    return _claim()[0]


@cache
def _claim() -> tuple[int, socket.socket]:
    blocks = range(len(OURS) // BLOCK)
    for block in random.sample(blocks, len(blocks)):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", OURS[BLOCK * block]))
        except OSError:
            claim.close()
        else:
            return block, claim
    raise RuntimeError("others have every block of ports")


def _ports() -> Iterator[int]:
    """None of them twice before all were given."""
    first = BLOCK * own_block()
    while True:
        for port in OURS[first + 1 : first + BLOCK]:
            if is_free("127.0.0.1", port):
                yield port


_free = _ports()
