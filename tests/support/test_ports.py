"""Two workers on one machine never take a port of each other's, whatever their servers listen on."""

import socket
from itertools import combinations

from psychechat_ray.environment import PORTS
from tests.support import ports


def taken(worker: int) -> set[int]:
    """By what a Ray and a Serve of this worker's may listen on."""
    found = {name: int(port) for name, port in ports.fixed(worker).items()}
    ranges = [
        range(found.pop(f"RAY_SERVE_DIRECT_INGRESS_MIN_{protocol}_PORT"), found.pop(upto) + 1)
        for protocol in ("HTTP", "GRPC")
        if (upto := f"RAY_SERVE_DIRECT_INGRESS_MAX_{protocol}_PORT")
    ]
    assert set(PORTS) < set(found)
    return {*found.values(), *ranges[0], *ranges[1]}


def test_what_ray_and_serve_listen_on_is_apart() -> None:
    for one, another in combinations(map(taken, range(6)), 2):
        assert not one & another


def test_no_port_is_given_twice_and_none_that_somebody_has() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", ports.free_port()))
        somebody.listen()
        given = ports.free_ports(600)  # of the thousand that a worker has
        assert len(set(given)) == 600
        assert somebody.getsockname()[1] not in given
        assert set(given) <= set(ports.OURS)
