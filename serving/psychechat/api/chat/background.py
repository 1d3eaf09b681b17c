"""Validation of a chat request that is a background task of a chat page, into a TaskRequest."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from psychechat.api.chat.intake import Caller, sampling, timeout_seconds
from psychechat.api.chat.protocol import MODELS, ChatRequest
from psychechat.api.http.body import unread
from psychechat.engines.base import Message
from psychechat.errors import InvalidRequest, UnsupportedParameter
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.policy import MOST_MESSAGES, Limits
from psychechat.tasks.recognise import Task, recognise

_Role = Literal["system", "user", "assistant"]


def task_request(body: ChatRequest, pipeline: Pipeline, caller: Caller, *, for_tasks: bool) -> TaskRequest | None:
    """TaskRequest of the body; None if it is a turn, or nothing that is known here.

    `for_tasks`: whether its key is. Raises InvalidRequest for a task by its key or model that is none.
    """
    policy = pipeline.policy
    model = policy.model(body.model)
    reserved = model == policy.tasks.model or (for_tasks and model in MODELS)
    if not reserved and model not in MODELS:
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
    return TaskRequest(
        task=task,
        messages=tuple(messages),
        request_id=caller.request_id,
        sampling=sampling(body),
        tenant=caller.tenant,
        end_user=body.safety_identifier or body.user,
        locale=(body.metadata or {}).get("locale"),
        seconds=timeout_seconds(caller.timeout),
    )


def supported_task(
    body: Mapping[str, Any], pipeline: Pipeline, caller: Caller, *, for_tasks: bool
) -> tuple[ChatRequest, TaskRequest] | None:
    """Request and task without the parameters that nothing here supports, such as `response_format`: a page can do with
    the answer. None: it is no task, or breaks a rule all the same.
    """
    while True:
        try:
            request = ChatRequest.model_validate(body)
            unread.check(request, strict=pipeline.policy.strict_parameters)
            task = task_request(request, pipeline, caller, for_tasks=for_tasks)
            return None if task is None else (request, task)
        except UnsupportedParameter as error:
            refused = (error.param or "").partition(".")[0]
            if refused not in body:
                return None
            body = {name: value for name, value in body.items() if name != refused}
        except (ValidationError, InvalidRequest):
            return None


def refused_task(body: object, pipeline: Pipeline, caller: Caller, *, for_tasks: bool) -> TaskRequest | None:
    """What a request that breaks a rule quotes, if it is a task, to be read and not answered. None: it is no task.

    `body`: any value of JSON.
    """
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {"messages": body}
    policy, named = pipeline.policy, fields.get("model")
    tasks, model = policy.tasks, policy.model(named) if isinstance(named, str) else None
    said = fields.get("messages")
    parts = [_parts(message) for message in (said[-MOST_MESSAGES:] if isinstance(said, list) else [said])]
    messages = [Message(role, "\n".join(text for text in texts if isinstance(text, str))) for role, texts in parts]
    only_words = all(isinstance(text, str) for _, texts in parts for text in texts)
    task = recognise(messages, tasks.recognised) if only_words else None
    if task is None and (for_tasks or (tasks.model is not None and model == tasks.model)):
        task = Task("other", "\n".join(message.content for message in messages if message.role == "user"))
    if task is None:
        return None
    user, metadata = fields.get("safety_identifier") or fields.get("user"), fields.get("metadata")
    locale = metadata.get("locale") if isinstance(metadata, dict) else None
    return TaskRequest(
        task=task,
        messages=(),
        request_id=caller.request_id,
        tenant=caller.tenant,
        end_user=user if isinstance(user, str) else None,
        locale=locale if isinstance(locale, str) else None,
    )


def _parts(message: object) -> tuple[_Role, list[object]]:
    """Who says a message, as far as it can be read, and the text of each of its parts, or what stands in its place."""
    if not isinstance(message, dict):
        return "user", [message]
    role, content = message.get("role", "user"), message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return _ROLES.get(role, "assistant") if isinstance(role, str) else "user", texts


_ROLES: Mapping[str, _Role] = {
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
