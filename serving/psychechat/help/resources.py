"""Whom a seeker can turn to: rows by place, each with the public page it was read from and that page's date.

A table has the form of `policy.crisis.resources`, places to rows. All but a row's name and contact may be left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from psychechat import fast_yaml
from psychechat.help.entry import Entry

Topic = Literal["suicide", "listening", "emergency", "domestic violence", "children"]
Channel = Literal["call", "text", "chat", "web"]
Reason = Literal["no source", "no date", "stale"]

INTERNATIONAL = "intl"
"""The place whose rows hold everywhere."""
STALE_AFTER = timedelta(days=365)
"""A number that was right so long ago is to be looked at again."""
IN_CRISIS: frozenset[Topic | None] = frozenset({"suicide", "listening", "emergency", None})
"""The topics that a crisis reply shows. Of a row of an older table the topic is not known: it is shown."""


def _several(channels: object) -> object:
    return re.split(r"[,\s]+", channels.strip()) if isinstance(channels, str) else channels


class Resource(Entry):
    """Someone to turn to: a name and how to reach them, where, about what, and how far the row can be trusted."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]*$")]
    contact: Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]*$")]
    locale: str = ""
    """Of the place that the row stands under, `en-US`, `en`, or `intl`; `parse` sets it."""
    language: str = ""
    """In which the row is written, and help is given first: the locale's where nothing else is said."""
    topic: Topic | None = None
    hours: str | None = None
    """As their page has them."""
    channel: Annotated[tuple[Channel, ...], BeforeValidator(_several)] = ("call",)
    source: Annotated[str, Field(pattern=r"^https?://[^\s/]+\.[^\s]+$")] | None = None
    """The public page that the row was read from."""
    verified_at: date | None = None
    """That page's date. None: it shows none, so nobody knows since when the row may be wrong."""
    reviewed: bool = False
    """Whether someone who answers for care has checked the row."""

    @model_validator(mode="before")
    @classmethod
    def _language_of_its_locale(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and not fields.get("language") and isinstance(fields.get("locale"), str):
            return {**fields, "language": re.split("[-_]", fields["locale"])[0].casefold()}
        return fields

    @model_validator(mode="after")
    def _dated_by_its_source(self) -> "Resource":
        if self.verified_at and not self.source:
            raise ValueError("verified_at is the date of a source, and there is no source")
        return self

    @property
    def line(self) -> str:
        return f"{self.name}: {self.contact}" + (f" ({self.hours})" if self.hours else "")

    @property
    def names_one(self) -> bool:
        """Whether the contact is a number or an address. "Your local emergency number" is none."""
        return re.search(r"\d|\w\.\w", self.contact) is not None

    def doubt(self, today: date) -> Reason | None:
        """Why the row should be looked at. "Your local emergency number" states nothing that could be wrong."""
        if not self.names_one:
            return None
        if self.source is None:
            return "no source"
        if self.verified_at is None:
            return "no date"
        return "stale" if today - self.verified_at > STALE_AFTER else None


Table = Mapping[str, tuple[Resource, ...]]
"""Places to rows."""


class BadTable(ValueError):
    """A table of resources that is not of its form. The message says where, and shows nothing of what stands there."""


def parse(table: object) -> Table:
    """A table as YAML or the policy has it, old or new. Raises BadTable."""
    if not isinstance(table, Mapping) or not table:
        raise BadTable("resources are a table of places, each with its rows")
    return {str(place): tuple(_rows(str(place), rows)) for place, rows in table.items()}


def _rows(place: str, rows: object) -> Iterator[Resource]:
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise BadTable(f"{place}: expected a list of rows")
    for number, row in enumerate(rows, start=1):
        fields = row.model_dump(exclude_none=True) if isinstance(row, Resource) else row
        if not isinstance(fields, Mapping):
            raise BadTable(f"{place}, row {number}: expected name, contact and what else is known")
        try:
            yield Resource.model_validate({**fields, "locale": place})
        except ValidationError as error:
            raise BadTable(f"{place}, row {number}: {complaint(error)}") from None


def complaint(error: ValidationError) -> str:
    """The first of what a row was refused for, in words."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"there is no field {field}"
    known = {
        "source": "source is no web address, as https://example.org/help is",
        "verified_at": "verified_at is no date, as 2026-11-28 is",
        "topic": f"topic is none of {_choices(Topic)}",
        "channel": f"channel is none of {_choices(Channel)}",
        "reviewed": "reviewed is neither true nor false",
        "name": "name is missing, or not one line of text",
        "contact": "contact is missing, or not one line of text",
    }
    return known.get(field) or f"{field} {first['msg'].removeprefix('Value error, ')}".strip()


def _choices(literal: Any) -> str:
    return ", ".join(literal.__args__)


@cache
def shipped() -> Table:
    """The table that comes with the package."""
    return parse(fast_yaml.load(files("psychechat").joinpath("help", "resources.yaml").read_text("utf-8")))


def of_settings(file: Path) -> Table:
    """What a settings file has under policy.crisis.resources, else the package's table.

    Raises BadTable, OSError or yaml.YAMLError.
    """
    section: object = yaml.safe_load(file.read_text("utf-8"))
    for name in ("policy", "crisis", "resources"):
        section = section.get(name) if isinstance(section, Mapping) else None
    return shipped() if section is None else parse(section)


@dataclass(frozen=True, slots=True)
class Help:
    """What a table has for one seeker: the place that was found, and its rows."""

    place: str
    rows: tuple[Resource, ...]

    def in_crisis(self, *, emergency_first: bool = False) -> "Help":
        """Only what a crisis reply shows; ambulance and police on top while an attempt is under way."""
        rows = [row for row in self.rows if row.topic in IN_CRISIS]
        if emergency_first:
            rows.sort(key=lambda row: row.topic != "emergency")
        return Help(self.place, tuple(rows))

    def text(self, introduction: str) -> str:
        return "\n".join([introduction, *(f"- {row.line}" for row in self.rows)])


def find(table: Table, locale: str | None, *languages: str) -> Help:
    """The rows of the locale's place, else of its region in another language, else of a language, else international.

    `locale` may be a BCP 47 tag or a POSIX one: `zh-Hant-TW`, `en_US.UTF-8`. `languages` are those of the message and
    the conversation, the surest first. For a region without rows in the seeker's language the numbers that work there
    are worth more than a general list in it.
    """
    names = {name.casefold(): name for name in table}
    place = next((names[wanted] for wanted in _wanted(names, locale, languages) if wanted in names), next(iter(table)))
    return Help(place, table[place])


def _wanted(names: Iterable[str], locale: str | None, languages: Sequence[str]) -> Iterator[str]:
    """Places from the best to the last resort; not all of them are in the table."""
    spoken, *subtags = re.split(r"[-_.@]", (locale or "").casefold())
    subtags = list(takewhile(lambda subtag: len(subtag) > 1, subtags))  # a single letter begins an extension: `-u-ca-…`
    yield from (f"{spoken}-{subtag}" for subtag in subtags)
    for region in (subtag for subtag in subtags if re.fullmatch("[a-z]{2}", subtag)):
        yield from (f"{language.casefold()}-{region}" for language in languages)
        yield from (name for name in names if name.endswith(f"-{region}"))
    yield spoken
    yield from (language.casefold() for language in languages)
    yield from (INTERNATIONAL, "en")


@dataclass(frozen=True, slots=True)
class Doubt:
    row: Resource
    reason: Reason


def doubts(table: Table, today: date) -> list[Doubt]:
    """The rows to look at before the table serves anybody, place by place."""
    rows = [row for rows in table.values() for row in rows]
    return [Doubt(row, reason) for row in rows if (reason := row.doubt(today))]


def notice(table: Table, today: date) -> str | None:
    """For the start of a server: which places have rows that should be looked at; None where none has."""
    all_doubts = doubts(table, today)
    kinds = (
        ("unverified", [doubt.row.locale for doubt in all_doubts if doubt.reason != "stale"]),
        ("older than a year", [doubt.row.locale for doubt in all_doubts if doubt.reason == "stale"]),
    )
    parts = [f"{len(places)} {kind} ({', '.join(dict.fromkeys(places))})" for kind, places in kinds if places]
    if not parts:
        return None
    rows = sum(map(len, table.values()))
    return f"Crisis resources: of {rows} rows {' and '.join(parts)}. `psychechat resources check` lists them."
