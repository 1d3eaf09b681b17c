"""What was written for this project to learn from: seekers' lines and messages, exchanges, a bank of situations.

The files lie in `models/data`; its README says who wrote what. Nobody's real words are in them. A tenth of each file,
chosen by the text alone, is for development and never learned from, and so are all `talks`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from psychechat.conversation import Act, Conversation, Phase, ReactionType, Speaker, Utterance
from psychechat.emotion import Label, Language
from psychechat.help.subjects import Subject
from psychechat.risk import CRISIS, Severity, SeverityName

DATA = Path(__file__).with_name("data")
Split = Literal["train", "dev"]

ARTFUL = ("en-a", "en-b", "en-c", "en-d")
"""Writers of exchanges whose replies a model of a hundred million parameters imitates and does not master."""

Group = Literal["lines", "twins", "talks"]
"""Of seekers' lines. Twins: each message twice, in danger and in none. Talks: what stands in the midst of a talk, and
short twins: for development, all of them."""
_GROUPS: Mapping[Group, str] = {"twins": "nopq", "talks": "vwxyz"}
"""Their writers; all others wrote `lines`."""

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
    def split(self) -> Split:
        return "dev" if self.group == "talks" else split_of(self.text)

    @property
    def group(self) -> Group:
        return next((group for group, writers in _GROUPS.items() if self.writer[-1:] in writers), "lines")


@cache
def lines(folder: Path = DATA) -> tuple[Line, ...]:
    """All of `seekers/LANGUAGE-WRITER.tsv`: severity, kind, text and, for an answer, its question.

    Raises ValueError with file and number of a malformed line, without its text.
    """
    return _rows(folder / "seekers", "severity, kind, text and perhaps a question", _line)


def _line(file: Path, columns: list[str]) -> Line:
    severity, kind, text, question = columns if len(columns) == 4 else (*columns, "")
    found = _MARKED.search(text)
    plain, marked = text, None
    if found:
        plain = text[: found.start()] + found[1] + text[found.end() :]
        marked = found.start(), found.start() + len(found[1])
    return Line(plain, _language(file), _severity(severity), kind, question, marked, file.stem)


def _severity(name: str) -> Severity:
    if name not in get_args(SeverityName):
        raise ValueError(name)
    return Severity[name.upper()]


Asking = Literal["neither", "identity", "person"]


@dataclass(frozen=True, slots=True)
class Question(_SeekerLine):
    """A message that asks who answers, or for a person, or shares words with those that do."""

    asks: Asking


@cache
def questions(folder: Path = DATA) -> tuple[Question, ...]:
    """All of `asks/LANGUAGE-WRITER.tsv`: what it asks, and text. Raises ValueError as `lines` does."""
    return _rows(folder / "asks", "what it asks, and text", _classed(Question, get_args(Asking)))


@dataclass(frozen=True, slots=True)
class ActLine(_SeekerLine):
    """A message that does something of its own, or shares words with those that do. None: it tells of something."""

    act: Act | None


@cache
def acts(folder: Path = DATA) -> tuple[ActLine, ...]:
    """All of `acts/LANGUAGE-WRITER.tsv`: the dialogue act or `telling`, and text. Raises ValueError as `lines` does."""
    return _rows(folder / "acts", "a dialogue act or telling, and text", _classed(ActLine, get_args(Act), "telling"))


@dataclass(frozen=True, slots=True)
class SubjectLine(_SeekerLine):
    """A message, and what it is about; None: nothing of these."""

    subject: Subject | None


@cache
def subjects(folder: Path = DATA) -> tuple[SubjectLine, ...]:
    """All of `subjects/LANGUAGE-WRITER.tsv`: the subject or `other`, and text. Raises ValueError as `lines` does."""
    return _rows(folder / "subjects", "a subject or other, and text", _classed(SubjectLine, get_args(Subject), "other"))


@dataclass(frozen=True, slots=True)
class Message(_SeekerLine):
    """A seeker's message without danger, and what a sensitive reader says that they feel, the strongest first."""

    emotions: tuple[Label, ...]


@cache
def messages(folder: Path = DATA) -> tuple[Message, ...]:
    """All of `emotions/LANGUAGE-WRITER.tsv`: labels joined by `+`, and text. Raises ValueError as `lines` does."""
    return _rows(folder / "emotions", "labels joined by +, and text", _message)


def _message(file: Path, columns: list[str]) -> Message:
    labels, text = columns
    return Message(text, _language(file), tuple(map(Label.parse, labels.split("+"))))


@dataclass(frozen=True, slots=True)
class Labelled(_SeekerLine):
    """A message with all that is told of it: its severity, what its writer feels, the strongest first, what it is
    about, and which topic of the reply banks; None: none of these."""

    severity: Severity
    emotions: tuple[Label, ...]
    subject: Subject | None
    topic: str | None

    @property
    def in_crisis(self) -> bool:
        return self.severity >= CRISIS


@cache
def labelled(folder: Path = DATA) -> tuple[Labelled, ...]:
    """All of `labelled/LANGUAGE-WRITER.tsv`: severity, labels joined by `+`, subject or `other`, topic or `-`, and
    text. Raises ValueError as `lines` does."""
    return _rows(
        folder / "labelled", "severity, labels joined by +, a subject or other, a topic or -, and text", _labelled
    )


def _labelled(file: Path, columns: list[str]) -> Labelled:
    severity, labels, subject, topic, text = columns
    if subject not in (*get_args(Subject), "other") or not text:
        raise ValueError(subject)
    emotions = tuple(map(Label.parse, labels.split("+")))
    about = None if subject == "other" else cast(Subject, subject)
    return Labelled(text, _language(file), _severity(severity), emotions, about, None if topic == "-" else topic)


Row = TypeVar("Row")


def _rows(folder: Path, what: str, parse: Callable[[Path, list[str]], Row]) -> tuple[Row, ...]:
    """`what`: a line's columns, in words. `parse` raises ValueError for others."""
    read: list[Row] = []
    for file in sorted(folder.glob("*.tsv")):
        for number, row in enumerate(file.read_text("utf-8").splitlines(), start=1):
            try:
                read.append(parse(file, row.split("\t")))
            except ValueError:
                raise ValueError(f"{file.name}, line {number}: not {what}") from None
    return tuple(read)


def _classed(
    make: Callable[[str, Language, Any], Row], names: Sequence[str], none: str | None = None
) -> Callable[[Path, list[str]], Row]:
    """Parser of rows of a class and text. `none`: what stands for no class."""

    def parse(file: Path, columns: list[str]) -> Row:
        name, text = columns
        if name not in (*names, none) or not text:
            raise ValueError(name)
        return make(text, _language(file), None if name == none else name)

    return parse


def _language(file: Path) -> Language:
    return "zh" if file.name.startswith("zh") else "en"


TalkKind = Literal["slow_burn", "sudden", "grief", "breakup_exams", "calm"]


@dataclass(frozen=True, slots=True)
class Talk:
    """A whole conversation that nothing is learned from. `in_danger`: by utterance, whether it shows danger."""

    language: Language
    kind: TalkKind
    conversation: Conversation
    in_danger: tuple[bool, ...]


_SPEAKERS: Mapping[str, Speaker] = {">": "seeker", "!": "seeker", "<": "counselor"}


@cache
def talks(folder: Path = DATA) -> tuple[Talk, ...]:
    """All of `conversations/LANGUAGE-WRITER.txt`: paragraphs of `# KIND`, then a line an utterance after its mark.

    Raises ValueError with file and number of a malformed paragraph, without its text.
    """
    read: list[Talk] = []
    for file in sorted((folder / "conversations").glob("*.txt")):
        for number, paragraph in enumerate(file.read_text("utf-8").strip().split("\n\n"), start=1):
            head, *lines = paragraph.splitlines()
            kind, marks = head.removeprefix("# "), [line[:1] for line in lines]
            if kind not in get_args(TalkKind) or not marks or not set(marks) <= set(_SPEAKERS):
                raise ValueError(f"{file.name}, paragraph {number}: not a kind and utterances after >, ! or <")
            said = tuple(Utterance(_SPEAKERS[line[0]], line[1:].strip()) for line in lines)
            danger = tuple(mark == "!" for mark in marks)
            read.append(Talk(_language(file), cast(TalkKind, kind), Conversation(said), danger))
    return tuple(read)


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
    subject: Subject | None = None
    topic: str | None = None
    """Of the reply banks."""
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
    """The lines of all situations, and those of `bank/WRITER.tsv`: situation, language and text. Raises ValueError as
    `lines` does.
    """
    known = situations(folder)
    names = {x.situation for x in known}

    def parse(file: Path, columns: list[str]) -> SituationLine:
        situation, language, text = columns
        if situation not in names or language not in get_args(Language):
            raise ValueError(situation)
        return SituationLine(text, cast(Language, language), situation)

    own = (SituationLine(text, "zh", x.situation) for x in known for text in x.seeker_zh)
    return (*own, *_rows(folder / "bank", "a situation, en or zh, and text", parse))


Record = TypeVar("Record", Exchange, Situation)


def _records(folder: Path, kind: type[Record]) -> Iterator[Record]:
    for file in sorted(folder.glob("*.jsonl")):
        told: dict[str, str] = {"writer": file.stem}
        if kind is Exchange:
            told["language"] = _language(file)
        for row in file.read_text("utf-8").splitlines():
            yield kind.model_validate_json(row).model_copy(update=told)
