"""Forgetting a session: everything that its turns have kept, and whatever those under way would keep."""

import asyncio
import logging

from psychechat.errors import MemoryUnavailable
from psychechat.pipeline.turn import Pipeline

logger = logging.getLogger(__name__)

_SECONDS = 5.0
"""Someone waits to hear that it is gone: longer than a turn waits for its memory."""


async def forget(pipeline: Pipeline, tenant: str, session: str, request_id: str) -> None:
    """Nothing to forget is forgotten too. Raises MemoryUnavailable if anything may be left."""
    try:
        async with asyncio.timeout(_SECONDS):
            await pipeline.memory.forget(pipeline.keys.of_session(tenant, session))
    except Exception as error:
        logger.error("request %s: %s; nothing forgotten", request_id, type(error).__name__)
        raise MemoryUnavailable("The memory cannot be reached, so the session may not be forgotten yet.") from None
