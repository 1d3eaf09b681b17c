"""What a chat request may hold, as OpenAI names it, and what becomes of it.

https://platform.openai.com/docs/api-reference/chat/create
"""

from dataclasses import dataclass
from math import inf, nan
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from psychechat.config import Limits, Policy
from psychechat.conversation import Conversation, Utterance
from psychechat.errors import InvalidRequest, UnknownModel, UnsupportedParameter
from psychechat.pipeline import crisis
from psychechat.pipeline.router import Requested
from psychechat.pipeline.turn import TurnRequest

MODELS: dict[str, Requested] = {"psychechat": "auto", "psychechat-agent": "agent", "psychechat-llm": "llm"}

_MAX_SESSION = 256

# Parameters of OpenAI's API that a counselor cannot honour, with the reason. Neutral values pass.
_UNSUPPORTED = {
    "tools": "a counselor calls no tools",
    "tool_choice": "a counselor calls no tools",
    "functions": "a counselor calls no functions",
    "function_call": "a counselor calls no functions",
    "parallel_tool_calls": "a counselor calls no tools",
    "audio": "replies are text",
    "prediction": "replies are not predicted",
    "web_search_options": "a counselor does not search the web",
    "logit_bias": "replies are reviewed as the model wrote them",
    "logprobs": "token probabilities are not given",
    "top_logprobs": "token probabilities are not given",
    "verbosity": "the prompt pack sets the length of replies",
    "reasoning_effort": "the prompt pack says which stages think",
    "modalities": "replies are text",
    "response_format": "a reply is plain text",
    "store": "conversations are not stored",
}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "store": (False,),
}


class Wire(BaseModel):
    """A body of ours: nothing unknown in it, and no type guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(Wire):
    include_usage: bool = False
    include_obfuscation: bool = False
    """Accepted; chunks are not padded."""


class ChatMessage(BaseModel):
    """A message as clients send it back, with whatever else a reply of ours held."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str
    tool_calls: Any = None
    """Refused if there are any."""

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object, info: ValidationInfo) -> object:
        if content is None and info.data.get("role") == "assistant":
            return ""  # as OpenAI's own replies have it beside a refusal
        if not isinstance(content, list):
            return content
        for part in content:
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise ValueError("must be a string or a list of text parts")
            if part["type"] != "text":
                raise UnsupportedParameter("messages", "content parts must be of type 'text'")
            if not isinstance(part.get("text"), str):
                raise ValueError("a text part needs a 'text' that is a string")
        return "\n".join(part["text"] for part in content)

    @model_validator(mode="after")
    def _no_tools(self) -> Self:
        if self.tool_calls:
            raise UnsupportedParameter("messages", "a counselor calls no tools")
        return self


class ChatRequest(Wire):
    """`POST /v1/chat/completions`. Sampling parameters are LLM Mode's; stages that nobody reads keep the pack's."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=8)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Names the session: its memory is found by this instead of by the conversation's words."""
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None
    """`metadata.locale`, e.g. `en-US`, chooses the crisis resources."""
    service_tier: Literal["auto", "default"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        body = dict(body)
        for name, why in _UNSUPPORTED.items():
            value = body.pop(name, None)
            if value is not None and value not in _NEUTRAL.get(name, ()):
                raise UnsupportedParameter(name, why)
        return body

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, stop: object) -> object:
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest("'stream_options' is only for 'stream': true.", param="stream_options")
        return self


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request's headers say."""

    request_id: str
    tenant: str = ""
    session: str | None = None
    """`x-session-id`"""
    timeout: str | None = None
    """`x-request-timeout`: seconds that the client will wait."""


def turn_request(body: ChatRequest, policy: Policy, caller: Caller) -> TurnRequest:
    """What the request asks of the pipeline. Raises UnknownModel, UnsupportedParameter or InvalidRequest.

    If what breaks a rule comes with an alarming newest message, that message is answered all the same, by itself.
    """
    try:
        return _turn_request(body, policy.limits, caller)
    except InvalidRequest:
        newest = next((m.content for m in reversed(body.messages) if m.role == "user"), "")
        if not crisis.alarm(newest, policy.crisis.backstop):
            raise
        alone = Conversation((Utterance("seeker", newest[-policy.limits.message_characters :]),))
        locale = (body.metadata or {}).get("locale")
        return TurnRequest(
            alone,
            "auto",
            caller.request_id,
            tenant=caller.tenant,
            end_user=body.safety_identifier or body.user,
            locale=locale,
        )


def _turn_request(body: ChatRequest, limits: Limits, caller: Caller) -> TurnRequest:
    if body.model not in MODELS:
        raise UnknownModel(", ".join(MODELS))
    if caller.session is not None and not 0 < len(caller.session) <= _MAX_SESSION:
        raise InvalidRequest(f"'x-session-id' must have 1 to {_MAX_SESSION} characters.", param="x-session-id")
    requested = MODELS[body.model]
    choices = body.n or 1
    if choices > 1 and requested != "llm":
        raise UnsupportedParameter("n", "only 'psychechat-llm' gives more than one choice")
    asked = {
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "stop": tuple(body.stop) if body.stop else None,
        "seed": body.seed,
    }
    return TurnRequest(
        conversation=_conversation(body.messages, limits),
        requested=requested,
        request_id=caller.request_id,
        seconds=_seconds(caller.timeout),
        sampling={name: value for name, value in asked.items() if value is not None},
        choices=choices,
        tenant=caller.tenant,
        session=body.prompt_cache_key or caller.session,
        end_user=body.safety_identifier or body.user,
        locale=(body.metadata or {}).get("locale"),
    )


def _seconds(timeout: str | None) -> float:
    if timeout is None:
        return inf
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = nan
    if not 0 < seconds < inf:
        raise InvalidRequest("'x-request-timeout' must be a number of seconds above 0.", param="x-request-timeout")
    return seconds


def check_length(place: str, text: str, limits: Limits) -> None:
    """Raises InvalidRequest, which names the place, if the text is too long."""
    if len(text) > limits.message_characters:
        raise InvalidRequest(
            f"'{place}' is longer than {limits.message_characters} characters.",
            param=place,
            code="string_above_max_length",
        )


def _conversation(messages: list[ChatMessage], limits: Limits) -> Conversation:
    if len(messages) > limits.messages:
        raise InvalidRequest(f"'messages' holds more than {limits.messages} messages.", param="messages")
    for index, message in enumerate(messages):
        check_length(f"messages[{index}].content", message.content, limits)
    # Operators may put their notes last; what counts is who spoke last.
    spoken = [index for index, message in enumerate(messages) if message.role in ("user", "assistant")]
    last = spoken[-1] if spoken else len(messages) - 1
    if messages[last].role != "user":
        why = "The last message must be the seeker's: give it the role 'user'."
        raise InvalidRequest(why, param=f"messages[{last}].role")
    if not messages[last].content.strip():
        raise InvalidRequest("The seeker's last message is empty.", param=f"messages[{last}].content")
    notes = tuple(m.content for m in messages if m.role in ("system", "developer") and m.content.strip())
    if sum(map(len, notes)) > limits.operator_characters:
        raise InvalidRequest(
            f"System and developer messages may hold {limits.operator_characters} characters in all.",
            param="messages",
            code="string_above_max_length",
        )
    utterances = tuple(
        Utterance("seeker" if m.role == "user" else "counselor", m.content)
        for m in messages
        if m.role in ("user", "assistant") and m.content.strip()
    )
    return Conversation(utterances, notes)
