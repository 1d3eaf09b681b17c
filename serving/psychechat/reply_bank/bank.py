"""A bank's file: replies by what they answer, and the words by which topics are found."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ahocorasick_rs import AhoCorasick
from pydantic import AfterValidator, Field, StringConstraints

from psychechat import fast_yaml
from psychechat.conversation import Act
from psychechat.emotion import Group, Language, Tone
from psychechat.help.entry import Entry
from psychechat.help.plain import MOST_CHARACTERS, plain
from psychechat.help.subjects import Subject
from psychechat.risk import CRISIS, Kind, Severity
from psychechat.versions import short_hash

BUILT_IN = Path(__file__).parent

Text = Annotated[
    str,
    StringConstraints(max_length=300, pattern=r'^[^"\\\s{\[](?:[^"\\<>\x00-\x1f\x7f-\x9f\u2028-\u202e]*[^"\\\s<>])?$'),
]
"""One line that both modes can write: short, no JSON, no tags, and none of JSON's quotation marks."""
Replies = Annotated[tuple[Text, ...], Field(min_length=1)]
Words = tuple[Annotated[str, StringConstraints(min_length=1), AfterValidator(plain)], ...]
TopicWords = Annotated[str, StringConstraints(pattern=r"^\s*[^*\s][^*]*\*?$"), AfterValidator(plain)]


class ByKind(Entry):
    """Replies to a crisis, by its kind. Fixed words and resources stand before them."""

    thoughts: Replies | None = None
    plan_or_means: Replies | None = None
    other_person: Replies | None = None
    serious: Replies | None = None
    """Where the kind is not known, of a plan, a preparation or an act."""
    unknown: Replies
    """Where nothing more is known, and of the kinds that have none: right for the seeker and for somebody else."""

    def of(self, kind: Kind | None, severity: Severity = CRISIS) -> tuple[str, ...]:
        if kind is None and severity > CRISIS:
            return self.serious or self.unknown
        own: tuple[str, ...] | None = getattr(self, kind or "unknown", None)
        return own or self.unknown


class Answer(Entry):
    """Replies to a short answer to the counselor's question."""

    words: Words
    """The whole answers that are meant, without punctuation."""
    replies: Replies


class Answers(Entry):
    affirmed: Answer | None = None
    denied: Answer | None = None
    unsure: Answer | None = None
    other: Replies | None = None
    """To any other short answer that names no topic."""


class Topic(Entry):
    """Something that a message may be about, more particular than a subject (`reply_bank.topics`)."""

    subject: Subject
    chat: bool = False
    """Whether it is one to chat about, as the weather: who tells of trouble names it by the way."""
    words: Annotated[tuple[TopicWords, ...], Field(min_length=1)]
    """English ones are whole words, the last with `*` at its end for any ending; Chinese ones are found anywhere."""
    any: Replies
    """Right unless the seeker is glad."""
    glad: Replies | None = None


class BySubject(Entry):
    """Replies to a message about a subject, by its tone."""

    any: Replies
    """Where the tone is not known."""
    hard: Replies
    afraid: Replies | None = None
    angry: Replies | None = None
    glad: Replies | None = None

    def of(self, tone: Tone | None) -> tuple[str, ...]:
        match tone:
            case None:
                return self.any
            case "glad":
                return self.glad or ()
            case _:
                own: tuple[str, ...] | None = getattr(self, tone)
                return own or self.hard


class Bank(Entry):
    """Where a part is left out, the more general one is taken."""

    language: Language
    reviewed: bool = False
    """Whether a clinician has read all of it."""
    crisis: ByKind
    dark: Replies | None = None
    """Asks about thoughts of suicide: no crisis was found, and not far from one."""
    heavy: Replies
    """Despair, the past, a loss by suicide: the subject is touched without present danger."""
    held_near: Replies | None = None
    """To a quieter message just behind a crisis: asks about safety."""
    held: Replies | None = None
    """To a quieter message in a conversation that had one."""
    answers: Answers = Answers()
    acts: Mapping[Act, Replies] = {}
    topics: Mapping[str, Topic] = {}
    subjects: Mapping[Subject, BySubject] = {}
    feelings: Mapping[Group, Replies] = {}
    question: Replies | None = None
    """To a message that ends in a question, of fact, about life or what to do: the counselor knows no answer."""
    low: Replies | None = None
    """To something unpleasant, where neither feeling nor subject is known."""
    open: Replies
    """To anything."""

    @cached_property
    def version(self) -> str:
        return short_hash(self.model_dump_json())

    @property
    def replies(self) -> Iterator[tuple[str, str]]:
        """Each reply behind its place, as `topics.exam.any`."""
        return _replies(self.model_dump(mode="json", exclude={"language", "reviewed"}), "")

    def named(self, message: str) -> list[str]:
        """The names of the topics whose words a message holds, the one with the most characters of them first."""
        text = plain(message[:MOST_CHARACTERS])
        finder, phrases = self._phrases
        longest: dict[int, int] = {}
        for number, start, end in finder.find_matches_as_indexes(text, overlapping=True):
            if phrases[number].stands(text, start, end):
                place = phrases[number].topic
                longest[place] = max(longest.get(place, 0), end - start)
        names = list(self.topics)
        return [names[place] for place in sorted(longest, key=lambda place: -longest[place])]

    @cached_property
    def _phrases(self) -> tuple[AhoCorasick, list["_Phrase"]]:
        whole = self.language == "en"
        phrases = [
            _Phrase(place, words.removesuffix("*"), whole, whole and not words.endswith("*"))
            for place, topic in enumerate(self.topics.values())
            for words in topic.words
        ]
        return AhoCorasick([phrase.text for phrase in phrases]), phrases


def _replies(part: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _replies(value, f"{place}{name}.")
        elif isinstance(value, list) and name != "words":
            yield from ((f"{place}{name}", text) for text in value)


class _Phrase(NamedTuple):
    """Words that name a topic, the topic's place, and whether they begin and end a word."""

    topic: int
    text: str
    begins: bool
    ends: bool

    def stands(self, text: str, start: int, end: int) -> bool:
        cut = (self.begins and text[start - 1 : start].isalnum()) or (self.ends and text[end : end + 1].isalnum())
        return not cut


def load(bank: str | Path) -> Bank:
    """The built-in bank of this name, or the one in this file.

    Raises FileNotFoundError if there is none, yaml.YAMLError or pydantic.ValidationError if it is wrong.
    """
    built_in = BUILT_IN / f"{bank}.yaml"
    file = built_in if built_in.is_file() else Path(bank)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in BUILT_IN.glob("*.yaml")))
        raise FileNotFoundError(f"no reply bank at {file}: expected a file, or one of {known}")
    loaded = Bank.model_validate(fast_yaml.load(file.read_text("utf-8")))
    loaded.named("")  # its finder is made now, not while a seeker waits
    return loaded


def load_all(names: Mapping[Language, str]) -> dict[Language, Bank]:
    """Banks by language. Raises ValueError if one is in another language, and what `load` raises."""
    banks = {language: load(name) for language, name in names.items()}
    for language, bank in banks.items():
        if bank.language != language:
            raise ValueError(f"the reply bank for {language!r} says that its language is {bank.language!r}")
    return banks
