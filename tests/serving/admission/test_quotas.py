"""A key's quota: each of its three numbers, whose it is, and when it opens again."""

import asyncio
from typing import Any

import pytest

from psychechat.admission.quotas import Quotas
from psychechat.errors import Overloaded
from psychechat.policy import Policy
from psychechat.telemetry import Metrics
from tests.support import virtual_time

pytestmark = virtual_time.mark


def quotas(**policy: Any) -> Quotas:
    its_policy = Policy.model_validate(policy)
    return Quotas(lambda: its_policy, Metrics(), virtual_time.clock)


async def test_without_a_quota_everything_may_enter() -> None:
    free = quotas()
    for _ in range(100):
        free.enter("intake")
        free.charge("intake", 100_000)


async def test_turns_at_once_come_back_when_they_end() -> None:
    two = quotas(quota={"turns_at_once": 2})
    with two.enter("intake"), two.enter("intake"), pytest.raises(Overloaded, match="2 turns at once"):
        two.enter("intake")
    with two.enter("intake"):
        pass


async def test_turns_a_minute_are_counted_by_key() -> None:
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


async def test_each_turn_counts_for_a_minute_and_retry_after_is_when_the_first_is_over() -> None:
    three = quotas(quota={"turns_per_minute": 3})
    for seconds in (0, 20, 30):  # so at 0, 20 and 50
        await asyncio.sleep(seconds)
        three.count("intake")
    waited = []
    for _ in range(4):
        with pytest.raises(Overloaded) as refused:
            three.enter("intake")
        waited.append(refused.value.retry_after)
        await asyncio.sleep(refused.value.retry_after)
        three.count("intake")
    assert waited == [10, 20, 30, 10]


async def test_a_turn_that_never_began_uses_nothing_up() -> None:
    one = quotas(quota={"turns_per_minute": 1})
    for _ in range(3):
        with one.enter("intake"):
            pass
    with one.enter("intake"), one.enter("intake"):
        one.count("intake")
        with pytest.raises(Overloaded, match="1 turns a minute"):
            one.count("intake")


async def test_a_turn_that_took_more_than_was_left_holds_up_the_next_one_only() -> None:
    some = quotas(quota={"tokens_per_minute": 1_000})
    some.charge("intake", 400)
    with some.enter("intake"):
        some.charge("intake", 5_000)
    with pytest.raises(Overloaded, match="1000 tokens a minute") as refused:
        some.enter("intake")
    assert 0 < refused.value.retry_after <= 60
    with some.enter("ward"):
        pass


async def test_tokens_come_back_as_they_went() -> None:
    some = quotas(quota={"tokens_per_minute": 1_000})
    some.charge("intake", 400)
    await asyncio.sleep(40)
    some.charge("intake", 600)
    with pytest.raises(Overloaded) as refused:
        some.check("intake")
    assert refused.value.retry_after == 20
    await asyncio.sleep(20)
    some.charge("intake", 399)
    some.check("intake")
    some.charge("intake", 1)
    assert some.exceeded("intake")


async def test_a_policy_that_changes_forgets_nothing() -> None:
    policy = Policy.model_validate({"quota": {"turns_per_minute": 9}})
    some = Quotas(lambda: policy, Metrics(), virtual_time.clock)
    some.count("intake")
    policy = Policy.model_validate({"quota": {"turns_per_minute": 1}})
    assert some.exceeded("intake")


async def test_a_key_may_have_a_quota_of_its_own() -> None:
    mixed = quotas(quota={"turns_at_once": 1}, quotas={"ward": {"turns_at_once": 2}})
    with mixed.enter("intake"), mixed.enter("ward"), mixed.enter("ward"):
        for tenant in ("intake", "ward"):
            with pytest.raises(Overloaded):
                mixed.enter(tenant)


async def test_each_cause_of_a_refusal_is_counted_and_there_before_the_first() -> None:
    """A rate needs a first value to rise from."""
    policy = Policy.model_validate(
        {"quotas": {"a": {"turns_at_once": 1}, "b": {"turns_per_minute": 1}, "c": {"tokens_per_minute": 1}}}
    )
    metrics = Metrics()
    some = Quotas(lambda: policy, metrics, virtual_time.clock)

    def counted() -> dict[str, float]:
        [family] = metrics.refusals.collect()
        return {
            sample.labels["cause"]: sample.value
            for sample in family.samples
            if sample.name.endswith("_total") and (sample.labels["lane"], sample.labels["engine"]) == ("key", "")
        }

    assert counted() == {"turns_at_once": 0, "turns": 0, "tokens": 0}
    some.count("b")
    some.charge("c", 1)
    with some.enter("a"):
        for tenant in "abc":
            with pytest.raises(Overloaded):
                some.enter(tenant)
    assert counted() == {"turns_at_once": 1, "turns": 1, "tokens": 1}


async def test_crises_are_counted_by_themselves_and_ten_a_minute_unless_said_otherwise() -> None:
    plain = quotas(quota={"turns_per_minute": 1}, quotas={"ward": {"crises_per_minute": None}})
    assert [plain.count_crisis("intake") for _ in range(11)] == [True] * 10 + [False]
    assert plain.has_spent_crises("intake")
    assert not plain.exceeded("intake")
    assert all(plain.count_crisis("ward") for _ in range(100))
    await asyncio.sleep(59)
    assert not plain.count_crisis("intake")
    await asyncio.sleep(1)
    assert plain.count_crisis("intake")
