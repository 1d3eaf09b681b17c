"""One synthetic conversation: what the seeker says turn by turn, and what each stage should answer to it."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from models.counselor.corpus.lexicon import Lexicon, Topic
from psychechat.conversation import (
    Conversation,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Phase,
    Reaction,
    ReactionType,
    Review,
    Round,
    Utterance,
    Verdict,
)
from psychechat.emotion import LABELS, Group, Label, distinct, valence
from psychechat.prompts.answers import PHASES
from psychechat.risk import Severity

Move = Literal["open", "deepen", "relief", "tryout", "bye"]
FLAWS = ("dismissive", "blaming", "preaching", "commanding", "diagnosing", "unsafe")
_EASED = tuple(Label.parse(name) for name in ("calm", "accepting", "trusting", "happy", "expectant"))
_HARD = tuple(
    label
    for label in LABELS
    if label.group in (Group.FEAR, Group.SADNESS, Group.ANGER, Group.DISGUST)
    or label in (Label(Group.SURPRISE, 1), Label(Group.SURPRISE, 2), Label(Group.ANTICIPATION, 3))
)
_GOOD = tuple(
    label
    for label in LABELS
    if label.group in (Group.JOY, Group.TRUST)
    or label in (Label(Group.SURPRISE, 2), Label(Group.SURPRISE, 3), Label(Group.ANTICIPATION, 2))
)


@dataclass(frozen=True)
class Message:
    """A seeker's message and what is true of it. `clauses` are spans of the text that a reply may quote."""

    text: str
    clauses: tuple[str, ...]
    labels: tuple[Label, ...]
    thing: str
    named: str
    """The thing as a counselor names it: "your exam", "the exam"."""
    person: str | None = None
    severity: Severity = Severity.NONE
    good: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class TurnRecord:
    """All hand-offs of one turn, each as its stage should produce it."""

    conversation: Conversation
    memory: EmotionMemory | None
    severity: Severity
    analysis: EmotionAnalysis
    refused: tuple[Round, ...]
    draft: Draft
    reactions: tuple[Reaction, ...]
    review: Review
    thinking: str
    reply: str


@dataclass
class Story:
    """Tells a conversation from an opening message on. Consumes `rng`; the same seed tells the same story."""

    rng: random.Random
    words: Lexicon
    opening: Message
    told: Message
    """What a seeker who only greeted tells next."""
    spoken: list[Utterance] = field(default_factory=list)

    def turns(self, count: int) -> Iterator[TurnRecord]:
        memory: EmotionMemory | None = None
        message, move = self.opening, "greet" if self.opening.thing in self.words.phrases["hello"] else "open"
        for turn in range(1, count + 1):
            self.spoken.append(Utterance("seeker", message.text))
            record = self._turn(message, move, turn, memory)
            yield record
            self.spoken.append(Utterance("counselor", record.draft.response))
            memory = EmotionMemory("corpus", self.words.language, record.analysis.labels, record.analysis)
            if move == "greet":
                message, move = self.told, "open"
            else:
                move = self._next_move(message, move, last=turn + 1 == count)
                message = self._follow(message, move)

    # What the seeker says next.

    def _next_move(self, message: Message, move: str, *, last: bool) -> str:
        if last and self.rng.random() < 0.6:
            return "bye"
        if message.good:
            return self.rng.choice(("relief", "bye"))
        return self.rng.choice(("deepen", "deepen", "relief", "relief", "tryout"))

    def _follow(self, before: Message, move: str) -> Message:
        if move == "deepen":
            labels = (self.rng.choice((self.rng.choice(_HARD), *(label for label in before.labels if label in _HARD))),)
        elif move == "tryout":
            labels = (self.rng.choice((Label(Group.ANTICIPATION, 2), Label(Group.SURPRISE, 1), Label(Group.FEAR, 1))),)
        elif move == "bye":
            labels = (Label(Group.JOY, 1),)
        else:
            labels = (self.rng.choice(_EASED),)
        sentence = self._fill(self._choose(move, before), before)
        feeling = self._choose(f"feel {labels[0].name()}", before)
        sentences = [sentence, feeling] if move != "bye" else [sentence]
        text, clauses = write(self.rng, self.words, sentences)
        risky = before.severity >= Severity.IDEATION and move in ("deepen", "tryout")
        return replace(
            before,
            text=text,
            clauses=clauses,
            labels=labels,
            severity=Severity.INDICATOR if risky else Severity.NONE,
            good=before.good,
        )

    # What the stages answer.

    def _turn(self, message: Message, move: str, turn: int, memory: EmotionMemory | None) -> TurnRecord:
        phase: Phase = "exploration" if turn == 1 else "action" if move in ("tryout", "bye") else "insight"
        if turn == 2 and move == "deepen" and self.rng.random() < 0.5:
            phase = "exploration"
        kind: str = "good" if message.good else phase
        if message.severity:
            kind = "risk"
        elif move in ("bye", "greet"):
            kind = move
        strategy = self._fill(self._choose(f"strategy {kind}", message), message)
        draft = Draft(phase, strategy, self.reply(message, move, phase))
        reactions = self._reactions(message, move)
        passed = tuple(
            Verdict(self._fill(self._choose(f"pass {reaction.type}", message), message), True) for reaction in reactions
        )
        refusals = 0 if move == "greet" else self.rng.choice((1, 1, 1, 2))
        refused = tuple(self.refused(message, phase) for _ in range(refusals))
        return TurnRecord(
            Conversation(tuple(self.spoken)),
            memory,
            message.severity,
            self._analysis(message, memory, "why greet" if move == "greet" else None),
            refused,
            draft,
            reactions,
            Review(passed, True),
            self._thinking(message, memory, phase, strategy),
            self.reply(message, move, phase),
        )

    def reply(self, message: Message, move: str, phase: Phase) -> str:
        """A kind reply: names what the seeker named, says that the feeling makes sense, asks one thing at most."""
        for _ in range(40):
            text = self._joined(self._parts(message, move, phase))
            if not repeats(text, self.words.language) and message.thing in text:
                return text
        plain = [self._fill(self._choose("echo good" if message.good else "echo hard", message), message)]
        return self._joined(plain)

    def _parts(self, message: Message, move: str, phase: Phase) -> list[str]:
        group = message.labels[0].group
        if message.severity:
            sections = ["risk echo", *(["valid sadness"] if self.rng.random() < 0.3 else []), "risk reach", "risk ask"]
        elif move == "bye":
            sections = ["close"]
        elif move == "greet":
            sections = ["greet", "greet ask"]
        elif move == "relief" and not message.good:
            sections = ["relief reply", f"valid {group}", self.rng.choice(("insight", "ask"))]
        elif message.good:
            sections = ["echo good", f"valid {group}", self.rng.choice(("ask good", "ask good", "insight good"))]
        elif phase == "action":
            sections = [self._echo(message), "action", "action ask"]
        elif phase == "insight":
            sections = [self._echo(message), "insight", self._ask(message)]
        else:
            sections = [self._echo(message), f"valid {group}", self._ask(message)]
        if not message.severity and group not in (Group.JOY, Group.TRUST) and len(sections) > 2:
            sections = sections if self.rng.random() >= 0.15 else [sections[0], *sections[2:]]
        return [self._fill(self._choose(section, message), message) for section in sections]

    def _echo(self, message: Message) -> str:
        return "echo person" if message.person and self.rng.random() < 0.3 else "echo hard"

    def _ask(self, message: Message) -> str:
        return "ask person" if message.person and self.rng.random() < 0.25 else "ask"

    def accepted(self, message: Message, said: str = "") -> Round:
        """A kind draft, or this one, and how it is received."""
        reactions = self._reactions(message, "open")
        passed = tuple(
            Verdict(self._fill(self._choose(f"pass {reaction.type}", message), message), True) for reaction in reactions
        )
        return Round(Draft("exploration", "", said or self._kind(message)), reactions, Review(passed, True))

    def _kind(self, message: Message) -> str:
        """Kind in more ways than the model is taught to write."""
        if message.severity or self.rng.random() < 0.25:
            return self.reply(message, "open", "exploration")
        opened = "kind good" if message.good else "kind open"
        sections = self.rng.choice(
            (
                (opened,),
                (opened, "kind ask"),
                (opened, "kind more"),
                ("kind more", "kind ask"),
                (opened, "kind more", "ask"),
            )
        )
        return self._joined([self._fill(self._choose(section, message), message) for section in sections])

    def refused(self, message: Message, phase: Phase, said: str = "") -> Round:
        """A draft with a flaw, or this one, the reactions of someone it hurts, and the review that refuses it."""
        flaw = self.rng.choice(FLAWS[:-1])
        if message.severity and self.rng.random() < 0.7:
            flaw = "unsafe"
        sentences = [self._fill(self._choose(f"bad {flaw}", message), message)]
        echo = "echo good" if message.good else "echo hard"
        if said:
            sentences = [said]
        elif self.rng.random() < 0.3:
            echo = self.rng.choice((echo, "kind good" if message.good else "kind open"))
            sentences.insert(0, self._fill(self._choose(echo, message), message))
        elif self.rng.random() < 0.35:
            sentences.append(self._fill(self._choose(f"bad {flaw}", message), message))
        strategy = self._fill(self._choose(f"strategy {phase}", message), message)
        reactions = tuple(
            Reaction(kind, self._fill(self._choose(f"hurt {kind}", message), message)) for kind in self._kinds(0.8)
        )
        verdicts = tuple(
            Verdict(self._fill(self._choose(f"pass {reaction.type}", message), message), True)
            if reaction.type == "silent" and self.rng.random() < 0.1
            else Verdict(self._fill(self._choose(f"fail {flaw}", message), message), False)
            for reaction in reactions
        )
        mend, safe = (self._fill(self._choose(f"{what} {flaw}", message), message) for what in ("mend", "safe"))
        draft = Draft(phase, strategy, self._joined(list(dict.fromkeys(sentences))))
        return Round(draft, reactions, Review(verdicts, False, mend, safe))

    def _reactions(self, message: Message, move: str) -> tuple[Reaction, ...]:
        angry = message.labels[0].group is Group.ANGER
        reactions = []
        for kind in self._kinds(0.0 if move in ("bye", "greet") else 0.7 if angry else 0.3):
            section = f"react {kind}"
            if kind == "normal" and message.severity:
                section = "react risk"
            elif move in ("bye", "greet"):
                section = f"react {move}"
            elif kind == "normal" and message.good:
                section = "react normal good"
            reactions.append(Reaction(kind, self._fill(self._choose(section, message), message)))
        return tuple(reactions)

    def _kinds(self, hostile: float) -> tuple[ReactionType, ...]:
        if self.rng.random() >= hostile:
            return ("normal", "silent", "sentimental")
        return ("normal", self.rng.choice(("silent", "sentimental")), "hostile")

    def _analysis(self, message: Message, memory: EmotionMemory | None, section: str | None) -> EmotionAnalysis:
        section = section or ("why risk" if message.severity >= Severity.IDEATION else "why")
        why = self._fill(self._choose(section, message), message)
        if memory is None or memory.labels is None:
            return EmotionAnalysis(message.labels, why)
        way = direction(memory.labels, message.labels)
        change = self._change("change", message, memory)
        trend = self._choose(f"trend {way}", message)
        shift = self._fill(self._choose(f"shift {way}", message), message)
        return EmotionAnalysis(message.labels, why, change, trend, shift)

    def _change(self, section: str, message: Message, memory: EmotionMemory | None) -> str:
        old = self._names(memory.labels) if memory and memory.labels else ""
        return self._choose(section, message).format(old=old, new=self._names(message.labels))

    def _thinking(self, message: Message, memory: EmotionMemory | None, phase: Phase, strategy: str) -> str:
        shift = self._change("think change" if memory else "think first", message, memory)
        risk = self._choose("think alert" if message.severity else "think calm", message)
        named = {"shift": shift, "phase": PHASES[self.words.language][phase], "plan": strategy, "risk": risk}
        return "\n".join(line.format(x=message.thing, **named) for line in self.words.phrases["think"])

    # Words.

    def _choose(self, section: str, message: Message) -> str:
        """A phrase of the section that needs nothing the message lacks."""
        phrases = self.words.phrases[section]
        usable = [
            phrase
            for phrase in phrases
            if (message.person or ("{p}" not in phrase and "{dp}" not in phrase))
            and (message.clauses or "{q}" not in phrase)
        ]
        return self.rng.choice(usable or [phrase for phrase in phrases if "{p}" not in phrase])

    def _fill(self, phrase: str, message: Message) -> str:
        label = message.labels[0]
        english = self.words.language == "en"
        noun = self.words.feelings[label]
        person = message.person or ""
        values = {
            "x": message.thing,
            "dx": message.named,
            "p": person,
            "dp": f"your {person}" if english else f"你的{person}" if len(person) > 1 else person,
            "q": self.rng.choice(message.clauses) if "{q}" in phrase else "",
            "noun": noun,
            "adj": label.name("en") if english else noun,
            "adjs": self._names(message.labels),
            "step": "",
        }
        if "{step}" in phrase:
            step = self.rng.choice((*message.steps, self.rng.choice(self.words.phrases["steps"])))
            values["step"] = step.format(x=message.thing, p=person)
        return phrase.format(**values)

    def _names(self, labels: Sequence[Label]) -> str:
        joint = " and " if self.words.language == "en" else "、"
        return joint.join(label.name(self.words.language) for label in labels)

    def _joined(self, sentences: Sequence[str]) -> str:
        if self.words.language == "zh":
            return "".join(sentences)
        return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def direction(old: Sequence[Label], new: Sequence[Label]) -> str:
    """Where the mood went. Less joy is no sinking."""
    before, after = valence(old), valence(new)
    return "up" if after > before else "down" if after < min(before, 0) else "same"


def repeats(text: str, language: str, n: int = 4) -> bool:
    """Whether any n-gram (of words in English, of characters in Chinese) occurs twice."""
    units = re.findall(r"[\w']+", text.lower()) if language == "en" else re.findall(r"[\u4e00-\u9fff]", text)
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
    return len(grams) != len(set(grams))


def write(rng: random.Random, words: Lexicon, sentences: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The sentences as a message, as carefully or carelessly typed as people do; and its spans that can be quoted."""
    if words.language == "zh":
        joint, end = rng.choice(("，", "，", "。")), rng.choice(("。", "。", "", "！", "..."))
        clauses = list(sentences)
        parts = [part for clause in clauses for part in clause.split("，") if not part.startswith("我照你")]
        quotable = [part for part in parts if 4 <= len(part) <= 15]
    else:
        joint, end = rng.choice((". ", ". ", ", ", " and ", "! ")), rng.choice((".", ".", "", "!", "..."))
        clauses = list(sentences)
        if rng.random() < 0.8:
            clauses = [c[:1].upper() + c[1:] if i == 0 or joint in (". ", "! ") else c for i, c in enumerate(clauses)]
        if rng.random() < 0.1:
            clauses = [clause.replace("'", "") for clause in clauses]
        parts = [part for clause in clauses for part in clause.split(", ") if part != "as you said"]
        quotable = [part for part in parts if 2 <= len(part.split()) <= 9]
    return joint.join(clauses) + end, tuple(quotable)


def opening(rng: random.Random, words: Lexicon, topic: Topic, *, risky: bool) -> Message:
    """A first message on this topic. Things of other topics and of none keep the reader honest."""
    thing, person, event = rng.choice(topic.things), rng.choice(topic.people), rng.choice(topic.events)
    form = rng.random()
    if form < 0.3:
        thing = rng.choice((rng.choice(words.nouns), rng.choice(rng.choice(words.topics).things)))
    elif form < 0.4:
        thing, event = person, rng.choice(words.phrases["person good" if topic.good else "person"])
    if rng.random() < 0.1 and thing != person:
        thing = rng.choice(_MODIFIERS[words.language]) + thing
    fitting = _GOOD if topic.good else _HARD
    labels = list(topic.labels[:1] if rng.random() < 0.5 else topic.labels)
    sentences = [event]
    severity = Severity.NONE
    felt = rng.random() < 0.7 or thing == person
    if felt:
        labels = [rng.choice(topic.labels) if rng.random() < 0.5 else rng.choice(fitting)]
        sentences.append(rng.choice(words.phrases[f"feel {labels[0].name()}"]))
        if rng.random() < 0.3:
            labels.append(rng.choice(fitting))
            sentences.append(rng.choice(words.phrases[f"feel {labels[-1].name()}"]))
    if risky:
        section, severity = rng.choice(_RISKS)
        labels = [Label(Group.SADNESS, rng.choice((2, 3)))]
        del sentences[1:]
        sentences.append(rng.choice(words.phrases[f"feel {section}"]))
    elif rng.random() < 0.4:
        sentences.append(rng.choice(words.phrases["good details" if topic.good else "details"]))
    if rng.random() < 0.2:
        rng.shuffle(sentences)
    if felt and len(sentences) > 1 and form > 0.95:
        sentences.remove(event)
        event, thing = "", words.feelings[labels[0]]
    filled = [sentence.format(x=thing, p=person) for sentence in sentences]
    text, clauses = write(rng, words, filled)
    with_person = thing != person and any("{p}" in sentence for sentence in sentences)
    own = "my {x}" in event or "our {x}" in event
    return Message(
        text,
        clauses,
        tuple(distinct(labels)),
        thing,
        thing if words.language == "zh" else f"your {thing}" if own else f"the {thing}",
        person if with_person else None,
        severity,
        topic.good,
        tuple(step for step in topic.steps if with_person or "{p}" not in step),
    )


def scene(rng: random.Random, words: Lexicon) -> Message:
    """A first message whose emotion follows from what is told."""
    label = rng.choice(list(words.scenes))
    told = rng.choice(words.scenes[label])
    found = re.search(r"(my |our |我的)?\{(.*?)\}", told)
    assert found is not None, told
    thing, good = found[2], label in _GOOD
    sentences = [told.replace("{", "").replace("}", "")]
    if rng.random() < 0.25:
        sentences.append(rng.choice(words.phrases[f"feel {label.name()}"]))
    if rng.random() < 0.2:
        details = [line for line in words.phrases["good details" if good else "details"] if "{p}" not in line]
        sentences.append(rng.choice(details))
    text, clauses = write(rng, words, sentences)
    named = thing if words.language == "zh" else f"your {thing}" if found[1] else f"the {thing}"
    return Message(text, clauses, (label,), thing, named, good=good)


def greeting(rng: random.Random, words: Lexicon) -> Message:
    """A seeker who only says hello."""
    thing = rng.choice(words.phrases["hello"])
    text = thing + rng.choice(("", ".", "!") if words.language == "en" else ("", "。", "！"))
    return Message(text, (), (Label(Group.JOY, 1),), thing, thing)


_RISKS = (
    ("risk", Severity.IDEATION),
    ("risk", Severity.IDEATION),
    ("indicator", Severity.INDICATOR),
    ("past", Severity.BEHAVIOR),
)
_MODIFIERS = {
    "en": ("old ", "new ", "last ", "first ", "second ", "big ", "long ", "whole "),
    "zh": ("这次的", "新的", "上次的", "最近的"),
}
