"""What goes into a turn and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from psychechat.conversation import Conversation, Reply, ReplyModeration
from psychechat.engines.base import Usage
from psychechat.pipeline.router import Requested
from psychechat.safety.reply_moderation import Judging


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a client asked for, validated. The sampling is for the reply that a seeker reads."""

    conversation: Conversation
    requested: Requested
    request_id: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Sampling` that the client set."""
    choices: int = 1
    think: bool = True
    """False: LLM Mode replies without thinking first. True: as the pack says."""
    tenant: str = ""
    session: str | None = None
    """A session that the client named."""
    end_user: str | None = None
    """Who is speaking, in the client's words."""
    locale: str | None = None
    seconds: float = inf
    """How long the client waits; the policy's limit holds as well."""
    moderation: Judging | None = None
    """Whether the reply is judged, and stays here if it is flagged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    reply: Reply
    usage: Usage
    seconds: Mapping[str, float]
    moderation: tuple[ReplyModeration, ...] | None = None
    """Of the replies that the model wrote, also where the safe template took their place; None if there is none."""
