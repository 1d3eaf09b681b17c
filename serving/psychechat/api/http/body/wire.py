"""Bases of request bodies and of their parts."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NotRequired, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from typing_extensions import TypedDict


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class ContentPart(TypedDict):
    """A part of a message: text, or an image, a sound or a file, which nobody here can read."""

    type: str
    text: NotRequired[str]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Wire(_Strict):
    """Part of a request body: unknown fields are refused, types are strict.

    Of several unknown fields only the first is passed on: pydantic would list all hundred thousand of a hostile body.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _one_stranger(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        known = {name: body[name] for name in cls.model_fields if name in body}
        stranger = next((name for name in body if name not in cls.model_fields), None)
        return known if stranger is None else known | {stranger: None}


class Body(_Strict):
    """Whole request body. Unknown fields are left out and kept by name: `unread` says what becomes of them."""

    model_config = ConfigDict(extra="ignore")

    UNSUPPORTED: ClassVar[Mapping[str, str]] = {}
    """Known fields that nothing here can heed, with the reason."""
    _strangers: tuple[str, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _apart(cls, body: object, read: ModelWrapValidatorHandler[Self]) -> Self:
        found = read(body)
        if isinstance(body, dict):
            known = cls.model_fields
            found._strangers = tuple([name for name in body if name not in known])
        return found

    @property
    def unread(self) -> Sequence[str]:
        """Names, as the client wrote them, of fields that were sent and change nothing."""
        return self._strangers
