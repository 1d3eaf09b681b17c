"""The engine Protocols over Ray: the pipeline's side of a deployment handle. `replicas` holds the other side.

Every call is a stream whose first item, `ACCEPTED`, says that a replica has it. Without that a call to a deployment
with no replica left would wait in the router until the turn's deadline, and nobody could tell it from a slow model.

To a replica that died with a call the router sends no other. What only asks is asked of the next one at once; a
generation is begun anew by who knows whether any of it has left.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from contextvars import Context
from dataclasses import replace
from math import inf
from typing import Any, cast

from grpc import StatusCode
from grpc.aio import AioRpcError
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from psychechat.concurrency import is_cancelled
from psychechat.conversation import Assessment
from psychechat.engines.base import BYTES_A_TOKEN, Call, Delta, Message, Pair, Sampling, Stage
from psychechat.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    Overloaded,
    PsycheChatError,
    ReplicaDied,
)
from psychechat_ray.sent_call import SentCall

logger = logging.getLogger(__name__)

ACCEPTED = None
ACCEPT_SECONDS = 5.0
"""A live replica accepts in milliseconds; more than this is no replica."""
HEALTH_SECONDS = 2.0


class RemoteGenerator:
    """A `Generator` behind a handle: the engine's model, or one of its adapters. Calls of one session meet the same
    replica, and so its prefix cache.
    """

    def __init__(self, handle: DeploymentHandle[Any], adapter: str | None = None) -> None:
        self._handle, self._adapter = handle, adapter
        self._context_length = 0
        """In tokens, once a replica has told it."""

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        call = replace(call, adapter=self._adapter)
        async with aclosing(_called(self._handle, "generate", (messages, stage, sampling), call)) as deltas:
            async for delta in deltas:
                yield delta

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        """Asks a replica only where it may be close."""
        length = self._context_length
        if length and (least := least_tokens(messages) + reserve) > length:
            raise ContextLengthExceeded(least, length)
        if most_tokens(messages) + reserve > length:
            self._context_length = await _asked(lambda: _called(self._handle, "check_fits", (messages, reserve), call))

    async def readiness(self) -> bool | tuple[str, ...]:
        return await _readiness(self._handle)


class RemoteClassifier:
    """A `Classifier` behind a handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._judges = True
        """Until a replica has told that its heads cannot: other heads restart this one's too."""

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        assessments: list[Assessment] = await _asked(lambda: _called(self._handle, "classify", (utterances,), call))
        return assessments

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        """Asks a replica once where its heads cannot tell."""
        if not self._judges:
            return None
        hurting: list[float] | None = await _asked(lambda: _called(self._handle, "judge", (pairs,), call))
        self._judges = hurting is not None
        return hurting

    async def readiness(self) -> bool | tuple[str, ...]:
        return await _readiness(self._handle)


def least_tokens(messages: Sequence[Message]) -> int:
    """Fewer than the engine makes of what people write: each token stands for so many bytes at most."""
    return sum(len(message.content.encode()) for message in messages) // BYTES_A_TOKEN


def most_tokens(messages: Sequence[Message]) -> int:
    """More than any tokenizer makes of them: each of its tokens stands for a byte at least, or is the template's."""
    return sum(len(message.content.encode()) + _TEMPLATE_TOKENS for message in messages)


_TEMPLATE_TOKENS = 32
"""Around each message. Should a template write more, the engine still refuses what does not fit."""


async def _called(
    handle: DeploymentHandle[Any], method: str, arguments: tuple[Any, ...], call: Call
) -> AsyncGenerator[Any, None]:
    """What the replica's method yields, whose last argument is the call. Closing this cancels it there.

    The session id is given on every hop: a request's own does not survive a second one.
    """
    deadline = call.deadline
    streaming = handle.options(
        method_name=method,
        stream=True,
        session_id=call.session_id,
        request_serialization=_PICKLE,
        response_serialization=_PICKLE,
    )
    # Outside the context of the HTTP request: two calls that share its id never both reach the replica.
    response = cast(DeploymentResponseGenerator[Any], Context().run(streaming.remote, *arguments, SentCall.of(call)))
    finished = False
    try:
        try:
            async with asyncio.timeout(min(ACCEPT_SECONDS, deadline - time.monotonic())):
                await anext(response)
        except TimeoutError:
            _check(deadline)
            logger.warning("no replica of %s has accepted", handle.deployment_name)
            raise EngineUnavailable(_UNAVAILABLE) from None
        while True:
            try:
                async with asyncio.timeout(None if deadline == inf else deadline - time.monotonic()):
                    item = await anext(response)
            except StopAsyncIteration:
                finished = True
                return
            yield item
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        # A replica has ended with its calls.
        raise _mapped(error, handle.deployment_name) from None
    except Exception as error:
        raise _mapped(error, handle.deployment_name) from None
    finally:
        if not finished:
            response.cancel()  # type: ignore[no-untyped-call]


_PICKLE = "pickle"
"""All that is sent is of types that both sides import. Serve's own choice, cloudpickle, could send code as well, and
takes three or four times as long."""


async def _asked(ask: Callable[[], AsyncGenerator[Any, None]]) -> Any:
    """The one thing that a replica answers; another's, if the first died with the question."""
    try:
        return await _only(ask())
    except ReplicaDied:
        return await _only(ask())


async def _only(stream: AsyncGenerator[Any, None]) -> Any:
    async with aclosing(stream):
        result = await anext(stream)
        async for _ in stream:  # the end of the stream is the end of the call
            pass
        return result


async def _readiness(handle: DeploymentHandle[Any]) -> bool | tuple[str, ...]:
    """Whether a replica says that it is up, or the limits that it says its engine has."""
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            limits = await handle.options(method_name="check_health").remote()
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        return False
    except Exception:
        return False
    return tuple(limits or ()) or True


_UNAVAILABLE = "An engine is not available."
"""To a client: the engines' names are the operator's. The log tells which."""


def _check(deadline: float) -> None:
    if deadline <= time.monotonic():
        raise DeadlineExceeded("The turn's time is up.")


def _mapped(error: BaseException, deployment: str) -> PsycheChatError:
    """Ray's exceptions enter here. An engine's own arrive wrapped in a RayTaskError, or bare.

    The text of a foreign one may quote the request, so only its kind is logged.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, PsycheChatError):
        return cause
    if isinstance(cause, BackPressureError):
        return Overloaded(retry_after=1.0)
    logger.warning("%s failed: %s", deployment, type(cause).__name__)
    kind = ReplicaDied if _is_death(cause) else EngineUnavailable
    return kind(_UNAVAILABLE)


def _is_death(cause: BaseException) -> bool:
    """Ray says so, or the call was cancelled where it ran: by gRPC's account, or a bare one of an actor's task."""
    if isinstance(cause, AioRpcError):
        return cause.code() is StatusCode.CANCELLED
    return isinstance(cause, RayActorError | asyncio.CancelledError)
