"""Base of request bodies."""

from typing import Literal, NotRequired

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import TypedDict


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class ContentPart(TypedDict):
    """A part of a message: text, or an image, a sound or a file, which nobody here can read."""

    type: str
    text: NotRequired[str]


class Wire(BaseModel):
    """Request body: unknown fields are refused, types are strict.

    Of several unknown fields only the first is passed on: pydantic would list all hundred thousand of a hostile body.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _one_stranger(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        known = {name: body[name] for name in cls.model_fields if name in body}
        stranger = next((name for name in body if name not in cls.model_fields), None)
        return known if stranger is None else known | {stranger: None}
