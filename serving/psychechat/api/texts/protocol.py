"""Bodies of requests about texts, without a reply."""

from typing import Annotated, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field

from psychechat.api.http.body.wire import Body, TextPart
from psychechat.errors import UnsupportedParameter
from psychechat.policy import Model

MODEL: Model = "psychechat"


T = TypeVar("T")
_Several = Annotated[list[T], Field(min_length=1)]


def _strings(value: object) -> object:
    """List of texts; a string is one. The error message quotes nothing of the input."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a string or a list of strings that is not empty")
    return texts


def _strings_or_parts(value: object) -> object:
    """List of texts as OpenAI reads it: several strings are several texts, several parts are one."""
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        return _strings(value)
    if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in value):
        raise UnsupportedParameter("input", "its parts must be of type 'text'; images cannot be judged here")
    return ["\n".join(part["text"] for part in value)]


class ClassifyRequest(Body):
    """`POST /v1/classify`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "I am worried"},
                {"input": ["a"], "stream": True},
                {"input": "Go on.", "answering": "Hm."},
            ]
        }
    )

    input: Annotated[list[str], BeforeValidator(_strings, json_schema_input_type=str | _Several[str])]
    answering: Annotated[list[str], BeforeValidator(_strings, json_schema_input_type=str | _Several[str])] | None = None
    """What each text of `input` replies to, one a text: the third head, if there is one, judges the replies."""
    model: str = MODEL
    """This one, or an alias of it."""
    stream: bool = False


class ModerationRequest(Body):
    """`POST /v1/moderations`: https://platform.openai.com/docs/api-reference/moderations/create"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["I am worried", "a fine day"]}]})

    input: Annotated[
        list[str], BeforeValidator(_strings_or_parts, json_schema_input_type=str | _Several[str] | _Several[TextPart])
    ]
    model: str = MODEL
    """Any name is accepted, since clients send OpenAI's; the response names the model that judged."""
