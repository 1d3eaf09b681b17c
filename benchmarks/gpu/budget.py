"""Budget of a run: minutes of a machine that is lent or rented, shared out over steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

Status = Literal["done", "skipped", "failed", "cut"]
"""`cut`: its time was over before it ended. What it had found by then is kept."""


@dataclass(frozen=True)
class Step:
    """One step of a run. It has a process of its own, so that what breaks in it breaks nothing else."""

    name: str
    about: str
    module: str
    """Whose `run` does it."""
    seconds: float
    """Its share of a run, of the sum of all."""
    least: float = 0.0
    """Seconds below which it is not begun."""
    grace: float = 5.0
    """Seconds of its time that it has for ending."""
    options: Mapping[str, Any] = field(default_factory=dict)
    interpreted: bool = True
    """Whether a rehearsal has Triton interpret kernels in it."""


@dataclass(frozen=True)
class Outcome:
    status: Status
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def dues(steps: Sequence[Step], seconds: float) -> list[float]:
    """Seconds after the begin by which each step has to be over: the shares, stretched or shrunk to fill the whole."""
    whole = sum(step.seconds for step in steps)
    return [seconds * until / whole for until in accumulate(step.seconds for step in steps)]


def follow(
    steps: Sequence[Step],
    seconds: float,
    start: Callable[[Step, float], Outcome],
    record: Callable[[Step, Outcome, float], None],
    clock: Callable[[], float],
    *,
    rehearse: bool = False,
) -> None:
    """All steps in their order, each recorded before the next begins.

    What a step leaves over goes to those behind it, and what it takes too much is missing there; one that has less than
    its least left is skipped. In a rehearsal there is no least. `start` is given the step's seconds, and keeps them.
    """
    begun = clock()
    for step, due in zip(steps, dues(steps, seconds), strict=True):
        at = clock()
        left = due - (at - begun)
        if left <= 0 or (left < step.least and not rehearse):
            outcome = Outcome("skipped", f"{max(left, 0.0):.0f} s were left for it, and it takes {step.least:.0f}")
        else:
            outcome = start(step, left)
        record(step, outcome, clock() - at)
