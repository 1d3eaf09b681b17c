"""Input of a background task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from psychechat.engines.base import Message
from psychechat.tasks.recognise import Task


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A request that is no seeker's turn, with the fields of a `TurnRequest` that it has a use for."""

    task: Task
    messages: tuple[Message, ...]
    """All of the request, as the model is sent it."""
    request_id: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Sampling` that the client set."""
    tenant: str = ""
    end_user: str | None = None
    locale: str | None = None
    seconds: float = inf
    """Client's timeout; the policy's limit applies as well."""

    @property
    def choices(self) -> int:
        return 1

    @property
    def moderation(self) -> None:
        """A task's answer is not moderated."""
