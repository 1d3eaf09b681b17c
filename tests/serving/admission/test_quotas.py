"""A key's quota: each of its three numbers, whose it is, and when it opens again."""

from typing import Any

import pytest

from psychechat.admission.quotas import Quotas
from psychechat.errors import Overloaded
from psychechat.policy import Policy
from psychechat.telemetry import Metrics


def quotas(**policy: Any) -> Quotas:
    its_policy = Policy.model_validate(policy)
    return Quotas(lambda: its_policy, Metrics())


def test_without_a_quota_everything_may_enter() -> None:
    free = quotas()
    for _ in range(100):
        free.enter("intake")
        free.charge("intake", 100_000)


def test_turns_at_once_come_back_when_they_end() -> None:
    two = quotas(quota={"turns_at_once": 2})
    with two.enter("intake"), two.enter("intake"), pytest.raises(Overloaded, match="2 turns at once"):
        two.enter("intake")
    with two.enter("intake"):
        pass


def test_turns_a_minute_are_counted_by_key() -> None:
    three = quotas(quota={"turns_per_minute": 3})
    for _ in range(3):
        with three.enter("intake"):
            three.count("intake")
    assert three.exceeded("intake")
    assert not three.exceeded("ward")
    with pytest.raises(Overloaded, match="3 turns a minute") as refused:
        three.enter("intake")
    assert 0 < refused.value.retry_after <= 60
    with three.enter("ward"):
        pass


def test_a_turn_that_never_began_uses_nothing_up() -> None:
    one = quotas(quota={"turns_per_minute": 1})
    for _ in range(3):
        with one.enter("intake"):
            pass
    with one.enter("intake"), one.enter("intake"):
        one.count("intake")
        with pytest.raises(Overloaded, match="1 turns a minute"):
            one.count("intake")


def test_a_turn_that_took_more_than_was_left_holds_up_the_next_one_only() -> None:
    some = quotas(quota={"tokens_per_minute": 1_000})
    some.charge("intake", 400)
    with some.enter("intake"):
        some.charge("intake", 5_000)
    with pytest.raises(Overloaded, match="1000 tokens a minute") as refused:
        some.enter("intake")
    assert 0 < refused.value.retry_after <= 60
    with some.enter("ward"):
        pass


def test_a_key_may_have_a_quota_of_its_own() -> None:
    mixed = quotas(quota={"turns_at_once": 1}, quotas={"ward": {"turns_at_once": 2}})
    with mixed.enter("intake"), mixed.enter("ward"), mixed.enter("ward"):
        for tenant in ("intake", "ward"):
            with pytest.raises(Overloaded):
                mixed.enter(tenant)
