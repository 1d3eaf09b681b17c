"""From which answer on a container is ready, or dead, as a kubelet counts."""

from itertools import accumulate

import pytest

from benchmarks.cluster.probes import Health, Probe, port_number

ASK = {"httpGet": {"path": "/", "port": 80}}


def told(health: Health, answers: str) -> str:
    """What it is after each of the answers: `+` for good, `-` for not."""
    return "".join("+" if health.tell(answer == "+") else "-" for answer in answers)


@pytest.mark.parametrize(
    ("successes", "failures", "answers", "states"),
    [
        (1, 3, "--+--+---+", "--++++++-+"),
        (1, 1, "+-+", "+-+"),  # KubeRay's, of a worker that serves
        (3, 1, "++-+++", "-----+"),
        (1, 10, "+" + 10 * "-", "+" + 9 * "+" + "-"),
    ],
    ids=["three misses", "one miss", "three hits", "a head"],
)
def test_readiness_changes_after_as_many_answers_in_a_row(
    successes: int, failures: int, answers: str, states: str
) -> None:
    probe = Probe(ASK, successes=successes, failures=failures)
    assert told(Health(probe, good=False), answers) == states


def test_whoever_is_alive_at_first_dies_by_misses_alone() -> None:
    assert told(Health(Probe(ASK), good=True), "--+---") == "+++++-"


def test_a_manifest_is_read_with_kubernetes_defaults() -> None:
    assert Probe.read(ASK) == Probe(ASK, delay=0, period=10, timeout=1, successes=1, failures=3)
    given = {"exec": {"command": ["true"]}, "initialDelaySeconds": 10, "periodSeconds": 5, "failureThreshold": 120}
    probe = Probe.read(given)
    assert (probe.action, probe.delay, probe.period, probe.failures) == ({"exec": {"command": ["true"]}}, 10, 5, 120)
    # Ten minutes and the delay: what a container may be silent before it is started again.
    assert list(accumulate([probe.delay] + [probe.period] * (probe.failures - 1)))[-1] == 605


def test_a_probe_asks_one_thing() -> None:
    with pytest.raises(ValueError, match="one action"):
        Probe.read({"periodSeconds": 5})
    with pytest.raises(ValueError, match="one action"):
        Probe.read({**ASK, "tcpSocket": {"port": 80}})


def test_a_port_may_be_named() -> None:
    container = {"ports": [{"name": "metrics", "containerPort": 8080}, {"name": "redis", "containerPort": 6379}]}
    assert (port_number("redis", container), port_number(52365, container)) == (6379, 52365)
