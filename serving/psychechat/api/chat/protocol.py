"""Body of a chat request, as OpenAI names its fields.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from psychechat.api.chat.parameters import IGNORED_IN_CHAT, REFUSED
from psychechat.api.http.body.wire import Body, ContentPart, Wire
from psychechat.errors import UnsupportedParameter
from psychechat.pipeline.router import Requested
from psychechat.policy import MOST_MESSAGES, Model

MODELS: dict[Model, Requested] = {"psychechat": "auto", "psychechat-agent": "agent", "psychechat-llm": "llm"}

NOTES = ("system", "developer")
SPOKEN = (*NOTES, "user", "assistant")
TOOLS = ("tool", "function")
"""Roles of messages, as OpenAI names them: the operator's, those that are read, and those of what a counselor lacks."""
_MEANT = {
    **dict.fromkeys(("human", "customer", "client", "seeker", "patient"), "user"),
    **dict.fromkeys(("ai", "bot", "model", "counselor", "therapist"), "assistant"),
}
"""Other names of the two speakers, as other servers' clients have them."""

MAX_STOP = 64
"""Characters of a stop string."""
MAX_CHOICES = 8
_MAX_METADATA = 16
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP)]


class StreamOptions(Wire):
    include_usage: bool = False
    include_obfuscation: bool = False
    continuous_usage_stats: bool = False


class TemplateOptions(Wire):
    """`chat_template_kwargs`, as servers of open weights name it. Templates have what names they like."""

    model_config = ConfigDict(extra="ignore")

    enable_thinking: bool | None = None


class ModerationMode(Wire):
    mode: Literal["score", "block"]


class ModerationPolicy(Wire):
    input: ModerationMode | None = None
    output: ModerationMode | None = None


class ChatModeration(Wire):
    """`moderation`, as the official client's types have it. Without a policy texts are scored."""

    model: str
    """Any name is accepted; the response names the model that judged."""
    policy: ModerationPolicy | None = None

    @property
    def withholds(self) -> bool:
        """Whether a flagged reply is withheld. A flagged input is a crisis, which is always answered."""
        return self.policy is not None and self.policy.output is not None and self.policy.output.mode == "block"


@dataclass(frozen=True, slots=True)
class Said:
    """Content of a message: its words, and how many parts have none."""

    text: str
    wordless: int = 0


class ChatMessage(BaseModel):
    """A message as clients send it back, with whatever else a reply of ours held."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"required": ["role"]})

    role: Annotated[str, Field(json_schema_extra={"enum": [*SPOKEN, *TOOLS]})]
    """`history` says what becomes of messages of tools and of other roles."""
    content: Said
    """An assistant's may be missing, as beside calls of tools."""
    tool_calls: Annotated[Any, SkipJsonSchema()] = None
    """Of a counselor, who has no tools: left out, and counted."""

    @model_validator(mode="before")
    @classmethod
    def _meant(cls, message: object) -> object:
        """The message under the role that is meant. Of one that is no speaker's and no note nothing but the role is
        read, unless its role is unknown: then all of its text is the seeker's.
        """
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return message
        role = role_meant(message["role"])
        if role == "assistant":
            return {"content": None, **message, "role": role}
        if role in SPOKEN:
            return {**message, "role": role}
        text = "" if role in TOOLS else all_text(message.get("content"))
        return {"role": "user" if text.strip() else role, "content": text}

    @field_validator("content", mode="before", json_schema_input_type=str | list[ContentPart] | None)
    @classmethod
    def _read(cls, content: object, info: ValidationInfo) -> object:
        if content is None and info.data.get("role") == "assistant":
            return Said("")  # as OpenAI's own replies have it beside a refusal or calls of tools
        if isinstance(content, str):
            return Said(content)
        if not isinstance(content, list):
            _refuse("must be a string or a list of parts")
        texts = [_words(part) for part in content]
        heard = [text for text in texts if text is not None]
        return Said("\n".join(heard), len(texts) - len(heard))


def role_meant(role: str) -> str:
    """The role by OpenAI's name, whatever its case; one that nobody knows as it is."""
    folded = role.strip().casefold()
    return _MEANT.get(folded, folded)


def spoken(body: Mapping[str, Any], names: Sequence[str]) -> object:
    """What was said in a body, under the first of these names that holds anything; the first one's if none does."""
    values = [body.get(name) for name in names]
    return next((said for said in values if (said.strip() if isinstance(said, str) else said)), values[0])


def all_text(content: object) -> str:
    """Every text in a content of whatever make, one a line."""
    parts = content if isinstance(content, list) else [content]
    words = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in words if isinstance(text, str))


def _words(part: object) -> str | None:
    """Text of a part of any type that has one; None for an image, a sound or a file."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        _refuse("must be a string or a list of parts, each with its 'type'")
    text = part.get("refusal" if part["type"] == "refusal" else "text")
    if isinstance(text, str):
        return text
    if part["type"] == "text":
        _refuse("a text part needs a 'text' that is a string")
    return None


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


class TextFormat(TypedDict):
    type: Literal["text"]


class AllowedTools(TypedDict):
    mode: Literal["auto"]


class AllowedToolChoice(TypedDict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _is_free(choice: object) -> bool:
    """Whether a choice of tools lets the model call none."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools")
        return isinstance(allowed, dict) and allowed.get("mode") == "auto"
    return choice in ("none", "auto")


def _is_text(form: object) -> bool:
    return isinstance(form, dict) and form.get("type") == "text"


def _in_words(name: str, allows: Callable[[object], bool]) -> Callable[[object], object]:
    """Check of a field by which a client may want something else."""

    def check(value: object) -> object:
        if value is not None and not allows(value):
            raise UnsupportedParameter(name, REFUSED[name])
        return value

    return check


_Messages = Annotated[list[ChatMessage], FailFast(), Field(min_length=1)]

_HELLO: list[JsonValue] = [{"role": "user", "content": "I could not sleep. My exam is tomorrow."}]
_EXAMPLES: list[JsonValue] = [
    {"model": "psychechat", "messages": [*_HELLO]},
    {
        "model": "psychechat-llm",
        "messages": [{"role": "system", "content": "You work for a school."}, *_HELLO],
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "reasoning_effort": "none",
        "max_completion_tokens": 200,
        "stop": ["\n\n"],
    },
    {
        "model": "psychechat-agent",
        "messages": [*_HELLO],
        "metadata": {"locale": "en-US"},
        "moderation": {"model": "psychechat", "policy": {"output": {"mode": "block"}}},
    },
]


class TurnBody(Body):
    """What the bodies of all endpoints for turns have in common."""

    FREE_INSIDE: ClassVar = {"metadata": ("locale", "session_id")}
    model: Annotated[str, Field(examples=list(MODELS))]
    """One that `/v1/models` lists."""
    stream: bool | None = False
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    moderation: ChatModeration | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=_MAX_METADATA)] | None = None
    """`metadata.session_id` names the session, as `x-session-id` does; `metadata.locale`, e.g. `en-US`, chooses the
    crisis resources. Other names are free, but for slips in these two.
    """
    service_tier: str | None = None
    """A wish: there is one tier, and the answer says so."""

    @field_validator("metadata", mode="before")
    @classmethod
    def _first(cls, metadata: object) -> object:
        """First entries, one more than allowed, so that a huge object is refused without reading all of it."""
        return dict(islice(metadata.items(), _MAX_METADATA + 1)) if isinstance(metadata, dict) else metadata


class ChatRequest(TurnBody):
    """`POST /v1/chat/completions`. Sampling is the reply's; stages that nobody reads keep the pack's."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})
    IGNORED = IGNORED_IN_CHAT

    messages: _Messages
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """-1 and 0: off."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    stop: Annotated[list[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=128, json_schema_extra={"maximum": MAX_CHOICES})] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: Effort | None = None
    """`none`: replies without thinking. For any other value the prompt pack decides."""
    chat_template_kwargs: TemplateOptions | None = None
    tool_choice: Annotated[
        Any,
        BeforeValidator(
            _in_words("tool_choice", _is_free),
            json_schema_input_type=Literal["none", "auto"] | AllowedToolChoice | None,
        ),
    ] = None
    function_call: Annotated[
        Any,
        BeforeValidator(_in_words("function_call", _is_free), json_schema_input_type=Literal["none", "auto"] | None),
    ] = None
    modalities: Annotated[
        Any,
        BeforeValidator(
            _in_words("modalities", lambda kinds: kinds == ["text"]),
            json_schema_input_type=Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None,
        ),
    ] = None
    response_format: Annotated[
        Any, BeforeValidator(_in_words("response_format", _is_text), json_schema_input_type=TextFormat | None)
    ] = None

    @field_validator("stop", mode="before", json_schema_input_type=_Stop | list[_Stop] | None)
    @classmethod
    def _listed(cls, stop: object) -> object:
        return [stop] if isinstance(stop, str) else stop

    @field_validator("messages", mode="before", json_schema_input_type=_Messages)
    @classmethod
    def _last(cls, messages: object) -> object:
        """Last messages, as many as any policy may allow: earlier ones need no validation."""
        return messages[-MOST_MESSAGES:] if isinstance(messages, list) else messages

    @property
    def thinks(self) -> bool:
        """Whether the client leaves the thinking to the pack."""
        template = self.chat_template_kwargs
        return self.reasoning_effort != "none" and (template is None or template.enable_thinking is not False)
