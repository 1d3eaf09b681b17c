"""Turns about a situation of the bank: any line of it, a reply to how it feels, and general words for the other stages.

A model that is too small to understand a detail is taught words that are right without any (`felt`). The bank's own
replies are right for their situation alone: they are drafts to imagine reactions to and to review.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from models import written
from models.counselor import felt, situations
from models.counselor.situations import OPEN, Labelled
from models.counselor.turn_record import TurnRecord
from models.counselor.written_turns import analysis_of, thinking_of
from models.written import DATA, Situation
from psychechat.conversation import (
    Act,
    Conversation,
    Draft,
    EmotionMemory,
    Reaction,
    ReactionType,
    Review,
    Round,
    Utterance,
    Verdict,
)
from psychechat.emotion import Group, Label, Language
from psychechat.risk import CRISIS, Severity

Part = Literal["reaction", "verdict", "twin", "mend", "why", "plan", "good"]
TYPES: tuple[ReactionType, ...] = ("normal", "silent", "sentimental", "hostile")
TURNS = (1, 1, 1, 2, 2, 3)
UNKNOWN = 0.3
"""Of the conversations: about what no situation is known of."""
ACTS = 0.2
"""Of the turns: a greeting, thanks, a goodbye, small talk, a question for advice, anger at the counselor."""
HEARD, MISHEARD = 0.9, 0.02
"""Of these: how often it is told; of other turns how often one is."""
JOYFUL = 0.15
"""Of the hurting drafts for what is sad: a reply that is right for good news."""


@cache
def pool() -> Mapping[tuple[Language, Part, str, bool], Sequence[str]]:
    """General words by language, part, type and whether they are about what hurts."""
    words: defaultdict[tuple[Language, Part, str, bool], list[str]] = defaultdict(list)
    for row in map(json.loads, (DATA / "pool.jsonl").read_text("utf-8").splitlines()):
        words[row["language"], row["part"], row["type"], row["hurts"]].append(row["text"])
    return words


@dataclass(frozen=True)
class Bank:
    """Replies and labelled lines by situation."""

    situations: Mapping[str, Situation]
    lines: Mapping[str, Sequence[Labelled]]

    @classmethod
    def read(cls) -> "Bank":
        """To learn from, with all that `models.counselor.situations` labelled. Raises FileNotFoundError before that."""
        return cls.of([line for line in (*situations.read(), *_said()) if written.split_of(line.text) == "train"])

    @classmethod
    def unlabelled(cls, split: written.Split) -> "Bank":
        """With its own lines alone, of which no classifier has said how they feel."""
        risks = {situation.situation: situation.risk for situation in written.situations()}
        told = [line for line in written.situation_lines() if line.split == split]
        kinds = [line for line in _said() if written.split_of(line.text) == split]
        return cls.of([*(Labelled(x.text, x.language, x.situation, (), risks[x.situation]) for x in told), *kinds])

    @classmethod
    def of(cls, labelled: Sequence[Labelled]) -> "Bank":
        lines: defaultdict[str, list[Labelled]] = defaultdict(list)
        for line in labelled:
            lines[line.situation].append(line)
        return cls({situation.situation: situation for situation in written.situations()}, lines)

    def conversation(self, rng: random.Random, language: Language) -> list[TurnRecord]:
        """Turns that stay in one situation, or end in thanks."""
        named = [name for name, lines in self.lines.items() if any(x.language == language for x in lines)]
        name = OPEN if OPEN in named and rng.random() < UNKNOWN else rng.choice(named)
        acts = [name for name in felt.ACTS if name in named]
        turns: list[TurnRecord] = []
        said: list[Utterance] = []
        memory: EmotionMemory | None = None
        for _ in range(rng.choice(TURNS)):
            about = rng.choice(acts) if acts and rng.random() < ACTS else name
            line = rng.choice([x for x in self.lines[about] if x.language == language])
            said.append(Utterance("seeker", line.text))
            turn = self.turn(rng, line, Conversation(tuple(said)), memory)
            turns.append(turn)
            said.append(Utterance("counselor", turn.reply))
            memory = EmotionMemory("", language, line.labels or None)
        return turns

    def turn(
        self, rng: random.Random, line: Labelled, conversation: Conversation, memory: EmotionMemory | None
    ) -> TurnRecord:
        language, situation = line.language, self.situations.get(line.situation)
        severity = max(line.severity, situation.risk) if situation else line.severity
        act = _heard(rng, felt.ACTS.get(line.situation)) if severity is Severity.NONE else None
        key = felt.key_of(act, line.labels, severity)
        reply, feeling = rng.choice(felt.replies(language, key)), felt.named(language, key)
        labels = line.labels or (_LIKELY[situation.valence if situation else "neutral"],)
        kind = "crisis" if severity >= CRISIS else situation.valence if situation else "neutral"
        plan, why = self._words(rng, language, "plan", kind), self._words(rng, language, "why", kind)
        draft = Draft("exploration", f"{feeling}: {plan}" if language == "en" else f"{feeling}：{plan}", reply)
        before = memory.labels if memory and memory.labels else ()
        return TurnRecord(
            conversation=conversation,
            memory=memory,
            severity=severity,
            analysis=analysis_of(language, labels, before, why, ""),
            refused=(self._refused(rng, language, kind),),
            draft=draft,
            reactions=(reactions := self._reactions(rng, language, hurts=False)),
            review=Review(tuple(self._verdict(rng, language, x.type, hurts=False) for x in reactions), True),
            thinking=thinking_of(language, labels, before, "exploration", plan, severity, reply, feeling),
            reply=reply,
            found=line.labels,
            act=act,
            judged=replace(draft, response=rng.choice(self.replies(situation, language))) if situation else draft,
        )

    def replies(self, situation: Situation | None, language: Language) -> Sequence[str]:
        if situation is None:
            return pool()[language, "good", "open", False]
        return situation.reply_zh if language == "zh" else situation.reply_en

    def _refused(self, rng: random.Random, language: Language, kind: str) -> Round:
        twins = [words for key, words in pool().items() if key[0] == language and key[1] == "twin"]
        text = rng.choice(rng.choice(twins))
        if kind in ("negative", "crisis") and rng.random() < JOYFUL:
            glad = [situation for situation in self.situations.values() if situation.valence == "positive"]
            text = rng.choice(self.replies(rng.choice(glad), language))
        reactions = self._reactions(rng, language, hurts=True)
        verdicts = tuple(self._verdict(rng, language, x.type, hurts=True) for x in reactions)
        mends = [word for key, words in pool().items() if key[:2] == (language, "mend") for word in words]
        safety = rng.choice(mends) if kind == "crisis" else ""
        review = Review(verdicts, False, rng.choice(mends), safety)
        return Round(Draft("exploration", self._words(rng, language, "plan", kind), text), reactions, review)

    def _reactions(self, rng: random.Random, language: Language, *, hurts: bool) -> tuple[Reaction, ...]:
        kinds = rng.sample(TYPES, 3)
        return tuple(Reaction(kind, rng.choice(pool()[language, "reaction", kind, hurts])) for kind in kinds)

    def _verdict(self, rng: random.Random, language: Language, kind: ReactionType, *, hurts: bool) -> Verdict:
        return Verdict(rng.choice(pool()[language, "verdict", kind, hurts]), not hurts)

    def _words(self, rng: random.Random, language: Language, part: Part, kind: str) -> str:
        return rng.choice(pool()[language, part, kind, False])


def _heard(rng: random.Random, act: Act | None) -> Act | None:
    """What a classifier takes it for."""
    if act:
        return act if rng.random() < HEARD else None
    return rng.choice(get_args(Act)) if rng.random() < MISHEARD else None


def _said() -> Iterator[Labelled]:
    """Messages that greet, thank and the like, with what a classifier may find in such few words."""
    for line in written.acts():
        if line.act:
            chance = random.Random(line.text)
            heard = chance.choice(_ANGRY if line.act == "anger" else _SLIGHT)
            yield Labelled(line.text, line.language, line.act, heard, Severity.NONE)


_SLIGHT: Sequence[tuple[Label, ...]] = (
    *((), (), (), (Label(Group.JOY, 1),), (Label(Group.JOY, 2),), (Label(Group.TRUST, 1),), (Label(Group.TRUST, 2),)),
    *((Label(Group.FEAR, 1),), (Label(Group.SADNESS, 1),), (Label(Group.TRUST, 2), Label(Group.JOY, 2))),
    *((Label(Group.SADNESS, 2),), (Label(Group.ANTICIPATION, 1),), (Label(Group.DISGUST, 1),)),
)
_ANGRY: Sequence[tuple[Label, ...]] = (
    *((), (Label(Group.ANGER, 1),), (Label(Group.ANGER, 2),), (Label(Group.DISGUST, 2),), (Label(Group.SADNESS, 1),)),
)
_LIKELY: Mapping[str, Label] = {
    "negative": Label(Group.SADNESS, 1),
    "mixed": Label(Group.FEAR, 1),
    "positive": Label(Group.JOY, 2),
    "neutral": Label(Group.JOY, 1),
}
"""Where the classifier finds nothing."""
