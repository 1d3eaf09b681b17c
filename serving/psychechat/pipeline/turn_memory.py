"""Memory of a turn: recalled before it, stored after it, forgotten by session.

A failure to recall or to store costs the turn its memory only; a failure to forget is raised.
"""

import asyncio
import logging
import secrets
from functools import cache, partial

from psychechat.conversation import EmotionMemory, Reply
from psychechat.errors import MemoryUnavailable
from psychechat.logs import log_kind
from psychechat.memory.base import Unreadable
from psychechat.pipeline.request import TurnMeter, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.safety.conversation_risk import LineReader, Names, seeker_lines

logger = logging.getLogger(__name__)

_SECONDS = 1.0
"""Timeout of recalling, and of storing."""

_FORGET_SECONDS = 5.0
"""Timeout of forgetting; longer, since a client waits for the confirmation."""


async def recall(pipeline: Pipeline, request: TurnRequest, meter: TurnMeter) -> tuple[EmotionMemory | None, str]:
    """Memory of the previous turn, and this turn's session id: the client's, else the memory's, else new."""
    keys, memory = pipeline.memory_keys, None
    key = keys.before(request.tenant, request.conversation)
    if key is not None:  # else a conversation's first turn, which has no memory even under a known session id
        if request.session is not None:
            key = keys.of_session(request.tenant, request.session)
        with meter.timed("memory"):
            memory = await _recalled(pipeline, request.request_id, key)
    return memory, request.session or (memory.session_id if memory else secrets.token_hex(12))


async def _recalled(pipeline: Pipeline, request_id: str, key: bytes) -> EmotionMemory | None:
    recalls = pipeline.metrics.recalls
    try:
        async with asyncio.timeout(_SECONDS):
            memory = await pipeline.memory.recall(key)
    except Exception as error:
        log_kind(logger, request_id, error, "nothing recalled")
        recalls.labels("unreadable" if isinstance(error, Unreadable) else "error").inc()
        return None
    recalls.labels("hit" if memory else "miss").inc()
    return memory


def agrees(pipeline: Pipeline, request: TurnRequest, memory: EmotionMemory | None) -> bool:
    """Whether the memory, if any, is that of the conversation which the client has sent.

    One that was found by the conversation's own words is. One that was found by the session's name may not be: clients
    edit what was said, and give one name to two conversations. A first turn has nothing to remember.
    """
    key = pipeline.memory_keys.before(request.tenant, request.conversation)
    if key is None:
        return True
    return memory is not None and (request.session is None or memory.prefix == key.hex())


def names(pipeline: Pipeline, request: TurnRequest) -> Names:
    """Keyed hashes for the words of the request's conversation."""
    places = partial(pipeline.episode_keys.places, request.tenant, request.conversation)
    return Names(partial(pipeline.memory_keys.of_line, request.tenant), cache(places))


def line_reader(pipeline: Pipeline, state: TurnState) -> LineReader:
    """What the turn reads of the seeker's lines, once its memory was recalled."""
    request = state.request
    return LineReader(
        seeker_lines(request.conversation),
        state.reading,
        state.policy,
        state.remembered,
        pipeline.read_lines,
        names(pipeline, request),
        again=state.policy.risk.conversation != "off" and not agrees(pipeline, request, state.reading.memory),
    )


async def remember(pipeline: Pipeline, state: TurnState, reply: Reply, meter: TurnMeter) -> None:
    """Stored under the client's session id, else under the conversation with each choice as its reply.

    Never under both: other conversations may begin with the same words, and would then get this session's id.
    Where this turn's emotions are unknown, the last known ones are stored again.
    """
    if state.session is None:
        return
    reading, request = state.reading, state.request
    last_known = reading.memory.labels if reading.memory else None
    known = last_known if reading.labels is None else reading.labels
    keys, stores = pipeline.memory_keys, pipeline.metrics.stores
    after = partial(keys.after, request.tenant, request.conversation)
    try:
        session = keys.of_session(request.tenant, state.session)
        memory = EmotionMemory(
            state.session,
            reading.language,
            known,
            state.agent.analysis if state.agent else None,
            risk=reading.conversation,
            prefix=after(reply.choices[0].text).hex(),
            revision=secrets.token_hex(4),
            after=reading.memory.revision if reading.memory else "",
        )
        places = [session] if request.session is not None else [after(choice.text) for choice in reply.choices]
        async with asyncio.timeout(_SECONDS):
            kept = await pipeline.memory.remember(places, memory, session=session, age=meter.elapsed)
    except Exception as error:
        log_kind(logger, request.request_id, error, "nothing remembered")
        stores.labels("error").inc()
    else:
        stores.labels("kept" if kept else "forgotten").inc()


async def forget(pipeline: Pipeline, tenant: str, session: str, request_id: str) -> None:
    """Deletion of everything that the session's turns have stored, and of what turns under way would store.

    An unknown session is no error. Raises MemoryUnavailable if anything may be left.
    """
    try:
        async with asyncio.timeout(_FORGET_SECONDS):
            await pipeline.memory.forget(pipeline.memory_keys.of_session(tenant, session))
    except Exception as error:
        logger.error("request %s: %s; nothing forgotten", request_id, type(error).__name__)
        raise MemoryUnavailable("The memory cannot be reached, so the session may not be forgotten yet.") from None
