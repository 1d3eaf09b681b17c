"""How pods end, by arithmetic: what the kubelet leaves them, and what a disruption budget lets go."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

LEAST_SECONDS = 2.0
"""From SIGTERM to SIGKILL, also where the hook has used up all of the grace period."""
BACKOFF_SECONDS, MOST_BACKOFF_SECONDS = 10.0, 300.0


def seconds_to_stop(grace: float, hook: float) -> float:
    """From SIGTERM to SIGKILL, where the preStop hook took `hook` of the `grace` seconds."""
    return max(grace - hook, LEAST_SECONDS)


def backoff(restarts: int) -> float:
    """Seconds until a container that has ended is started again, after so many restarts: the first is at once."""
    return 0.0 if restarts == 0 else min(BACKOFF_SECONDS * 2.0 ** (restarts - 1), MOST_BACKOFF_SECONDS)


class Votes(Protocol):
    """A pod as a budget sees it."""

    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def healthy(self) -> bool:
        """Ready, and not told to go."""
        ...


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Of the two kinds that the chart uses: `matchLabels`, and `matchExpressions` with `In`."""
    for wanted in selector.get("matchExpressions", ()):
        if wanted["operator"] != "In":
            raise ValueError(f"a selector with {wanted['operator']} is not acted out")
        if labels.get(wanted["key"]) not in wanted["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def disruptions_allowed(budget: Mapping[str, Any], pods: Sequence[Votes]) -> int:
    """How many of the budget's pods may go now. Its `minAvailable` is a number, as for pods of a custom owner."""
    least = budget["spec"]["minAvailable"]
    if not isinstance(least, int):
        raise ValueError(f"minAvailable: {least!r} takes an owner that says how many there should be")
    healthy = sum(pod.healthy for pod in pods if matches(budget["spec"]["selector"], pod.labels))
    return max(0, healthy - least)


def may_be_evicted(pod: Votes, budgets: Sequence[Mapping[str, Any]], pods: Sequence[Votes]) -> bool:
    """Whether the eviction API takes it, or answers 429.

    One that is not ready may go only while its budget is met (`IfHealthyBudget`), or always (`AlwaysAllow`).
    """
    own = [budget for budget in budgets if matches(budget["spec"]["selector"], pod.labels)]
    if len(own) > 1:
        raise ValueError("a pod with several budgets is never evicted")
    if not own:
        return True
    [budget] = own
    if pod.healthy:
        return disruptions_allowed(budget, pods) > 0
    if budget["spec"].get("unhealthyPodEvictionPolicy", "IfHealthyBudget") == "AlwaysAllow":
        return True
    healthy = sum(other.healthy for other in pods if matches(budget["spec"]["selector"], other.labels))
    return bool(0 < budget["spec"]["minAvailable"] <= healthy)
