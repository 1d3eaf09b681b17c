"""Work beside the turns goes on after what it raises, and says only of what kind that was."""

import logging
import threading

import pytest

from psychechat_ray.periodic import Periodic

CANARY = "zanzibarquux"


def test_work_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    went_on, times = threading.Event(), iter(range(3))

    def work() -> None:
        if next(times) < 2:
            raise ZeroDivisionError(CANARY)
        again.close()
        went_on.set()

    again = Periodic(work, 0.01, "metrics")
    assert went_on.wait(10)
    assert caplog.text.count("metrics: ZeroDivisionError") == 2
    assert CANARY not in caplog.text
