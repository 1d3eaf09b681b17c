"""Minutes shared out over steps: order, what is left over, what is missing, with a clock that the test moves."""

from collections.abc import Callable

import pytest

from benchmarks.gpu import runs
from benchmarks.gpu.budget import Outcome, Step, dues, follow

STEPS = (Step("first", "", "", 10), Step("second", "", "", 30, least=12), Step("third", "", "", 20, least=5))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def followed(takes: dict[str, float], seconds: float, *, rehearse: bool = False) -> list[tuple[str, str, float]]:
    """(step, status, seconds it was given) of a run whose steps take so long, or their whole time if that is less."""
    clock, given, told = Clock(), dict[str, float](), list[tuple[str, str, float]]()

    def start(step: Step, left: float) -> Outcome:
        given[step.name] = left
        clock.now += takes.get(step.name, left)
        return Outcome("done")

    def record(step: Step, outcome: Outcome, _: float) -> None:
        told.append((step.name, outcome.status, given.get(step.name, 0.0)))

    follow(STEPS, seconds, start, record, clock, rehearse=rehearse)
    return told


def test_shares_fill_the_whole() -> None:
    assert dues(STEPS, 60) == [10, 40, 60]
    assert dues(STEPS, 120) == [20, 80, 120]


def test_steps_go_in_order_and_what_one_leaves_over_the_next_has() -> None:
    told = followed({"first": 2, "second": 4, "third": 0}, 60)
    assert told == [("first", "done", 10), ("second", "done", 38), ("third", "done", 54)]


def test_what_one_takes_too_much_is_missing_behind_it_and_too_little_is_skipped() -> None:
    told = followed({"first": 30}, 60)
    assert told == [("first", "done", 10), ("second", "skipped", 0), ("third", "done", 30)]


def test_a_rehearsal_skips_nothing_that_has_any_time_left() -> None:
    told = followed({"first": 30}, 60, rehearse=True)
    assert told == [("first", "done", 10), ("second", "done", 10), ("third", "done", 20)]


def test_what_is_skipped_says_how_much_was_left_and_how_much_it_takes() -> None:
    clock, why = Clock(), dict[str, str]()

    def start(step: Step, left: float) -> Outcome:
        clock.now += 33
        return Outcome("done")

    follow(STEPS, 60, start, lambda step, outcome, _: why.update({step.name: outcome.why}), clock)
    assert why["second"] == "7 s were left for it, and it takes 12"


@pytest.mark.parametrize("steps", [lambda: runs.KERNEL, lambda: runs.serve(rehearse=False)], ids=["kernel", "serve"])
def test_every_step_of_a_run_fits_its_share(steps: Callable[[], tuple[Step, ...]]) -> None:
    """In the minutes that the run asks for by itself no step is skipped for want of time, even with none left over."""
    minutes = 8 if steps() is runs.KERNEL else 30
    ends = [0.0, *dues(steps(), 60 * minutes)]
    for step, begin, end in zip(steps(), ends, ends[1:], strict=False):
        assert end - begin >= step.least + step.grace / 2, step.name
    assert len({step.name for step in steps()}) == len(steps())
