"""The load: conversations, replayed. The counselor's turns are those of the data, so that prompts are fixed."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from psychechat import language, prompts
from psychechat.conversation import Conversation, StageInputs, Utterance
from psychechat.emotion import Language
from psychechat.engines.base import StageName
from psychechat.policy import Policy
from psychechat.safety import crisis
from tests.support.messages import ORDINARY

MIX = Path(__file__).resolve().parents[3] / "shared" / "data" / "loadtest_mix" / "conversations.jsonl.gz"
"""Beside the repository, and no part of it."""

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Turn:
    """The conversation up to the seeker's newest message."""

    conversation: Conversation

    @property
    def newest(self) -> str:
        return self.conversation.newest

    @cached_property
    def language(self) -> Language:
        return language.choose(self.conversation, "en")

    def messages(self) -> Messages:
        """As a client of ours sends it."""
        roles = {"seeker": "user", "counselor": "assistant"}
        return [{"role": roles[u.speaker], "content": u.text} for u in self.conversation.utterances]

    @cached_property
    def prompt(self) -> Messages:
        """What our server makes of it for LLM Mode, so that a plain server computes the same tokens."""
        brief = StageInputs(self.conversation)
        messages = _pack(self.language).messages(StageName.REPLY, brief)
        return [{"role": message.role, "content": message.content} for message in messages]


@dataclass(frozen=True)
class Session:
    """One person's conversation: its turns, in order."""

    name: str
    turns: tuple[Turn, ...]

    def part(self, first: int, last: int) -> "Session":
        """Turns `first` to `last`, counted from 1."""
        return Session(self.name, self.turns[first - 1 : last])


@cache
def _pack(name: Language) -> prompts.Pack:
    return prompts.load(name)


def load(path: Path | None) -> list[Session]:
    """Those of the file, or of `MIX`, or each everyday message of ours as a conversation of one turn.

    Without those in which the phrase backstop finds cause for alarm: a crisis takes another way on every server, so it
    would be no comparison. Raises FileNotFoundError if `path` names no file.
    """
    if path is None and not MIX.is_file():
        messages = [text for texts in ORDINARY.values() for text in texts]
        rows = [{"id": str(n), "turns": [{"role": "seeker", "text": text}]} for n, text in enumerate(messages)]
    else:
        with gzip.open(path or MIX, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    sessions = [session(row) for row in rows]
    return [session for session in sessions if session.turns and not _alarming(session)]


def session(row: dict[str, Any]) -> Session:
    """A row of the data. What one side says in a row is one utterance; a reply to nothing is left out."""
    utterances: list[Utterance] = []
    for turn in row["turns"]:
        text = turn["text"].strip()
        if not text or (not utterances and turn["role"] != "seeker"):
            continue
        if utterances and utterances[-1].speaker == turn["role"]:
            utterances[-1] = Utterance(turn["role"], f"{utterances[-1].text}\n{text}")
        else:
            utterances.append(Utterance(turn["role"], text))
    ends = [index for index, utterance in enumerate(utterances, 1) if utterance.speaker == "seeker"]
    return Session(row["id"], tuple(Turn(Conversation(tuple(utterances[:end]))) for end in ends))


def pick(sessions: Sequence[Session], count: int, turns: int, *, seed: str, characters: int = 2400) -> list[Session]:
    """So many conversations with their first `turns` turns, of at most so many characters, the same for a seed.

    Where there are too few that long, shorter ones and then the same ones again.
    """
    short = [s.part(1, turns) for s in sessions]
    short = [s for s in short if sum(len(u.text) for u in s.turns[-1].conversation.utterances) <= characters]
    random.Random(seed).shuffle(short)
    short.sort(key=lambda s: -len(s.turns))
    return list(_first(short, count))


def chained(sessions: Sequence[Session], turns: int, count: int) -> list[Session]:
    """So many conversations of so many turns, each made of several in one language, the same ones each time."""
    made: list[Session] = []
    for spoken in ("zh", "en"):
        utterances: tuple[Utterance, ...] = ()
        for session in sessions:
            # The demo's counselor loses its way in prompts of two thousand tokens; these end with half as many.
            if len(session.turns) < 4 or session.turns[0].language != spoken or _characters(session) > 35:
                continue
            utterances += session.turns[-1].conversation.utterances[:-1]
            if len(utterances) >= 2 * turns:
                ends = range(1, 2 * turns, 2)
                made.append(
                    Session(f"chained {len(made)}", tuple(Turn(Conversation(utterances[:end])) for end in ends))
                )
                utterances = ()
            if len(made) == count:
                return made
    return made


def _characters(session: Session) -> float:
    """Of an utterance, on average."""
    utterances = session.turns[-1].conversation.utterances
    return sum(len(utterance.text) for utterance in utterances) / len(utterances)


def _first(sessions: Sequence[Session], count: int) -> Iterator[Session]:
    for number in range(count):
        yield sessions[number % len(sessions)]


def _alarming(session: Session) -> bool:
    backstop = Policy().crisis.backstop
    return any(crisis.alarm(turn.newest, backstop) for turn in session.turns)
