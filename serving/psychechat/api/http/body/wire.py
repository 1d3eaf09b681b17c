"""Bases of request bodies and of their parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NotRequired, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ModelWrapValidatorHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from psychechat.api.http.body.slips import folded, slips


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


@dataclass(frozen=True, slots=True)
class Ignored:
    """A parameter that is known here and changes nothing, with the reason."""

    why: str
    neutral: tuple[object, ...] = ()
    """Values, beside `null`, that ask for nothing which the answer would lack."""


class Body(_Strict):
    """Whole request body. Unknown fields are left out and kept by name: `unread` says what becomes of them."""

    model_config = ConfigDict(extra="ignore")

    IGNORED: ClassVar[Mapping[str, Ignored]] = {}
    """By name; of a field inside an object the name is `object.field`."""
    READ_INSIDE: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Objects that may hold unknown fields, which are named as well, and the fields in them that are read."""
    FREE_INSIDE: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Objects whose fields are the client's own, and the names in them that mean something here: of the others only
    slips in these are named.
    """
    _unread: tuple[str, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _apart(cls, body: object, read: ModelWrapValidatorHandler[Self]) -> Self:
        instance = read(body)
        if isinstance(body, dict):
            instance._unread = tuple(cls.unread_in(body))
        return instance

    @classmethod
    def unread_in(cls, body: Mapping[str, Any]) -> Iterator[str]:
        """Names, as the client wrote them, of fields that were sent and change nothing."""
        for name, ignored in cls.IGNORED.items():
            if _found(body, name) not in (None, *ignored.neutral):
                yield name
        for name, read in cls.READ_INSIDE.items():
            inside = body.get(name)
            if isinstance(inside, dict):
                strangers = (f"{name}.{field}" for field in inside if field not in read)
                yield from (stranger for stranger in strangers if stranger not in cls.IGNORED)
        for name, ours in cls.FREE_INSIDE.items():
            inside = body.get(name)
            if isinstance(inside, dict):
                yield from (f"{name}.{own}" for own in inside if own not in ours and folded(own) in slips(ours))
        yield from (name for name in body if name not in cls.model_fields and name not in cls.IGNORED)

    @property
    def unread(self) -> Sequence[str]:
        return self._unread

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With the parameters that are ignored."""
        schema = handler(core)
        fields = handler.resolve_ref_schema(schema)["properties"]
        for name, ignored in cls.IGNORED.items():
            if "." not in name:
                fields.setdefault(name, {"description": f"Ignored: {ignored.why}."})
        return schema


def _found(body: Mapping[str, Any], name: str) -> object:
    """Value at `field` or `object.field`; None if there is none."""
    outer, _, inner = name.partition(".")
    value = body.get(outer)
    if not inner:
        return value
    return value.get(inner) if isinstance(value, dict) else None
