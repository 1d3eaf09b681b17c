"""Role cards: who comes for counselling, as the paper's evaluation describes a person. Ours, or the authors' file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from psychechat import language
from psychechat.emotion import MAX_LABELS, Label, Language, valence

SHIPPED: tuple[Language, ...] = ("en", "zh")

Text = Annotated[str, Field(min_length=1)]


class BadCards(ValueError):
    """A file that holds no cards. The message says where, and shows nothing of what stands there."""


def emotions(names: Sequence[str]) -> tuple[Label, ...]:
    """One to three labels of distinct groups. Raises ValueError for anything else."""
    labels = tuple(Label.parse(name) for name in names)
    if not 1 <= len(labels) <= MAX_LABELS or len({label.group for label in labels}) < len(labels):
        raise ValueError(f"one to {MAX_LABELS} labels of distinct groups")
    return labels


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    emotions(names)
    return names


Labels = Annotated[tuple[str, ...], AfterValidator(_checked)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Traits(_Part):
    openness: Text
    conscientiousness: Text
    extraversion: Text
    agreeableness: Text
    neuroticism: Text


class Event(_Part):
    """What happened, and which emotions speaking of it brings up."""

    event: Text
    emotions: Labels


class Card(_Part):
    """One seeker."""

    id: Text
    topic: str = ""
    sex: Text
    age: Text
    job: Text
    traits: Traits
    character: Text
    style: Text
    hobbies: Text
    problem: Text
    goals: Annotated[tuple[Text, ...], Field(min_length=1)]
    monologue: Text
    feels: Labels
    """At the beginning."""
    events: Annotated[tuple[Event, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _of_the_authors(cls, row: Any) -> Any:
        if not isinstance(row, Mapping) or not isinstance(row.get("role_card"), Mapping):
            return row
        card = row["role_card"]
        return {
            "id": row.get("id"),
            "topic": str(row.get("topic") or ""),
            **{name: _plain(card.get(theirs)) for name, theirs in _FIELDS.items()},
            "traits": {name: (card.get("人格") or {}).get(theirs) for name, theirs in _TRAITS.items()},
            "goals": [goal["goal"] for goal in card.get("目标") or ()],
            "feels": card.get("初始情绪"),
            "events": [{"event": one["event"], "emotions": one["emotion"]} for one in card.get("事件触发情绪") or ()],
        }

    @property
    def language(self) -> Language:
        return language.detect(self.monologue) or "en"

    @property
    def valence(self) -> int:
        """Of what the seeker feels before anything is said, -9 to 9."""
        return valence(emotions(self.feels))

    @property
    def digest(self) -> str:
        """Of all that stands on it, 16 hexadecimal digits."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]


_FIELDS = {
    "sex": "性别",
    "age": "年龄",
    "job": "职业",
    "character": "性格",
    "style": "语言风格",
    "hobbies": "爱好",
    "problem": "问题",
    "monologue": "内心独白",
}
_TRAITS = {
    "openness": "开放性",
    "conscientiousness": "尽责性",
    "extraversion": "外向性",
    "agreeableness": "宜人性",
    "neuroticism": "神经质",
}


def _plain(value: object) -> object:
    return "，".join(map(str, value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Deck:
    """Cards of one or more files, in their order; `names` says where they are from."""

    names: tuple[str, ...]
    cards: tuple[Card, ...]


def read(places: Sequence[str]) -> Deck:
    """The cards of each place: `en` or `zh` for the package's, else a file, of our form (YAML) or the authors' (JSON).

    Raises BadCards or OSError.
    """
    cards: list[Card] = []
    for place in places:
        cards += _parsed(place, _text(place))
    ids = [card.id for card in cards]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise BadCards(f"{len(twice)} ids are there twice; the first is that of card {ids.index(twice[0]) + 1}")
    return Deck(tuple(places), tuple(cards))


def _text(place: str) -> str:
    if place in SHIPPED:
        return files("psychechat.evaluation").joinpath("cards", f"{place}.yaml").read_text("utf-8")
    try:
        return Path(place).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCards(f"{place} is not UTF-8") from None


def _parsed(place: str, text: str) -> list[Card]:
    try:
        rows = json.loads(text) if place.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        raise BadCards(f"{place} is neither YAML nor, with .json at its end, JSON") from None
    if not isinstance(rows, list) or not rows:
        raise BadCards(f"{place} holds no list of cards")
    return [_card(place, number, row) for number, row in enumerate(rows, 1)]


def _card(place: str, number: int, row: object) -> Card:
    try:
        return Card.model_validate(row)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "it"
        raise BadCards(f"{place}, card {number}: {where} is missing or not of its form") from None
    except (KeyError, TypeError, AttributeError):
        raise BadCards(f"{place}, card {number}: not of its form") from None
