"""A turn's memory: what it recalls, what it leaves, and how a session is forgotten.

Whatever goes wrong with recalling and remembering is a turn without memory; only forgetting fails aloud.
"""

import asyncio
import logging
import secrets

from psychechat.conversation import EmotionMemory, Reply
from psychechat.errors import MemoryUnavailable
from psychechat.logs import log_kind
from psychechat.memory.base import Unreadable
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.state import TurnState
from psychechat.pipeline.turn_meter import TurnMeter

logger = logging.getLogger(__name__)

_SECONDS = 1.0
"""A turn waits for its memory this long."""

_FORGET_SECONDS = 5.0
"""Someone waits to hear that it is gone: longer than a turn waits for its memory."""


async def recall(pipeline: Pipeline, request: TurnRequest, meter: TurnMeter) -> tuple[EmotionMemory | None, str]:
    """What the last turn left, and the session that this one belongs to."""
    keys, memory = pipeline.memory_keys, None
    key = keys.before(request.tenant, request.conversation)
    if key is not None:  # else this is a conversation's first turn, whatever its session is called
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


async def remember(pipeline: Pipeline, state: TurnState, reply: Reply, meter: TurnMeter) -> None:
    """Under the client's name of the session, or under every text that the conversation may go on from.

    Never under both: other people's conversations may begin with the same words, and would then bear this one's name.
    Unknown emotions keep the last known.
    """
    if state.session is None:
        return
    reading, request = state.reading, state.request
    last_known = reading.memory.labels if reading.memory else None
    known = last_known if reading.labels is None else reading.labels
    memory = EmotionMemory(state.session, reading.language, known, state.agent.analysis if state.agent else None)
    keys, stores = pipeline.memory_keys, pipeline.metrics.stores
    try:
        session = keys.of_session(request.tenant, state.session)
        if request.session is not None:
            places = [session]
        else:
            places = [keys.after(request.tenant, request.conversation, choice.text) for choice in reply.choices]
        async with asyncio.timeout(_SECONDS):
            kept = await pipeline.memory.remember(places, memory, session=session, age=meter.elapsed)
    except Exception as error:
        log_kind(logger, request.request_id, error, "nothing remembered")
        stores.labels("error").inc()
    else:
        stores.labels("kept" if kept else "forgotten").inc()


async def forget(pipeline: Pipeline, tenant: str, session: str, request_id: str) -> None:
    """Drop everything that the session's turns have kept, and whatever those under way would keep.

    Nothing to forget is forgotten too. Raises MemoryUnavailable if anything may be left.
    """
    try:
        async with asyncio.timeout(_FORGET_SECONDS):
            await pipeline.memory.forget(pipeline.memory_keys.of_session(tenant, session))
    except Exception as error:
        logger.error("request %s: %s; nothing forgotten", request_id, type(error).__name__)
        raise MemoryUnavailable("The memory cannot be reached, so the session may not be forgotten yet.") from None
