"""What a turn must be let through: the door to the classifier, its key's quotas, and a lane of its counselor."""

from collections.abc import Sequence

from psychechat.admission.lanes import Lane, Permit, Rank, estimate_tokens
from psychechat.conversation import Decision
from psychechat.errors import Overloaded
from psychechat.pipeline.request import TurnMeter
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState


class Permits:
    """Of one turn. Where they raise Overloaded in a crisis, the turn answers it with fixed words: nobody is refused."""

    def __init__(self, pipeline: Pipeline, state: TurnState, meter: TurnMeter, lane: Lane) -> None:
        """`lane`: the counselor's."""
        self._state, self._meter, self._lane = state, meter, lane
        self._door, self._quotas = pipeline.admission.classification, pipeline.quotas
        self._tenant = state.request.tenant
        self._engines_write: bool | None = None
        """For this crisis; None before it is counted."""

    def count_crisis(self) -> bool:
        """Whether the engines may write for this crisis, by its key's quota; counted once."""
        if self._engines_write is None:
            self._engines_write = self._quotas.count_crisis(self._tenant)
        return self._engines_write

    @property
    def is_beyond_crises(self) -> bool:
        """Whether this is a crisis, by what is known of it so far, and its key has had all of the minute's."""
        if self._engines_write is not None or not self._state.reading.in_crisis:
            return self._engines_write is False
        return self._quotas.has_spent_crises(self._tenant)

    async def classification(self, passages: Sequence[str]) -> Permit:
        """Permit to pass the door. An alarm is never queued; a key beyond its quota goes behind all others.

        An alarm beyond the key's crises is read where there is room; where there is none, its fixed words answer, and
        nobody was refused. Raises Overloaded.
        """
        alarmed, cost = self._state.reading.in_crisis, sum(map(estimate_tokens, passages))
        permit: Permit | None
        if self.is_beyond_crises:
            permit = self._door.try_acquire(min(cost, self._door.max_cost(Rank.BULK)), Rank.BULK)
            if permit is None:
                raise Overloaded(retry_after=1.0)
        else:
            rank = Rank.CRISIS if alarmed else Rank.BULK if self._quotas.exceeded(self._tenant) else Rank.ORDINARY
            with self._meter.timed("queue"):
                permit = await self._door.acquire(rank, cost, tenant=self._tenant, seconds=0.0 if alarmed else None)
        self._state.past_door = True
        return permit

    def quota(self, decision: Decision) -> Permit:
        """Permit of the key's quota; an empty one for a crisis, which has been counted by itself. Raises Overloaded."""
        return Permit() if decision.crisis else self._quotas.enter(self._tenant)

    async def generation(self, decision: Decision) -> Permit:
        """Permit for the turn's sequences, one for a crisis however many choices it has. At unknown risk it is not
        queued: without room fixed words answer. Raises Overloaded.
        """
        reading = self._state.reading
        severe = reading.severity is not None and reading.severity >= self._state.policy.routing.raised
        rank = Rank.CRISIS if decision.crisis else Rank.RAISED if severe or self._state.held else Rank.ORDINARY
        with self._meter.timed("queue"):
            return await self._lane.acquire(
                rank,
                1 if decision.crisis else self._state.request.choices,
                tenant=self._tenant,
                seconds=0.0 if reading.severity is None else None,
            )
