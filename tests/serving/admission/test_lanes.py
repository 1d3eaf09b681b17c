"""Permits: who gets one, who waits and in which order, who is refused, and that none is ever lost."""

import asyncio
import gc
from collections import Counter
from contextlib import ExitStack
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.admission.lanes import Admission, Bounds, Lane, Permit, Rank
from psychechat.errors import Overloaded
from psychechat.policy import Policy
from psychechat.telemetry import Metrics
from tests.support import virtual_time

pytestmark = virtual_time.mark

COUNSELOR = "counselor"
BOUNDS = {"capacity": 4, "ordinary": 3, "max_waiting": 2, "seconds": 0.1, "crisis_seconds": 0.1}


class Room:
    """A lane, and what its metrics say."""

    def __init__(self, **bounds: float) -> None:
        self.metrics = Metrics()
        limits = Bounds(**{**BOUNDS, **bounds})  # type: ignore[arg-type]
        self.lane = Lane("generation", "counselor", lambda: limits, self.metrics, virtual_time.clock)

    def permits(self, state: str) -> float:
        labels = {"lane": "generation", "engine": COUNSELOR, "state": state}
        return self.metrics.registry.get_sample_value("psychechat_permits", labels) or 0

    def refused(self, cause: str) -> float:
        labels = {"lane": "generation", "engine": COUNSELOR, "cause": cause}
        return self.metrics.registry.get_sample_value("psychechat_refusals_total", labels) or 0

    async def fill(self, ordinary: int, crisis: int = 0) -> ExitStack:
        held = ExitStack()
        for rank in [Rank.ORDINARY] * ordinary + [Rank.CRISIS] * crisis:
            held.enter_context(await self.lane.acquire(rank, seconds=0))
        return held

    async def waiter(self, rank: Rank, order: list[Rank] | None = None, tenant: str = "") -> asyncio.Task[Permit]:
        async def wait() -> Permit:
            permit = await self.lane.acquire(rank, tenant=tenant)
            if order is not None:
                order.append(rank)
            return permit

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        return task


async def test_what_is_kept_for_a_crisis_is_given_to_nothing_else() -> None:
    room = Room()
    with await room.fill(ordinary=3):
        for rank in (Rank.RAISED, Rank.ORDINARY, Rank.BULK):
            with pytest.raises(Overloaded):
                await room.lane.acquire(rank, seconds=0)
        with await room.lane.acquire(Rank.CRISIS, seconds=None):
            assert room.permits("held") == 4
    assert room.permits("held") == 0


async def test_crisis_turns_may_hold_everything() -> None:
    room = Room()
    with await room.fill(ordinary=0, crisis=4), pytest.raises(Overloaded):
        await room.lane.acquire(Rank.CRISIS)
    assert room.refused("late") == 1


async def test_waiters_go_by_rank_then_first_come_first_served() -> None:
    room = Room(max_waiting=9, seconds=9, crisis_seconds=9)
    order: list[Rank] = []
    held = await room.fill(ordinary=3, crisis=1)
    ranks = [Rank.BULK, Rank.ORDINARY, Rank.CRISIS, Rank.RAISED, Rank.ORDINARY]
    tasks = [await room.waiter(rank, order) for rank in ranks]
    assert room.permits("waiting") == 5
    held.close()
    for task in (tasks[2], tasks[3], tasks[1], tasks[4], tasks[0]):
        with await asyncio.wait_for(task, 1):
            pass
    assert order == sorted(ranks)


async def test_one_that_fits_passes_one_that_does_not() -> None:
    """Of equal rank and of a lower one, a newcomer or one that waits already."""
    room = Room(capacity=16, ordinary=13, max_waiting=9, seconds=9)
    with await room.fill(ordinary=6), await room.lane.acquire(Rank.ORDINARY, 3) as three:
        large = asyncio.create_task(room.lane.acquire(Rank.RAISED, 8))
        full = asyncio.create_task(room.lane.acquire(Rank.ORDINARY, 5))
        await asyncio.sleep(0)
        with await room.lane.acquire(Rank.RAISED, seconds=0), await room.lane.acquire(Rank.ORDINARY, seconds=0):
            three.close()
            with await asyncio.wait_for(full, 1):
                assert not large.done()
    with await asyncio.wait_for(large, 1):
        assert room.permits("held") == 8


async def test_one_that_does_not_fit_is_passed_eight_times_and_no_more() -> None:
    """However many small ones come, it has its turn as soon as those that passed it have ended."""
    room = Room(capacity=5, ordinary=4, max_waiting=99, seconds=99)
    served: list[int] = []

    async def one(cost: int) -> None:
        with await room.lane.acquire(Rank.ORDINARY, cost):
            served.append(cost)
            await asyncio.sleep(1)

    with await room.fill(ordinary=2):
        turns = [asyncio.create_task(one(cost)) for cost in [3, *[1] * 40]]
        await asyncio.sleep(20)
        assert served == [1] * 8
    await asyncio.gather(*turns)
    assert served[8] == 3


async def test_bulk_passes_nobody() -> None:
    room = Room(capacity=8, ordinary=8, seconds=9)
    with await room.fill(ordinary=2):
        large = asyncio.create_task(room.lane.acquire(Rank.ORDINARY, 7))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.BULK, seconds=0)
    with await asyncio.wait_for(large, 1):
        assert room.permits("held") == 7


async def test_a_tenants_crisis_finds_a_place_that_anothers_crises_leave() -> None:
    """Where one tenant alone came, that one may hold all."""
    room = Room(capacity=8, ordinary=5, max_waiting=9)
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(await room.lane.acquire(Rank.ORDINARY, tenant="ward"))
        for _ in range(2):
            held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="flood", seconds=0.1))
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.CRISIS, tenant="flood")
        began = virtual_time.clock()
        held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="ward"))
        assert virtual_time.clock() == began
        assert room.permits("held") == 8
    alone = Room()
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(await alone.lane.acquire(Rank.CRISIS, tenant="ward"))
        assert alone.permits("held") == 4


async def test_a_tenant_that_does_not_come_again_keeps_no_place_for_long() -> None:
    """Ten minutes after its last request, not its first; a tenant that stays may then hold all again."""
    room = Room(max_waiting=9)
    for _ in range(2):
        with await room.lane.acquire(Rank.ORDINARY, tenant="trial"):
            await asyncio.sleep(400)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="ward"))
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.CRISIS, tenant="ward")
        await asyncio.sleep(200)
        held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="ward"))
        assert room.permits("held") == 4


class _Name(str):
    """Of a tenant; whoever still knows it can be told."""


async def test_tenants_that_have_gone_leave_nothing_behind() -> None:
    room, known = Room(), WeakSet[_Name]()
    for number in range(20):
        name = _Name(number)
        known.add(name)
        with await room.lane.acquire(Rank.CRISIS, tenant=name):
            pass
    del name
    gc.collect()
    assert len(known) <= 2  # the last, by which one tenant is told from several


@pytest.mark.parametrize("capacity", [4, 5], ids=["all is held", "a place is kept for crises"])
async def test_a_long_queue_costs_no_more_looks_at_the_bounds_than_a_short_one(capacity: int) -> None:
    """At an arrival, where nobody may enter, and at an end, where one does and the queue is gone through again."""
    looks = 0

    def bounds() -> Bounds:
        nonlocal looks
        looks += 1
        return Bounds(capacity, ordinary=4, max_waiting=999, seconds=9, crisis_seconds=9)

    lane = Lane("generation", COUNSELOR, bounds, Metrics(), virtual_time.clock)
    held = [await lane.acquire(Rank.ORDINARY) for _ in range(4)]
    waiting = [asyncio.create_task(lane.acquire(Rank.ORDINARY)) for _ in range(256)]
    await asyncio.sleep(0)
    looks = 0
    waiting.append(asyncio.create_task(lane.acquire(Rank.ORDINARY)))
    await asyncio.sleep(0)
    assert looks <= 2
    looks = 0
    held.pop().close()
    assert looks <= 2
    for task in waiting:
        task.cancel()
    for permit in await asyncio.gather(*waiting, return_exceptions=True):
        if isinstance(permit, ExitStack):
            permit.close()


async def test_of_crises_that_wait_the_tenant_goes_first_whose_crises_hold_least() -> None:
    room = Room(seconds=99, crisis_seconds=99)
    order: list[str] = []

    async def crisis(tenant: str) -> None:
        with await room.lane.acquire(Rank.CRISIS, tenant=tenant):
            order.append(tenant)
            await asyncio.sleep(1)

    with await room.fill(ordinary=3, crisis=1):
        turns = [asyncio.create_task(crisis(tenant)) for tenant in [*["flood"] * 9, "school", "ward", "ward"]]
        await asyncio.sleep(0)
    await asyncio.gather(*turns)
    assert sorted(order[:3]) == ["flood", "school", "ward"]
    assert "ward" in order[3:6]


async def test_the_last_place_is_no_ones_beyond_its_share_while_another_has_less() -> None:
    """One that has some, but less than its share, need not leave it to one that has none and has not come."""
    room = Room(capacity=12, ordinary=4, seconds=9, crisis_seconds=9)
    with await room.fill(ordinary=4), ExitStack() as held:
        held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="ward"))
        for _ in range(6):
            held.enter_context(await room.lane.acquire(Rank.CRISIS, tenant="flood"))
        flood = await room.waiter(Rank.CRISIS, tenant="flood")
        assert not flood.done()
        ward = await room.waiter(Rank.CRISIS, tenant="ward")
        held.enter_context(await asyncio.wait_for(ward, 1))
        assert not flood.done()
        assert room.permits("held") == 12
    (await flood).close()


async def test_places_that_end_go_to_tenants_that_have_less_than_their_share() -> None:
    """However many one tenant held before the others came: of eight places for three tenants, three are the most."""
    room = Room(capacity=12, ordinary=4, seconds=99, crisis_seconds=99)
    has: Counter[str] = Counter()

    async def crisis(tenant: str, seconds: float) -> None:
        with await room.lane.acquire(Rank.CRISIS, tenant=tenant):
            has[tenant] += 1
            await asyncio.sleep(seconds)
            has[tenant] -= 1

    with await room.fill(ordinary=4):
        turns = [asyncio.create_task(crisis("flood", 1 + number / 8)) for number in range(40)]
        await asyncio.sleep(0.5)
        assert has == {"flood": 8}  # nobody else was there
        turns += [asyncio.create_task(crisis(tenant, 5)) for tenant in ["ward"] * 4 + ["school"] * 4]
        await asyncio.sleep(1.4)
        assert has == {"flood": 3, "ward": 3, "school": 2}
        await asyncio.gather(*turns)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(1, 9)), max_size=40))
async def test_no_tenant_below_its_share_waits_while_a_place_is_free(arrivals: list[tuple[str, int, int]]) -> None:
    """Whenever its crises come, and for however long."""
    reserve = 5
    room = Room(capacity=7, ordinary=2, seconds=999, crisis_seconds=999)
    has: Counter[str] = Counter()
    waits: Counter[str] = Counter()

    async def crisis(tenant: str, seconds: float) -> None:
        waits[tenant] += 1
        with await room.lane.acquire(Rank.CRISIS, tenant=tenant):
            waits[tenant] -= 1
            has[tenant] += 1
            await asyncio.sleep(seconds)
            has[tenant] -= 1

    with await room.fill(ordinary=2):
        turns = []
        for tenant, pause, seconds in arrivals:
            turns.append(asyncio.create_task(crisis(tenant, seconds)))
            await asyncio.sleep(pause + 0.001)
            if has.total() < reserve and (tenants := len(+has | +waits)) > 1:
                assert all(has[other] * tenants >= reserve for other in +waits)
        await asyncio.gather(*turns)


async def test_nothing_else_takes_the_place_that_a_crisis_waits_for() -> None:
    """Also where it waits because the last place is another tenant's."""
    room = Room(capacity=4, ordinary=3, seconds=9, crisis_seconds=9)
    ward = await room.lane.acquire(Rank.ORDINARY, tenant="ward")
    held = [await room.lane.acquire(Rank.CRISIS, tenant="flood") for _ in range(2)]
    waiting = await room.waiter(Rank.CRISIS, tenant="flood")
    with pytest.raises(Overloaded):
        await room.lane.acquire(Rank.ORDINARY, seconds=0)
    ward.close()
    with await asyncio.wait_for(waiting, 1):
        assert room.permits("held") == 3
    for permit in held:
        permit.close()


async def test_in_a_full_queue_low_risk_makes_room_for_raised_risk_only() -> None:
    room = Room(seconds=9)
    with await room.fill(ordinary=3):
        first, second = [await room.waiter(Rank.ORDINARY) for _ in range(2)]
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.ORDINARY)
        raised = await room.waiter(Rank.RAISED)
        with pytest.raises(Overloaded):
            await second  # who came last goes first
        assert (room.refused("full"), room.refused("displaced")) == (1, 1)
    for task in (raised, first):
        with await asyncio.wait_for(task, 1):
            pass


async def test_a_crisis_waits_although_the_queue_is_full() -> None:
    room = Room(seconds=9, crisis_seconds=9)
    with await room.fill(ordinary=3, crisis=1):
        tasks = [await room.waiter(rank) for rank in (Rank.RAISED, Rank.RAISED, Rank.CRISIS, Rank.CRISIS)]
    for task in tasks:
        with await asyncio.wait_for(task, 1):
            pass


async def test_who_must_not_wait_is_let_in_over_the_bounds() -> None:
    room = Room(crisis_seconds=0)
    with await room.fill(ordinary=3, crisis=9):
        assert room.permits("held") == 12
    assert room.permits("held") == 0


async def test_what_costs_more_than_there_is_gets_all_there_is() -> None:
    room = Room()
    with await room.lane.acquire(Rank.ORDINARY, 1_000):
        assert room.permits("held") == BOUNDS["ordinary"]


async def test_what_is_spare_is_all_or_nothing_and_nothing_of_what_is_kept_for_a_crisis() -> None:
    room = Room()
    with await room.fill(ordinary=1):
        assert room.lane.try_acquire(3) is None
        assert room.permits("held") == 1
        spare = room.lane.try_acquire(2)
        assert spare is not None
        assert room.permits("held") == BOUNDS["ordinary"]
        assert room.lane.try_acquire(1) is None
        spare.close()
        assert room.permits("held") == 1
    assert room.lane.try_acquire(4) is None


async def test_nothing_is_spare_while_somebody_waits() -> None:
    room = Room(capacity=5, ordinary=4, seconds=9)
    with await room.fill(ordinary=2):
        large = asyncio.create_task(room.lane.acquire(Rank.ORDINARY, 3))
        await asyncio.sleep(0)
        assert room.lane.try_acquire(1) is None
    with await asyncio.wait_for(large, 1):
        assert room.permits("held") == 3


async def test_bulk_never_shuts_the_lane_to_a_turn() -> None:
    room = Room(capacity=8, ordinary=8, max_waiting=9)
    with await room.lane.acquire(Rank.BULK, 1_000):
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.BULK, seconds=0)
        with await room.lane.acquire(Rank.ORDINARY, 4, seconds=0):
            assert room.permits("held") == 8


async def test_waiting_has_an_end_and_says_when_to_come_back() -> None:
    room = Room(seconds=0.05)
    with await room.fill(ordinary=3), pytest.raises(Overloaded) as refused:
        await room.lane.acquire(Rank.ORDINARY)
    assert 1 <= refused.value.retry_after <= 60
    assert (room.refused("late"), room.permits("waiting")) == (1, 0)


async def test_crises_that_wait_take_no_ones_place_in_the_queue() -> None:
    room = Room(max_waiting=1, seconds=9, crisis_seconds=9)
    with await room.fill(ordinary=3, crisis=1):
        crises = [await room.waiter(Rank.CRISIS) for _ in range(3)]
        ordinary = await room.waiter(Rank.ORDINARY)
        assert room.permits("waiting") == 4
        with pytest.raises(Overloaded):
            await room.lane.acquire(Rank.ORDINARY)
    for permit in await asyncio.gather(*crises, ordinary):
        permit.close()


async def test_the_pace_of_ten_minutes_ago_says_nothing() -> None:
    room = Room(seconds=0.01)
    with await room.lane.acquire(Rank.ORDINARY):
        pass
    await asyncio.sleep(600)
    with await room.fill(ordinary=3), pytest.raises(Overloaded) as refused:
        await room.lane.acquire(Rank.ORDINARY, seconds=0)
    assert refused.value.retry_after == 1


async def test_retry_after_follows_the_observed_rate() -> None:
    """Ten a second come back: a newcomer behind twenty others hears of some two seconds, not of one."""
    room = Room(max_waiting=20, seconds=9)
    for _ in range(8):
        with await room.lane.acquire(Rank.ORDINARY):
            await asyncio.sleep(0.1)
    with await room.fill(ordinary=3):
        waiting = [await room.waiter(Rank.ORDINARY) for _ in range(20)]
        with pytest.raises(Overloaded) as refused:
            await room.lane.acquire(Rank.ORDINARY)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert 1.5 < refused.value.retry_after < 4


async def test_one_that_gives_up_makes_way_and_one_that_was_just_let_in_gives_back() -> None:
    room = Room(capacity=2, ordinary=1, seconds=9)
    held = await room.fill(ordinary=1)
    gone, lucky = [await room.waiter(Rank.ORDINARY) for _ in range(2)]
    gone.cancel()
    await asyncio.sleep(0)
    held.close()  # grants it, in the same breath in which it is cancelled
    lucky.cancel()
    await asyncio.gather(gone, lucky, return_exceptions=True)
    assert (room.permits("held"), room.permits("waiting")) == (0, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Rank),
            st.integers(1, 3),
            st.sampled_from(["work", "cancel", "hurry"]),
            st.sampled_from(["", "ward", "school"]),
        ),
        max_size=30,
    )
)
async def test_however_they_come_and_go_no_bound_is_crossed_and_no_permit_lost(
    arrivals: list[tuple[Rank, int, str, str]],
) -> None:
    room = Room(max_waiting=5, seconds=0.02, crisis_seconds=0.02)
    most = 0.0

    async def one(rank: Rank, cost: int, how: str, tenant: str) -> None:
        nonlocal most
        seconds = 0 if how == "hurry" and rank is not Rank.CRISIS else None
        try:
            with await room.lane.acquire(rank, cost, tenant=tenant, seconds=seconds):
                most = max(most, room.permits("held"))
                await asyncio.sleep(0)
        except Overloaded:
            pass

    tasks = []
    for rank, cost, how, tenant in arrivals:
        tasks.append(asyncio.create_task(one(rank, cost, how, tenant)))
        if how == "cancel":
            await asyncio.sleep(0)
            tasks[-1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= BOUNDS["capacity"]
    assert (room.permits("held"), room.permits("waiting")) == (0, 0)


async def test_engines_that_come_let_waiters_in_and_those_that_go_take_nothing_back() -> None:
    """Engines of ten sequences each, eight of them for other turns than crises."""
    engines, policy = 1, Policy()
    metrics = Metrics()
    lane = Admission([COUNSELOR], lambda _: 10 * engines, lambda: policy, metrics, virtual_time.clock).generation[
        COUNSELOR
    ]

    def held() -> float:
        labels = {"lane": "generation", "engine": COUNSELOR, "state": "held"}
        return metrics.registry.get_sample_value("psychechat_permits", labels) or 0

    with ExitStack() as permits:
        for _ in range(8):
            permits.enter_context(await lane.acquire(Rank.ORDINARY, seconds=0))
        waiting = [asyncio.create_task(lane.acquire(Rank.ORDINARY)) for _ in range(8)]
        await asyncio.sleep(0)
        assert lane.busy
        engines = 2
        permits.enter_context(await lane.acquire(Rank.CRISIS, seconds=0))  # any newcomer
        for permit in await asyncio.wait_for(asyncio.gather(*waiting), 1):
            permits.enter_context(permit)
        assert held() == 17
        engines = 1
        assert held() == 17
        with pytest.raises(Overloaded):
            await lane.acquire(Rank.CRISIS, seconds=0.01)
        large = asyncio.create_task(lane.acquire(Rank.ORDINARY, 3))
        await asyncio.sleep(0)
    with await asyncio.wait_for(large, 1):
        assert held() == 3


async def test_one_that_came_when_there_was_more_gets_all_there_is() -> None:
    """Else it waits for what never comes, and all others behind it."""
    engines = 2
    lane = Admission([COUNSELOR], lambda _: 10 * engines, Policy, Metrics(), virtual_time.clock).generation[COUNSELOR]
    first = await lane.acquire(Rank.ORDINARY, 16)
    large = asyncio.create_task(lane.acquire(Rank.ORDINARY, 16))
    await asyncio.sleep(0)
    engines = 1
    first.close()
    with await asyncio.wait_for(large, 1), pytest.raises(Overloaded):
        await lane.acquire(Rank.ORDINARY, seconds=0)
    with await lane.acquire(Rank.ORDINARY, seconds=0):
        pass


async def test_a_policy_changes_the_bounds_of_a_lane_in_use() -> None:
    policy = Policy()
    admission = Admission([COUNSELOR], lambda _: 10, lambda: policy, Metrics(), virtual_time.clock)

    async def free() -> int:
        with ExitStack() as held:
            for taken in range(99):
                try:
                    held.enter_context(await admission.generation[COUNSELOR].acquire(Rank.ORDINARY, seconds=0))
                except Overloaded:
                    return taken
        raise AssertionError

    before = await free()
    policy = Policy.model_validate({"admission": {"crisis_share": 0.5}})
    assert (before, await free()) == (8, 5)


async def test_each_counselor_engine_has_a_lane_of_its_own() -> None:
    metrics, sequences = Metrics(), {"mild": 10, "ming": 5}
    admission = Admission(sequences, sequences.__getitem__, Policy, metrics, virtual_time.clock)

    def value(name: str, engine: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"lane": "generation", "engine": engine, **labels})

    with await admission.generation["ming"].acquire(Rank.ORDINARY, 4):
        with pytest.raises(Overloaded):
            await admission.generation["ming"].acquire(Rank.ORDINARY, seconds=0)
        with await admission.generation["mild"].acquire(Rank.ORDINARY, 8, seconds=0):
            assert [value("psychechat_permits", engine, state="held") for engine in sequences] == [8, 4]
    assert [value("psychechat_permits_bound", engine, state="held") for engine in sequences] == [10, 5]
    assert [value("psychechat_refusals_total", engine, cause="full") for engine in sequences] == [0, 1]
