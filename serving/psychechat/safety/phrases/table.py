"""The table of phrases: the one that comes with the package, or an operator's."""

from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Self

from pydantic import model_validator

from psychechat import fast_yaml
from psychechat.safety.phrases.entries import Hit, Table
from psychechat.safety.phrases.finder import Finder
from psychechat.safety.phrases.folding import warm as warm_folding
from psychechat.safety.phrases.lines import LineError
from psychechat.safety.phrases.standing import cut


class Phrases(Table):
    """The table. An operator's may be two lists of strings, `en` and `zh`; all else is then the shipped table's."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, table: object) -> object:
        if not isinstance(table, Mapping) or table.keys() >= cls.model_fields.keys():
            return table
        shipped = _table()
        return {**shipped, **table, "words": {**shipped["words"], **(table.get("words") or {})}}

    @model_validator(mode="after")
    def _readable(self) -> Self:
        ids = [entry.id for entry in self.entries]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"phrases are named twice: {', '.join(sorted(twice))}")
        try:
            assert self.compiled
        except LineError as error:
            raise ValueError(str(error)) from None
        return self

    @cached_property
    def compiled(self) -> "Finder":
        return Finder(self)


@cache
def shipped() -> Phrases:
    """The table that comes with the package."""
    return Phrases.model_validate(_table())


@cache
def _table() -> dict[str, Any]:
    text = files("psychechat").joinpath("safety", "phrases.yaml").read_text("utf-8")
    table: dict[str, Any] = fast_yaml.load(text)
    return table


def find(text: str, phrases: Phrases) -> tuple[Hit, ...]:
    """All phrases in the text, in its order. In time that grows with the text alone."""
    return phrases.compiled.find(text)


def warm() -> None:
    """Load what is slow to load (dictionaries, the shipped table), so that no message waits for it."""
    warm_folding()
    cut("热身")
    shipped()
