"""A deadline between processes whose clocks began at different moments."""

import pickle
from dataclasses import replace
from math import inf

import pytest

from psychechat.engines.base import Call
from psychechat_ray.sent_call import SentCall

CALL = Call("request", "session", "salt", priority=-1, deadline=1_090.0, trace={"traceparent": "00"}, adapter="warm")


@pytest.mark.parametrize("there", [7.0, 1_000.0, 5_000_000.0])
def test_the_seconds_that_are_left_hold_by_the_clock_of_the_other(there: float) -> None:
    sent = pickle.dumps(SentCall.of(CALL, lambda: 1_000.0))
    received = pickle.loads(sent).received(lambda: there)
    assert received.deadline - there == pytest.approx(90)
    assert replace(received, deadline=CALL.deadline) == CALL


def test_what_has_no_deadline_has_none_there() -> None:
    assert SentCall.of(Call("request", "session")).received().deadline == inf
