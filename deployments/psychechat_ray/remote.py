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
from typing import Any, cast

from grpc import StatusCode
from grpc.aio import AioRpcError
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Delta, Message, Pair, Sampling, Stage
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded, PsycheChatError, ReplicaDied

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
        arguments = (messages, stage, sampling, replace(call, adapter=self._adapter))
        async with aclosing(_stream(self._handle, "generate", call.session_id, call.deadline, arguments)) as deltas:
            async for delta in deltas:
                yield delta

    async def check_fits(self, messages: Sequence[Message], reserve: int) -> None:
        """Asks a replica only where it may be close."""
        if most_tokens(messages) + reserve > self._context_length:
            self._context_length = await _asked(
                lambda: _stream(self._handle, "check_fits", "", float("inf"), (messages, reserve))
            )

    async def readiness(self) -> bool | tuple[str, ...]:
        return await _readiness(self._handle)


class RemoteClassifier:
    """A `Classifier` behind a handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._judges = True
        """Until a replica has told that its heads cannot: other heads restart this one's too."""

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        arguments = (utterances, call)
        assessments: list[Assessment] = await _asked(
            lambda: _stream(self._handle, "classify", call.session_id, call.deadline, arguments)
        )
        return assessments

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        """Asks a replica once where its heads cannot tell."""
        if not self._judges:
            return None
        hurting: list[float] | None = await _asked(
            lambda: _stream(self._handle, "judge", call.session_id, call.deadline, (pairs, call))
        )
        self._judges = hurting is not None
        return hurting

    async def readiness(self) -> bool | tuple[str, ...]:
        return await _readiness(self._handle)


def most_tokens(messages: Sequence[Message]) -> int:
    """More than any tokenizer makes of them: each of its tokens stands for a byte at least, or is the template's."""
    return sum(len(message.content.encode()) + _TEMPLATE_TOKENS for message in messages)


_TEMPLATE_TOKENS = 32
"""Around each message. Should a template write more, the engine still refuses what does not fit."""


async def _stream(
    handle: DeploymentHandle[Any], method: str, session_id: str, deadline: float, arguments: tuple[Any, ...]
) -> AsyncGenerator[Any, None]:
    """What the replica's method yields. Closing this cancels it there.

    The session id is given on every hop: a request's own does not survive a second one.
    """
    streaming = handle.options(method_name=method, stream=True, session_id=session_id)
    # Outside the context of the HTTP request: two calls that share its id never both reach the replica.
    response = cast(DeploymentResponseGenerator[Any], Context().run(streaming.remote, *arguments))
    finished = False
    try:
        try:
            async with asyncio.timeout(min(ACCEPT_SECONDS, deadline - time.time())):
                await anext(response)
        except TimeoutError:
            _check(deadline)
            logger.warning("no replica of %s has accepted", handle.deployment_name)
            raise EngineUnavailable(_UNAVAILABLE) from None
        while True:
            try:
                async with asyncio.timeout(None if deadline == float("inf") else deadline - time.time()):
                    item = await anext(response)
            except StopAsyncIteration:
                finished = True
                return
            yield item
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None
    except asyncio.CancelledError as error:
        if _leaving():
            raise
        raise _mapped(error, handle.deployment_name) from None
    except Exception as error:
        raise _mapped(error, handle.deployment_name) from None
    finally:
        if not finished:
            response.cancel()  # type: ignore[no-untyped-call]


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
        if _leaving():
            raise
        return False
    except Exception:
        return False
    return tuple(limits or ()) or True


def _leaving() -> bool:
    """Whether somebody has cancelled the task that runs. If not, it is a replica that has ended with its calls."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_UNAVAILABLE = "An engine is not available."
"""To a client: the engines' names are the operator's. The log tells which."""


def _check(deadline: float) -> None:
    if deadline <= time.time():
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
