"""Body of `POST /v1/responses`, as OpenAI names its fields.

https://platform.openai.com/docs/api-reference/responses/create
"""

from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import ConfigDict, FailFast, Field, JsonValue, field_validator, model_validator
from typing_extensions import TypedDict

from psychechat.api.chat.parameters import IGNORED_IN_RESPONSES, REFUSED
from psychechat.api.chat.protocol import ChatMessage, ChatRequest, Effort, StreamOptions, TurnBody
from psychechat.api.http.body.wire import ContentPart
from psychechat.api.responses.translation import as_chat, items
from psychechat.errors import UnsupportedParameter

_NOT_KEPT = ("previous_response_id", "conversation", "prompt", "background")
"""What needs something that is not kept here."""
_Without = Literal[False] | None


class InputItem(TypedDict):
    """A message, or what a counselor cannot read: a call, its output, a reasoning, a reference."""

    type: NotRequired[str]
    role: NotRequired[str]
    content: NotRequired[str | list[ContentPart | str] | None]


class Reasoning(TypedDict, total=False):
    effort: Effort | None
    """`none`: replies without thinking. For any other value the prompt pack decides."""


class TextFormat(TypedDict, total=False):
    type: Literal["text"]


class TextOptions(TypedDict, total=False):
    format: TextFormat | None


_Items = Annotated[list[ChatMessage], FailFast(), Field(min_length=1)]

_HELLO: list[JsonValue] = [{"role": "user", "content": "I could not sleep. My exam is tomorrow."}]
_EXAMPLES: list[JsonValue] = [
    {"model": "psychechat", "input": "I could not sleep. My exam is tomorrow."},
    {
        "model": "psychechat-llm",
        "instructions": "You work for a school.",
        "input": [*_HELLO],
        "stream": True,
        "reasoning": {"effort": "none"},
        "max_output_tokens": 200,
    },
    {"model": "psychechat-agent", "input": [*_HELLO], "metadata": {"locale": "en-US"}, "store": False},
]


class ResponsesRequest(TurnBody):
    """`POST /v1/responses`. Read as a `ChatRequest`."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})
    IGNORED = IGNORED_IN_RESPONSES
    READ_INSIDE: ClassVar = {"reasoning": ("effort",), "text": ("format",)}

    input: _Items
    instructions: str | None = None
    """A note of the operator's, before those in `input`."""
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    tool_choice: Any = None
    """Accepted where it leaves the choice: `auto`, `none`."""
    stream_options: StreamOptions | None = None
    """Chat's names are accepted, and change nothing: the last event has the usage, asked for or not."""
    previous_response_id: _Without = None
    conversation: _Without = None
    prompt: _Without = None
    background: _Without = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        for name in _NOT_KEPT:
            if (value := body.get(name)) is not None and value is not False:
                raise UnsupportedParameter(name, REFUSED[name])
        if not _is_free(body.get("tool_choice")):
            raise UnsupportedParameter("tool_choice", REFUSED["tool_choice"])
        if _format(body.get("text")) not in (None, "text"):
            raise UnsupportedParameter("text.format", REFUSED["text.format"])
        return body

    @field_validator("input", mode="before", json_schema_input_type=str | list[InputItem])
    @classmethod
    def _listed(cls, said: object) -> object:
        if not isinstance(said, str | list):
            return said
        return items(said)

    @property
    def chat(self) -> ChatRequest:
        return ChatRequest.model_validate(as_chat(dict(self)))


def _is_free(choice: object) -> bool:
    if isinstance(choice, dict):
        return choice.get("type") == "allowed_tools" and choice.get("mode") == "auto"
    return choice in (None, "auto", "none")


def _format(text: object) -> object:
    form = text.get("format") if isinstance(text, dict) else None
    return form.get("type") if isinstance(form, dict) else form
