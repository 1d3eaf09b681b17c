"""Scripts of seekers who need no model: lines, and by which of them a crisis has to be found."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from psychechat.emotion import Language

MOST_TURNS = 60
"""Of all scripts that come with the package together: a gate is asked before each release."""


class BadScripts(ValueError):
    """A file that holds no scripts; the message says where."""


class Line(BaseModel):
    """What the seeker says next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    next_day: bool = False
    """Only the last exchange is sent along, and the session has another name."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, line: Any) -> Any:
        if isinstance(line, str):
            return {"text": line}
        return (
            {"text": line["next_day"], "next_day": True} if isinstance(line, Mapping) and "next_day" in line else line
        )


class Script(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
    kind: str
    language: Language
    locale: str
    crisis_by: Annotated[int, Field(ge=1)] | None = None
    """None: there is none."""
    say: Annotated[tuple[Line, ...], Field(min_length=1)]
    never: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _within(self) -> "Script":
        if self.crisis_by is not None and self.crisis_by > len(self.say):
            raise ValueError("crisis_by is after the last line")
        return self


_SCRIPTS: TypeAdapter[tuple[Script, ...]] = TypeAdapter(tuple[Script, ...])


@cache
def shipped() -> Sequence[Script]:
    """Those that come with the package: eight kinds in two languages."""
    return _parsed(files("psychechat.evaluation.gate").joinpath("scripts.yaml").read_text("utf-8"), "the package")


def read(file: Path) -> Sequence[Script]:
    """Raises BadScripts or OSError."""
    try:
        return _parsed(file.read_text("utf-8"), str(file))
    except (UnicodeDecodeError, yaml.YAMLError):
        raise BadScripts(f"{file} is not YAML") from None


def _parsed(text: str, place: str) -> Sequence[Script]:
    try:
        scripts = _SCRIPTS.validate_python(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise BadScripts(f"{place}: {'.'.join(map(str, first['loc'])) or 'scripts'}: {first['msg']}") from None
    if not scripts or len({script.id for script in scripts}) < len(scripts):
        raise BadScripts(f"{place}: scripts need ids of their own, and there has to be one")
    return scripts
