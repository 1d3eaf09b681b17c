"""What a request that will be refused says of risk: read as its turn would be, once, behind every turn."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from psychechat.admission.lanes import estimate_tokens
from psychechat.concurrency import in_time
from psychechat.conversation import Assessment, Conversation, Utterance
from psychechat.engines.base import Call
from psychechat.errors import Overloaded
from psychechat.logs import log_kind
from psychechat.pipeline.bulk_classify import BULK, classify_all
from psychechat.pipeline.request import TurnMeter, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.pipeline.turn_memory import line_reader, recall
from psychechat.risk import Severity
from psychechat.telemetry import SecondLook

logger = logging.getLogger(__name__)

_END = 32_000
"""Characters that are read at either end of a longer text."""
_SHARED = 400
"""Characters that two parts share, so that no sentence is cut in both."""


@dataclass(frozen=True, slots=True)
class Seen:
    look: SecondLook
    turn: TurnRequest
    """With those of the newest words that say so, no more than one message may have."""
    severity: Severity | None = None
    """Of a crisis."""

    @property
    def is_answered(self) -> bool:
        return self.severity is not None or self.look == "held"


async def look(turn: TurnRequest, newest: str, pipeline: Pipeline) -> Seen:
    """Risk of the newest words in the turn's conversation. `newest`: all of them, also where one message may not have
    as many; of those the first and the last are read.

    Phrases that nothing overrules tell at once. Else the classifier reads, with what is doubted and with earlier lines
    where no memory tells of them, unless the key's minute or the door is full.
    """
    states = []
    for part in _parts(newest, pipeline.policy.limits.message_characters):
        state = TurnState(_with_newest(turn, part), pipeline.policy, pipeline.default_language)
        if state.opens_at_once:
            return _crisis("phrase", state)
        states.append(state)
        await asyncio.sleep(0)  # other turns get their time
    was_read = await _read(states, pipeline)
    gravest = max(states, key=lambda state: state.reading.gravity)
    if gravest.reading.in_crisis:
        return _crisis("phrase" if gravest.reading.alarm else "crisis", gravest)
    if gravest.held:
        return Seen("held", gravest.request)
    return Seen("calm" if was_read else "unread", turn)


def _crisis(how: SecondLook, state: TurnState) -> Seen:
    return Seen(how, state.request, state.reading.severity)


def _parts(text: str, most: int) -> Iterator[str]:
    """The text in parts of so many characters, of which each begins a little before the last one ended."""
    if len(text) > 2 * _END:
        text = f"{text[:_END]}\n{text[-_END:]}"
    shared = min(_SHARED, most // 2)
    for first in range(0, max(1, len(text) - shared), most - shared):
        yield text[first : first + most]


def _with_newest(turn: TurnRequest, words: str) -> TurnRequest:
    said = turn.conversation
    if said.newest == words:
        return turn
    return replace(turn, conversation=Conversation((*said.answered, Utterance("seeker", words)), said.operator_notes))


async def _read(states: Sequence[TurnState], pipeline: Pipeline) -> bool:
    """Readings of the newest words, put into the states. False: the classifier did not read them."""
    memory, session = await recall(pipeline, states[0].request, TurnMeter(clock=pipeline.monotonic))
    for state in states:
        state.recalled(memory, session)
    readers = [line_reader(pipeline, state) for state in states]
    earlier = readers[0]
    await earlier.search()
    texts = [passage for reader in readers for passage in reader.passages] + earlier.doubted
    assessments = await _classify(list(dict.fromkeys(texts)), states[0].request, pipeline)
    before = earlier.before(assessments)
    for state, reader in zip(states, readers, strict=True):
        state.read(reader.newest, reader.names, before, assessments)
    return bool(assessments)


async def _classify(texts: Sequence[str], turn: TurnRequest, pipeline: Pipeline) -> dict[str, Assessment]:
    """Assessments by text, counted to the key's minute; none if that or the door is full, or the classifier gone."""
    quotas, seconds = pipeline.quotas, pipeline.policy.limits.classify_seconds
    call = Call(turn.request_id, turn.request_id, turn.tenant, priority=BULK, deadline=pipeline.monotonic() + seconds)
    try:
        quotas.check(turn.tenant)
        quotas.count(turn.tenant)
        quotas.charge(turn.tenant, sum(map(estimate_tokens, texts)))
        reading = classify_all(pipeline.classifier, pipeline.admission.classification, texts, lambda: call)
        async with in_time(seconds), aclosing(reading) as assessments:
            return dict(zip(texts, [assessment async for assessment in assessments], strict=True))
    except Overloaded:
        return {}
    except Exception as error:
        log_kind(logger, turn.request_id, error, "refused unread")
        return {}
