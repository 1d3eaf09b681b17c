"""A seeker whom a model plays, and who rates in the same breath, as in the paper's evaluation. The words are ours."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psychechat.emotion import Group, Label, Language, distinct, label_names, valence
from psychechat.evaluation.cards import Card, emotions
from psychechat.evaluation.endpoint import Endpoint, NoAnswer, Said
from psychechat.evaluation.figures import Rating
from psychechat.evaluation.seekers.base import END, Spoken, SpokenFor

TRIES = 8
WARMER, WARMEST = 0.1, 1.0
"""Each try is so much warmer than the one before, from greedy on."""

_BEGIN: dict[Language, str] = {"en": "Please begin with a short first line.", "zh": "请用一句简短的话开始。"}


class _Answer(BaseModel):
    """What the model writes; other keys are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    emotion: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    event: int | None = None
    goals: tuple[int, ...] = ()
    risk: Annotated[int, Field(ge=0, le=4)]
    response: Annotated[str, Field(min_length=1, max_length=2_000)]


class Modelled:
    """A seeker played by the model of an endpoint. What is no valid answer is asked for again, ever warmer."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def speak(self, card: Card, before: Sequence[Spoken], replies: Sequence[str], seed: int) -> Spoken:
        asked, schema = _messages(card, before, replies), _schema(card.language)
        for number in range(TRIES):
            temperature = round(min(WARMEST, number * WARMER), 1)
            try:
                text = await self._endpoint.json(asked, "turn", schema, temperature=temperature, seed=seed + number)
            except NoAnswer as error:
                raise SpokenFor(f"seeker: {error.kind}") from None
            if spoken := _read(text, number + 1):
                return spoken
        raise SpokenFor("seeker: no valid answer")

    async def close(self) -> None:
        await self._endpoint.close()


def _messages(card: Card, before: Sequence[Spoken], replies: Sequence[str]) -> Said:
    said: list[Any] = [("system", _system(card)), ("user", _BEGIN[card.language])]
    for spoken, reply in zip(before, replies, strict=True):
        said += [("assistant", _written(spoken, card.language)), ("user", reply)]
    return said


def _system(card: Card) -> str:
    return _template(card.language).format(card=_told(card), labels=_labels(card.language))


@cache
def _template(language: Language) -> str:
    return files("psychechat.evaluation.seekers").joinpath(f"{language}.txt").read_text("utf-8")


def _told(card: Card) -> str:
    """Everything of the card but its id, goals and events with their numbers."""
    told: dict[str, Any] = card.model_dump(exclude={"id", "topic", "goals", "events"})
    told["goals"] = dict(enumerate(card.goals, 1))
    told["events"] = {number: event.model_dump() for number, event in enumerate(card.events, 1)}
    return json.dumps(told, ensure_ascii=False, indent=2)


def _labels(language: Language) -> str:
    lines = (" < ".join(Label(group, i).name(language) for i in (1, 2, 3)) for group in Group)
    return "\n".join(f"  {line}" for line in lines)


def _written(spoken: Spoken, language: Language) -> str:
    """The seeker's own earlier answer, as the model wrote it."""
    return json.dumps(
        {
            "emotion": [Label.parse(name).name(language) for name in spoken.emotions],
            "event": spoken.event,
            "goals": list(spoken.rating.goals or ()),
            "risk": spoken.rating.risk,
            "response": spoken.text,
        },
        ensure_ascii=False,
    )


def _schema(language: Language) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "emotion": {
            "type": "array",
            "items": {"type": "string", "enum": label_names(language)},
            "minItems": 1,
            "maxItems": 3,
        },
        "event": {"type": ["integer", "null"]},
        "goals": {"type": "array", "items": {"type": "integer"}, "maxItems": 8},
        "risk": {"type": "integer", "enum": [0, 1, 2, 3, 4]},
        "response": {"type": "string"},
    }
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _read(text: str, tries: int) -> Spoken | None:
    """None where the text is no valid answer. Of what a model writes around its JSON nothing is read."""
    try:
        answer = _Answer.model_validate_json(text[text.index("{") : text.rindex("}") + 1])
        labels = emotions(answer.emotion)
    except (ValueError, ValidationError):
        return None
    words, ends = answer.response.replace(END, "").strip(), END in answer.response
    if not words and not ends:
        return None
    rating = Rating(valence(labels), answer.risk, answer.goals, bool(words))
    names = tuple(label.name("en") for label in distinct(labels))
    return Spoken(words, ends, names, answer.event, rating, tries)
