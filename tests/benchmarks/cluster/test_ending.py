"""What a pod that is to go still has, and when a budget lets it go."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.cluster.ending import backoff, disruptions_allowed, matches, may_be_evicted, seconds_to_stop


@dataclass
class Voter:
    healthy: bool = True
    labels: dict[str, str] = field(default_factory=lambda: {"psychechat/group": "ingress"})


def budget(least: int | str, **more: Any) -> dict[str, Any]:
    return {"spec": {"minAvailable": least, "selector": {"matchLabels": {"psychechat/group": "ingress"}}, **more}}


@pytest.mark.parametrize(
    ("grace", "hook", "left"), [(210, 0, 210), (210, 195, 15), (210, 209, 2), (210, 210, 2), (30, 30.5, 2)]
)
def test_the_hook_spends_the_grace_and_two_seconds_are_left_in_any_case(grace: float, hook: float, left: float) -> None:
    assert seconds_to_stop(grace, hook) == left


def test_a_container_that_ends_again_and_again_waits_longer_each_time() -> None:
    assert [backoff(restarts) for restarts in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_as_many_may_go_as_are_healthy_beyond_the_least() -> None:
    others = [Voter(labels={"psychechat/group": "engines"})] * 3
    assert disruptions_allowed(budget(1), [Voter(), Voter(), *others]) == 1
    assert disruptions_allowed(budget(1), [Voter(), Voter(healthy=False), *others]) == 0
    assert disruptions_allowed(budget(3), [Voter()]) == 0


def test_the_second_of_two_is_refused_while_the_first_is_away() -> None:
    first, second = Voter(), Voter()
    assert may_be_evicted(first, [budget(1)], [first, second])
    first.healthy = False
    assert not may_be_evicted(second, [budget(1)], [first, second])
    assert may_be_evicted(second, [budget(1)], [first, second, Voter()])


@pytest.mark.parametrize(
    ("more", "healthy", "may"),
    [
        ({}, 1, True),  # the budget is met without it
        ({}, 0, False),
        ({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, 0, True),
    ],
    ids=["met", "not met", "always"],
)
def test_one_that_is_not_ready_goes_by_the_budgets_policy(more: dict[str, Any], healthy: int, may: bool) -> None:
    unready = Voter(healthy=False)
    assert may_be_evicted(unready, [budget(1, **more)], [unready, *[Voter()] * healthy]) is may


def test_without_a_budget_every_pod_may_go_and_with_two_none() -> None:
    assert may_be_evicted(Voter(), [], [])
    with pytest.raises(ValueError, match="several budgets"):
        may_be_evicted(Voter(), [budget(1), budget(0)], [Voter()] * 3)


def test_a_share_of_pods_takes_an_owner_that_is_known() -> None:
    with pytest.raises(ValueError, match="50%"):
        disruptions_allowed(budget("50%"), [Voter()])


def test_a_selector_is_all_of_its_conditions() -> None:
    selector = {
        "matchLabels": {"app": "psychechat"},
        "matchExpressions": [{"key": "component", "operator": "In", "values": ["head", "worker"]}],
    }
    assert matches(selector, {"app": "psychechat", "component": "head", "more": "of it"})
    assert not matches(selector, {"app": "psychechat", "component": "redis"})
    assert not matches(selector, {"component": "head"})
    with pytest.raises(ValueError, match="Exists"):
        matches({"matchExpressions": [{"key": "component", "operator": "Exists"}]}, {})
