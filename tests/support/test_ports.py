"""Two processes on one machine never take a port of each other's, whatever their servers listen on."""

import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path

from psychechat_ray.environment import PORTS
from tests.support import ports


def taken(block: int) -> set[int]:
    """By what a Ray and a Serve of this block's may listen on."""
    found = {name: int(port) for name, port in ports.fixed(block).items()}
    assert set(PORTS) < set(found)
    several = set[int]()
    for protocol in ports.REPLICAS:
        first, last = (found.pop(f"RAY_SERVE_DIRECT_INGRESS_{end}_{protocol}_PORT") for end in ("MIN", "MAX"))
        several |= set(range(first, last + 1))
    assert len(set(found.values())) == len(found)
    return {*found.values(), *several}


def test_what_ray_and_serve_listen_on_is_apart() -> None:
    for one, another in combinations(map(taken, range(len(ports.OURS) // ports.BLOCK)), 2):
        assert not one & another


def test_no_port_is_given_twice_and_none_that_somebody_has() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", ports.free_port()))
        somebody.listen()
        given = ports.free_ports(150)
        assert len(set(given)) == 150
        assert somebody.getsockname()[1] not in given


def test_another_process_has_others() -> None:
    script = "from tests.support import ports; print(ports.own_block(), *ports.free_ports(3))"
    command = [sys.executable, "-c", script]
    made = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    block, *given = map(int, made.stdout.split())
    assert block != ports.own_block()
    assert {ports.OURS.index(port) // ports.BLOCK for port in given} == {block}
