"""The labelled texts that the heads are trained and measured on, with what each set does not annotate masked.

The public sets lie beside the repository, in `../shared/data`; they are not part of it. The risk sets hold real
people's words: nothing here prints or logs a text. What was written for this project is read by `models.written`.
"""

import gzip
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models import written
from models.sentences import sentences
from models.written import Split
from psychechat.emotion import Group, Label
from psychechat.risk import CRISIS
from psychechat.safety.risk_questions import Answered

ROOT = Path(__file__).resolve().parents[2] / "shared" / "data"
GROUPS = tuple(Group)

MASKED = -1
KIND, HURTING = 0, 1
PRESENT = 4
"""An emotion target besides 0 (absent) and 1, 2, 3 (low, mid, high): there, at an unknown intensity."""
WEAK = 5
"""As PRESENT, where the set's own label only suggests the group (love: joy and trust)."""

_SMILECHAT = {"train": 4000, "dev": 500}
"""Enough low-risk contrast; every text costs an encoder pass on one CPU core."""
_EVERYDAY = ("everyday", "good_news", "anger", "idiom", "despair", "grief")
"""Kinds of lines of no risk that stand around another line, as everyday talk does."""

_WORRYING = (
    *("suicid", "kill", "die", "dead", "death", "hurt myself", "harm", "cut", "overdose", "end it", "hang", "jump"),
    *("死", "自杀", "自残", "割", "轻生", "不想活", "跳楼", "遗书", "结束生命", "活着", "伤害自己", "解脱"),
)
"""Texts without a risk label count as low risk only if they hold none of these."""


class DataMissing(Exception):
    """The data sets are not there; the message says what to fetch."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its targets: one an emotion group (MASKED, 0..3, PRESENT or WEAK) and a severity (MASKED or 0..4).

    Or a counselor's draft after a seeker's text, with HURTING or KIND.
    """

    text: str
    source: str
    split: Split
    emotion: tuple[int, ...] = (MASKED,) * len(GROUPS)
    risk: int = MASKED
    weight: float = 1.0
    risk_weight: float = 1.0
    tags: tuple[str, ...] = field(default=())
    core: str = ""
    """What the text is a variant of, if it is one."""
    marked: tuple[int, int] | None = None
    """Characters of the one sentence that the severity is of; the others' is 0. None: it is the whole text's."""
    by_sentence: bool = False
    """Whether each sentence's severity is known: `marked` is, or none has any."""
    draft: str = ""
    """What the counselor would answer."""
    hurts: int = MASKED
    """KIND or HURTING, of the draft."""

    @property
    def unit(self) -> str:
        """Texts of one unit belong on one side of every split."""
        return self.core or self.text


def load(seed: int, root: Path = ROOT) -> list[Example]:
    """All examples of the train and dev parts, in an order that depends on the seed only."""
    if not (root / "LABELS.json").is_file():
        raise DataMissing(
            f"No data sets at {root}. Training needs psysuicide, goemotions, xed, brighter, psychechat, counsel_chat "
            "and smilechat as gzipped JSON lines, and LABELS.json. The heads that ship with the project are trained."
        )
    annotated = json.loads((root / "LABELS.json").read_text())["annotated_groups"]
    chance = random.Random(seed)
    examples: list[Example] = []
    for split in ("train", "dev"):
        examples += _psysuicide(root, split)
        examples += _goemotions(root, split)
        for language in ("en", "zh"):
            examples += _xed(root, split, language)
        for language in ("en", "zh"):
            examples += _brighter(root, split, language, annotated)
        examples += _psychechat(root, split)
        examples += _counsel_chat(root, split)
        turns = list(_smilechat(root, split))
        examples += chance.sample(turns, min(_SMILECHAT[split], len(turns)))
        examples += _dialogue_safety(root, split)
    examples += _own(seed)
    examples += _lines()
    examples += _messages()
    examples += _labelled()
    examples += _composed(seed)
    examples += _exchanges(seed)
    examples += _situations(seed)
    return [_as_low_risk(example) for example in examples]


def _rows(root: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(root / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _levels(levels: dict[str, int], annotated: Sequence[str]) -> tuple[int, ...]:
    return tuple(levels.get(group, 0) if group in annotated else MASKED for group in map(str, GROUPS))


def _psysuicide(root: Path, split: Split) -> Iterator[Example]:
    for row in _rows(root, f"psysuicide/{split}"):
        yield Example(
            row["text"], "psysuicide", split, risk=row["risk_level"], risk_weight=6.0, tags=(row["data_source"],)
        )


def _goemotions(root: Path, split: Split) -> Iterator[Example]:
    """Its labels name kinds, not strengths: intensities are left to the sets whose people rated them."""
    known = {"strong": PRESENT, "weak": WEAK}
    for row in _rows(root, f"goemotions/{split}"):
        emotion = tuple(known[row["conf"][group]] if group in row["conf"] else 0 for group in map(str, GROUPS))
        yield Example(row["text"], "goemotions", split, emotion)


def _xed(root: Path, split: Split, language: str) -> Iterator[Example]:
    weight = 1.0 if language == "en" else 0.3  # the Chinese labels are projected through subtitle alignment
    for row in _rows(root, f"xed/{language}_{split}"):
        emotion = tuple(PRESENT if group in row["groups"] else 0 for group in map(str, GROUPS))
        yield Example(row["text"], f"xed/{language}", split, emotion, weight=weight)


def _brighter(root: Path, split: Split, language: str, annotated: dict[str, list[str]]) -> Iterator[Example]:
    for row in _rows(root, f"brighter/{language}_{split}"):
        emotion = _levels(row["levels"], annotated[f"brighter/{language}"])
        yield Example(row["text"], f"brighter/{language}", split, emotion, weight=2.5)


def _psychechat(root: Path, split: Split) -> Iterator[Example]:
    for row in _rows(root, f"psychechat/emotion24_{split}"):
        levels = dict(zip(row["groups"], row["levels"], strict=True))
        yield Example(row["text"], "psychechat", split, _levels(levels, list(map(str, GROUPS))), weight=2.0)


@dataclass(frozen=True, slots=True)
class Turn:
    """A seeker's message in a conversation, labelled, and the messages before it."""

    conversation: int
    before: tuple[str, ...]
    newest: Example


def psychechat_turns(root: Path = ROOT) -> list[Turn]:
    """The seeker turns of all conversations of train and dev, with what the seeker itself said it felt."""
    turns = []
    for split in ("train", "dev"):
        for row in _rows(root, f"psychechat/conversations_{split}"):
            for i, turn in enumerate(row["turns"]):
                if turn["role"] == "seeker" and turn["text"]:
                    levels = dict(zip(turn["seeker_emotion_groups"], turn["seeker_emotion_levels"], strict=True))
                    emotion = _levels(levels, list(map(str, GROUPS)))
                    newest = Example(turn["text"], "psychechat", split, emotion)
                    turns.append(Turn(row["conv_id"], tuple(t["text"] for t in row["turns"][:i]), newest))
    return turns


def _counsel_chat(root: Path, split: Split) -> Iterator[Example]:
    """Openings of real questions to counsellors, none about self-harm: low risk in a counselling tone."""
    seen = set()
    for row in _rows(root, f"counsel_chat/{split}"):
        if row["question_id"] not in seen and row["topic"] != "self-harm":
            seen.add(row["question_id"])
            yield Example(str(row["turns"][0]["text"])[:300], "counsel_chat", split)


def _smilechat(root: Path, split: Split) -> Iterator[Example]:
    for row in _rows(root, f"smilechat/{split}"):
        seeker = [turn["text"] for turn in row["turns"] if turn["role"] == "seeker"]
        yield Example(str(seeker[len(seeker) // 2])[:120], "smilechat", split)


def _own(seed: int) -> Iterator[Example]:
    """The project's own sentences. Only the named group is known, and that joy and its opposites exclude each other."""
    negative = {Group.FEAR, Group.SADNESS, Group.DISGUST, Group.ANGER}
    for sentence in sentences(seed):
        split: Split = "dev" if sentence.held_out else "train"
        source = f"own/{sentence.language}"
        if sentence.group is None:
            yield Example(sentence.text, source, split, risk=sentence.risk, risk_weight=1.0, core=sentence.core)
            continue
        named = Group(sentence.group)
        opposed = negative if named is Group.JOY else {Group.JOY} if named in negative else set()
        emotion = tuple(sentence.level if g is named else 0 if g in opposed else MASKED for g in GROUPS)
        yield Example(sentence.text, source, split, emotion, risk=0, weight=0.5, risk_weight=0.5, core=sentence.core)


def _lines() -> Iterator[Example]:
    """Seekers' lines that were written to be told apart. An answer is read with its question, as the server does."""
    for line in written.lines():
        yield Example(
            Answered(line.question, line.text).together if line.question else line.text,
            f"{line.group}/{line.language}",
            line.split,
            risk=line.severity,
            risk_weight=5.0,
            tags=(line.kind,),
            core=line.text,
            marked=line.marked,
            by_sentence=line.marked is not None or (line.severity == 0 and not line.question),
        )


def _messages() -> Iterator[Example]:
    """Seekers' messages without danger, with what their writers feel."""
    for message in written.messages():
        yield Example(
            message.text,
            f"messages/{message.language}",
            message.split,
            _named(message.emotions),
            risk=0,
            weight=5.0,
            risk_weight=1.0,
            by_sentence=True,
        )


def _labelled() -> Iterator[Example]:
    """Seekers' messages, most without danger, with severity and what their writers feel."""
    for message in written.labelled():
        yield Example(
            message.text,
            f"labelled/{message.language}",
            message.split,
            _named(message.emotions),
            risk=message.severity,
            weight=8.0,
            risk_weight=10.0,
            by_sentence=message.severity == 0,
        )


def _composed(seed: int) -> Iterator[Example]:
    """Lines among everyday ones of the same language and part: every crisis once, and as many that are none."""
    for language in ("en", "zh"):
        for split in ("train", "dev"):
            part = [x for x in written.lines() if (x.language, x.split) == (language, split) and not x.question]
            part = [x for x in part if x.marked is None and x.group == "lines"]
            around = [x.text for x in part if x.severity == 0 and x.kind in _EVERYDAY]
            if not around:
                continue
            chance = random.Random(f"{seed} {language} {split}")
            crises = [x for x in part if x.severity >= CRISIS]
            others = [x for x in part if x.severity < CRISIS]
            for line in (*crises, *chance.sample(others, min(len(crises), len(others)))):
                before = chance.sample(around, chance.choice((0, 1, 1, 2, 3)))
                after = chance.sample(around, chance.choice((0, 1, 1, 2, 3)) if before else chance.choice((1, 2, 3)))
                start = sum(len(_ended(text, language)) for text in before)
                text = "".join(_ended(text, language) for text in (*before, line.text, *after)).strip()
                yield Example(
                    text,
                    f"composed/{language}",
                    split,
                    risk=line.severity,
                    risk_weight=2.0,
                    core=line.text,
                    marked=(start, start + len(line.text)),
                    by_sentence=True,
                )


def _ended(text: str, language: str) -> str:
    """As one sentence of several."""
    stop, space = (".", " ") if language == "en" else ("。", "")
    text = text.rstrip()
    return text + ("" if text[-1:] in ".!?。！？…~" else stop) + space


def _named(labels: Iterable[Label]) -> tuple[int, ...]:
    levels: dict[str, int] = {str(label.group): label.intensity for label in labels}
    return _levels(levels, list(map(str, GROUPS)))


def _exchanges(seed: int) -> Iterator[Example]:
    """The seekers' newest messages; and replies, hurting twins, and joyful replies to what is no joy."""
    chance = random.Random(seed)
    told = written.exchanges()
    joyful = {
        (language, split): [
            x.reply for x in told if (x.language, x.split) == (language, split) and x.emotions[0].group is Group.JOY
        ]
        for language in ("en", "zh")
        for split in ("train", "dev")
    }
    for exchange in told:
        said, part = exchange.turns[-1], exchange.split
        # A short answer after a question says little alone: its severity is the conversation's.
        alone = len(exchange.turns) == 1 or len(said) > 40
        yield Example(
            said,
            f"exchanges/{exchange.language}",
            part,
            _named(exchange.emotions),
            risk=int(exchange.risk) if alone else MASKED,
            risk_weight=3.0,
            weight=1.0 if alone else 0.5,
            by_sentence=alone and exchange.risk == 0,
        )
        source = f"drafts/{exchange.language}"
        yield Example(said, source, part, draft=exchange.reply, hurts=KIND, core=exchange.turns[0])
        if exchange.twin:
            yield Example(said, source, part, draft=exchange.twin, hurts=HURTING, core=exchange.turns[0])
        glad = joyful[exchange.language, part]
        sad = exchange.emotions[0].group in (Group.SADNESS, Group.FEAR, Group.ANGER) or exchange.risk >= CRISIS
        if sad and glad and chance.random() < (1.0 if exchange.risk >= CRISIS else 0.15):
            yield Example(said, source, part, draft=chance.choice(glad), hurts=HURTING, core=exchange.turns[0])


def _situations(seed: int) -> Iterator[Example]:
    """The bank's lines with their severity, replies that are right for them, and joyful ones that are not."""
    chance = random.Random(seed)
    told = written.situations()
    glad = [reply for situation in told if situation.valence == "positive" for reply in situation.reply_zh]
    for situation in told:
        for line in situation.seeker_zh:
            part = written.split_of(line)
            yield Example(
                line, "bank/zh", part, risk=int(situation.risk), by_sentence=situation.risk == 0, risk_weight=1.0
            )
            if chance.random() < 0.25:
                yield Example(line, "drafts/zh", part, draft=chance.choice(situation.reply_zh), hurts=KIND, core=line)
            if situation.valence == "negative" and glad and chance.random() < (0.5 if situation.risk else 0.05):
                yield Example(line, "drafts/zh", part, draft=chance.choice(glad), hurts=HURTING, core=line)


def _dialogue_safety(root: Path, split: Split) -> Iterator[Example]:
    """Replies that people judged, Chinese: safe, or unfit for somebody in need."""
    for row in _rows(root, f"dialogue_safety/{split}"):
        said = [turn["text"] for turn in row["turns"] if turn["role"] == "seeker"]
        if said and row["response_text"]:
            yield Example(
                said[-1],
                "dialogue_safety",
                split,
                draft=row["response_text"],
                hurts=KIND if row["safe"] else HURTING,
                weight=0.3,
            )


def _as_low_risk(example: Example) -> Example:
    """Texts from sets without risk labels serve as low risk, lightly weighted, if no word in them gives pause."""
    if example.draft or example.risk != MASKED or any(word in example.text.casefold() for word in _WORRYING):
        return example
    if example.source in ("counsel_chat", "smilechat"):
        return replace(example, risk=0, risk_weight=0.5, by_sentence=True)
    if example.source.startswith("exchanges"):
        return example
    return replace(example, risk=0, risk_weight=0.1) if example.split == "train" else example
