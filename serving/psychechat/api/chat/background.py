"""Validation of a chat request that is a background task of a chat page, into a TaskRequest."""

from collections.abc import Mapping, Sequence
from typing import Literal

from psychechat.api.chat.intake import Caller, timeout_seconds
from psychechat.api.chat.protocol import MODELS, ChatRequest
from psychechat.engines.base import Message
from psychechat.errors import InvalidRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.policy import Limits
from psychechat.tasks.recognise import Task, recognise


def task_request(body: ChatRequest, pipeline: Pipeline, caller: Caller, *, for_tasks: bool) -> TaskRequest | None:
    """TaskRequest of the body; None if it is a turn, or nothing that is known here.

    `for_tasks`: whether its key is. Raises InvalidRequest for a task by its key or model that is none.
    """
    policy = pipeline.policy
    reserved = body.model == policy.tasks.model or (for_tasks and body.model in MODELS)
    if not reserved and body.model not in MODELS:
        return None
    if not reserved and (len(body.messages) != 1 or body.messages[0].content.wordless):
        return None
    messages = [
        Message(_ROLES[message.role], message.content.text) for message in body.messages if message.role in _ROLES
    ]
    if reserved:
        _check(messages, policy.limits)
    elif not _short_enough(messages, policy.limits):
        return None
    task = recognise(messages, policy.tasks.recognised)
    if task is None and reserved:
        task = _whole(messages)
    if task is None:
        return None
    asked = {
        "max_tokens": body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "stop": tuple(body.stop) if body.stop else None,
        "seed": body.seed,
    }
    return TaskRequest(
        task=task,
        messages=tuple(messages),
        request_id=caller.request_id,
        sampling={name: value for name, value in asked.items() if value is not None},
        tenant=caller.tenant,
        end_user=body.safety_identifier or body.user,
        locale=(body.metadata or {}).get("locale"),
        seconds=timeout_seconds(caller.timeout),
    )


_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_QUOTED = 8
"""Messages of a conversation, each as long as it may be, that a task may quote."""


def _short_enough(messages: Sequence[Message], limits: Limits) -> bool:
    return sum(len(message.content) for message in messages) <= _QUOTED * limits.message_characters


def _check(messages: Sequence[Message], limits: Limits) -> None:
    if len(messages) > limits.messages:
        raise InvalidRequest(f"'messages' holds more than {limits.messages} messages.", param="messages")
    if not _short_enough(messages, limits):
        most = _QUOTED * limits.message_characters
        why = f"The messages of a task may hold {most} characters in all."
        raise InvalidRequest(why, param="messages", code="string_above_max_length")


def _whole(messages: Sequence[Message]) -> Task:
    """A task by its key or model, of no known template: all that the user's messages say may be the seeker's words."""
    said = "\n".join(message.content for message in messages if message.role == "user")
    if not said.strip():
        raise InvalidRequest("A task needs a message with the role 'user'.", param="messages")
    return Task("other", said)
