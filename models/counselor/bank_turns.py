"""Turns about a situation of the bank: any line of it, one of its replies, and general words for the other stages.

A model that is too small to understand a detail is taught words that are right without any.
"""

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from models import written
from models.counselor import situations
from models.counselor.situations import OPEN, Labelled
from models.counselor.turn_record import TurnRecord
from models.counselor.written_turns import analysis_of, thinking_of
from models.written import DATA, Situation
from psychechat.conversation import (
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
from psychechat.risk import CRISIS

Part = Literal["reaction", "verdict", "twin", "mend", "why", "plan", "good"]
TYPES: tuple[ReactionType, ...] = ("normal", "silent", "sentimental", "hostile")
TURNS = (1, 1, 1, 2, 2, 3)
UNKNOWN = 0.12
"""Of the conversations: about what no situation is known of."""
JOYFUL = 0.4
"""Of the hurting drafts for what is sad: a reply that is right for good news."""
FOLLOWING = ("thanks_and_goodbye", "one_word_or_dots", "small_talk")


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
        return cls.of([line for line in situations.read() if written.split_of(line.text) == "train"])

    @classmethod
    def unlabelled(cls, split: written.Split) -> "Bank":
        """With its own lines alone, of which no classifier has said how they feel."""
        risks = {situation.situation: situation.risk for situation in written.situations()}
        told = [line for line in written.situation_lines() if line.split == split]
        return cls.of([Labelled(x.text, x.language, x.situation, (), risks[x.situation]) for x in told])

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
        turns: list[TurnRecord] = []
        said: list[Utterance] = []
        memory: EmotionMemory | None = None
        for number in range(rng.choice(TURNS)):
            if number and rng.random() < 0.3:
                name = next((other for other in FOLLOWING if other in self.lines), name)
            line = rng.choice([x for x in self.lines[name] if x.language == language] or self.lines[name])
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
        reply = rng.choice(self.replies(situation, language))
        labels = line.labels or (_LIKELY[situation.valence if situation else "neutral"],)
        kind = "crisis" if situation and situation.risk >= CRISIS else situation.valence if situation else "neutral"
        plan, why = self._words(rng, language, "plan", kind), self._words(rng, language, "why", kind)
        draft = Draft("exploration", plan, reply)
        severity = situation.risk if situation else line.severity
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
            thinking=thinking_of(language, labels, before, "exploration", plan, severity, reply),
            reply=reply,
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


_LIKELY: Mapping[str, Label] = {
    "negative": Label(Group.SADNESS, 1),
    "mixed": Label(Group.FEAR, 1),
    "positive": Label(Group.JOY, 2),
    "neutral": Label(Group.JOY, 1),
}
"""Where the classifier finds nothing."""
