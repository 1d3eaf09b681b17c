"""What was written for this project to learn from: seekers' lines and messages, exchanges, a bank of situations.

The files lie in `models/data`; its README says who wrote what. Nobody's real words are in them. A tenth of each file,
chosen by the text alone, is for development and never learned from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast, get_args
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from psychechat.conversation import Phase, ReactionType
from psychechat.emotion import Label, Language
from psychechat.risk import Severity, SeverityName

DATA = Path(__file__).with_name("data")
Split = Literal["train", "dev"]

ARTFUL = ("en-a", "en-b", "en-c", "en-d")
"""Writers of exchanges whose replies a model of a hundred million parameters imitates and does not master."""

_TWINS = ("n", "o", "p", "q")
"""Writers of seekers' lines who wrote each message twice, in danger and in none."""

HELD_OUT = 10
"""Every tenth text is for development."""

_NOUN = re.compile(r"\b(?:my|the|a|an|his|her|their|our|your|this|that) ([a-z]{3,14})\b")
_MARKED = re.compile(r"\{([^{}]+)\}")


def split_of(text: str) -> Split:
    return "dev" if crc32(text.encode()) % HELD_OUT == 0 else "train"


@dataclass(frozen=True, slots=True)
class _SeekerLine:
    text: str
    language: Language

    @property
    def split(self) -> Split:
        return split_of(self.text)


@dataclass(frozen=True, slots=True)
class Line(_SeekerLine):
    """A seeker's line with its severity. `question`: the counselor's, which a short answer is read with."""

    severity: Severity
    kind: str
    question: str = ""
    marked: tuple[int, int] | None = None
    """First character, and the one after the last, of the one sentence that the severity is of; the rest is everyday
    talk. None: the severity is the whole line's."""
    writer: str = ""

    @property
    def is_twin(self) -> bool:
        """Whether another line is this one but for the danger, or the lack of it."""
        return self.writer[-1:] in _TWINS


@cache
def lines(folder: Path = DATA) -> tuple[Line, ...]:
    """All of `seekers/LANGUAGE-WRITER.tsv`: severity, kind, text and, for an answer, its question.

    Raises ValueError with file and number of a malformed line, without its text.
    """
    return tuple(line for file in sorted((folder / "seekers").glob("*.tsv")) for line in _lines(file))


def _lines(file: Path) -> Iterator[Line]:
    language = _language(file)
    for number, row in enumerate(file.read_text("utf-8").splitlines(), start=1):
        columns = row.split("\t")
        if len(columns) not in (3, 4) or columns[0] not in get_args(SeverityName):
            raise ValueError(f"{file.name}, line {number}: not severity, kind, text and perhaps a question")
        severity, kind, text, *question = columns
        found = _MARKED.search(text)
        plain, marked = text, None
        if found:
            plain = text[: found.start()] + found[1] + text[found.end() :]
            marked = found.start(), found.start() + len(found[1])
        yield Line(plain, language, Severity[severity.upper()], kind, "".join(question), marked, file.stem)


Asking = Literal["neither", "identity", "person"]


@dataclass(frozen=True, slots=True)
class Question(_SeekerLine):
    """A message that asks who answers, or for a person, or shares words with those that do."""

    asks: Asking


@cache
def questions(folder: Path = DATA) -> tuple[Question, ...]:
    """All of `asks/LANGUAGE-WRITER.tsv`: what it asks, and text.

    Raises ValueError with file and number of a malformed line, without its text.
    """
    return tuple(question for file in sorted((folder / "asks").glob("*.tsv")) for question in _questions(file))


def _questions(file: Path) -> Iterator[Question]:
    for number, row in enumerate(file.read_text("utf-8").splitlines(), start=1):
        asks, _, text = row.partition("\t")
        if asks not in get_args(Asking) or not text or "\t" in text:
            raise ValueError(f"{file.name}, line {number}: not what it asks, and text")
        yield Question(text, _language(file), cast(Asking, asks))


@dataclass(frozen=True, slots=True)
class Message(_SeekerLine):
    """A seeker's message without danger, and what a sensitive reader says that they feel, the strongest first."""

    emotions: tuple[Label, ...]


@cache
def messages(folder: Path = DATA) -> tuple[Message, ...]:
    """All of `emotions/LANGUAGE-WRITER.tsv`: labels joined by `+`, and text.

    Raises ValueError with file and number of a malformed line, without its text.
    """
    return tuple(message for file in sorted((folder / "emotions").glob("*.tsv")) for message in _messages(file))


def _messages(file: Path) -> Iterator[Message]:
    for number, row in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            labels, text = row.split("\t")
            yield Message(text, _language(file), tuple(map(Label.parse, labels.split("+"))))
        except ValueError:
            raise ValueError(f"{file.name}, line {number}: not labels joined by +, and text") from None


def _language(file: Path) -> Language:
    return "zh" if file.name.startswith("zh") else "en"


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


LabelName = Annotated[str, Field(min_length=1)]
Said = tuple[ReactionType, str]
"""How a seeker might react: the type, and the words."""


class Exchange(_Written):
    """What a seeker said, with the turns before it, and a good reply; for some also the whole of Agent Mode."""

    topic: str
    turns: tuple[str, ...]
    """Seeker and counselor in turn, the seeker first and last."""
    before: tuple[LabelName, ...] = ()
    """The seeker's emotions one turn earlier."""
    labels: tuple[LabelName, ...]
    severity: SeverityName
    why: str
    shift: str = ""
    phase: Phase
    plan: str
    reply: str
    reactions: tuple[Said, ...] = ()
    """To the reply. Empty: only the reply was written."""
    verdicts: tuple[str, ...] = ()
    twin: str = ""
    """A draft that hurts."""
    twin_kind: str = ""
    twin_reactions: tuple[Said, ...] = ()
    twin_verdicts: tuple[tuple[bool, str], ...] = ()
    mend_emotion: str = ""
    mend_safety: str = ""
    language: Language = "en"
    writer: str = ""

    @property
    def split(self) -> Split:
        return split_of(self.turns[0])

    @property
    def risk(self) -> Severity:
        return Severity[self.severity.upper()]

    @property
    def quotes(self) -> bool:
        """Whether the reply gives back a noun of the message that it answers, as far as articles and the like tell."""
        said = set(_NOUN.findall(self.turns[-1].casefold()))
        return bool(said & set(re.findall(r"[a-z]+", self.reply.casefold())))

    @property
    def is_plain(self) -> bool:
        """Whether the reply was written for a small model, in short everyday sentences without wit or detail."""
        return self.writer not in ARTFUL

    @property
    def emotions(self) -> tuple[Label, ...]:
        return tuple(map(Label.parse, self.labels))

    @property
    def memory(self) -> tuple[Label, ...]:
        return tuple(map(Label.parse, self.before))


@cache
def exchanges(folder: Path = DATA) -> tuple[Exchange, ...]:
    """All of `exchanges/LANGUAGE-WRITER.jsonl`."""
    return tuple(_records(folder / "exchanges", Exchange))


class Situation(_Written):
    """What seekers of one situation say, and replies that are right for each of them, as they assume no detail."""

    situation: str
    about: str
    valence: Literal["negative", "mixed", "positive", "neutral"]
    severity: SeverityName
    seeker_zh: tuple[str, ...]
    reply_zh: tuple[str, ...]
    reply_en: tuple[str, ...]
    writer: str = ""

    @property
    def risk(self) -> Severity:
        return Severity[self.severity.upper()]


@cache
def situations(folder: Path = DATA) -> tuple[Situation, ...]:
    """All of `bank/WRITER.jsonl`."""
    return tuple(_records(folder / "bank", Situation))


@dataclass(frozen=True, slots=True)
class SituationLine(_SeekerLine):
    """What a seeker of this situation says."""

    situation: str


@cache
def situation_lines(folder: Path = DATA) -> tuple[SituationLine, ...]:
    """The lines of all situations, and those of `bank/WRITER.tsv`: situation, language and text.

    Raises ValueError with file and number of a malformed line, without its text.
    """
    known = situations(folder)
    lines = [SituationLine(text, "zh", x.situation) for x in known for text in x.seeker_zh]
    names = {x.situation for x in known}
    for file in sorted((folder / "bank").glob("*.tsv")):
        for number, row in enumerate(file.read_text("utf-8").splitlines(), start=1):
            match row.split("\t"):
                case [situation, ("en" | "zh") as language, text] if situation in names:
                    lines.append(SituationLine(text, language, situation))
                case _:
                    raise ValueError(f"{file.name}, line {number}: not a situation, en or zh, and text")
    return tuple(lines)


Record = TypeVar("Record", Exchange, Situation)


def _records(folder: Path, kind: type[Record]) -> Iterator[Record]:
    for file in sorted(folder.glob("*.jsonl")):
        told: dict[str, str] = {"writer": file.stem}
        if kind is Exchange:
            told["language"] = _language(file)
        for row in file.read_text("utf-8").splitlines():
            yield kind.model_validate_json(row).model_copy(update=told)
