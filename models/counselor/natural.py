"""What real people and published dialogues add: openings and drafts, to be read by the model, never written.

Everything comes from the folder of prepared data sets (`shared/data` beside the repository). What is to be answered to
them is written by our generator. Openings: BRIGHTER, GoEmotions (with their labels), CounselChat (questions),
SmileChat, CPsyCoun. Drafts to judge: counselors' words of the last three; harsh and warm remarks of GoEmotions and
BRIGHTER that speak to somebody.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from models.counselor.architecture import ROOT
from models.counselor.corpus import lexicon
from models.counselor.corpus.lexicon import Lexicon
from models.counselor.corpus.story import Message
from psychechat.emotion import Group, Label, Language, distinct

DATA = Path(os.environ.get("PSYCHECHAT_DATA", ROOT.parent / "shared" / "data"))
Split = Literal["train", "dev"]

UNWANTED = re.compile(
    r"\d{4,}|https?:|www\.|@|\[|热线|电话号|微信|公众号|咨询师|答主|题主|楼主|"
    r"suicid|kill|\bdie|\bdead|death|overdose|cutting|rape|sex|porn|fuck|shit|bitch|nigg|cunt|dick|hotline|"
    r"自杀|自残|割腕|轻生|跳楼|去死|想死|不想活|性侵|强奸|强暴|做爱|出轨对象",
    re.IGNORECASE,
)
"""Contact data, talk about the medium, and what belongs to the crisis path, which the synthetic part teaches."""

_OWN = re.compile(r"\b(my|the) ([a-z]{4,14})\b")
_VAGUE = frozenset(
    re.findall(
        "[a-z]+",
        "same other most first last next best only very more whole fact that this then there when what which thing "
        "things moment time rest right wrong worst better former latter middle ones others second full main such like "
        "just also even with from have been about really still self entire person people world kind sort point matter "
        "favorite favourite life guess current past new only opinion sense little personal",
    )
)
_ENGLISH_FEELINGS = {
    "anx": "worried", "worr": "worried", "stress": "worried", "afraid": "afraid", "scared": "afraid",
    "panic": "afraid", "sad": "sad", "cry": "sad", "hurt": "sad", "depress": "down", "lonely": "down",
    "tired": "bored", "hate": "loathing", "angry": "angry", "mad at": "angry", "annoy": "annoyed",
    "confus": "puzzled", "don't know": "puzzled", "happy": "happy", "love": "trusting", "miss": "sad",
    "grie": "grieving",
}  # fmt: skip
_CHINESE_FEELINGS = {
    "焦虑": "担心", "担心": "担心", "紧张": "担心", "压力": "担心", "害怕": "恐惧", "恐惧": "恐惧", "难过": "悲伤",
    "伤心": "悲伤", "痛苦": "悲伤", "哭": "悲伤", "低落": "伤感", "抑郁": "伤感", "失望": "伤感", "迷茫": "不解",
    "困惑": "不解", "生气": "生气", "愤怒": "生气", "烦": "烦躁", "讨厌": "厌恶", "恨": "憎恨", "累": "厌倦",
    "无聊": "厌倦", "开心": "快乐", "高兴": "快乐",
}  # fmt: skip


def available() -> bool:
    return (DATA / "smilechat").is_dir()


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@cache
def openings(language: Language, split: Split) -> list[Message]:
    """First messages that name a thing our generator can take up."""
    words = lexicon.load(language)
    found = english(words, split) if language == "en" else chinese(words, split)
    return list(dict.fromkeys(found))


def english(words: Lexicon, split: Split) -> Iterator[Message]:
    for name in (f"brighter/en_{split}", f"goemotions/{split}"):
        for text, labels in _felt(name):
            if re.search(r"\b(I|my|me)\b", text):
                yield from _english(words, text, labels)
    for row in rows(f"counsel_chat/{split}"):
        for text in (row["title"], *re.split(r"(?<=[.!?])\s+", row["question"])):
            labels = [Label.parse(label) for cue, label in _ENGLISH_FEELINGS.items() if cue in text.lower()]
            yield from _english(words, " ".join(text.split()), labels)


def _english(words: Lexicon, text: str, labels: list[Label]) -> Iterator[Message]:
    if not 4 <= len(text.split()) <= 32 or not text.isascii() or UNWANTED.search(text) or not labels:
        return
    named = [(which, noun) for which, noun in _OWN.findall(text.lower()) if noun not in _VAGUE]
    if not named:
        return
    which, noun = next(((w, n) for w, n in named if w == "my"), named[0])
    people = {person for topic in words.topics for person in topic.people}
    person = next((n for w, n in named if w == "my" and n in people and n != noun), None)
    clauses = tuple(part.strip() for part in re.split(r"[.!?,;]", text) if 2 <= len(part.split()) <= 9)
    yield _message(text, clauses, labels, noun, f"your {noun}" if which == "my" else f"the {noun}", person)


def chinese(words: Lexicon, split: Split) -> Iterator[Message]:
    things = sorted({thing for topic in words.topics for thing in topic.things} | set(words.nouns), key=len)[::-1]
    people = sorted({person for topic in words.topics for person in topic.people}, key=len)[::-1]
    for name in (f"cpsycoun/{split}", f"smilechat/{split}"):
        for row in rows(name):
            text = short(row["turns"][0]["text"], 60)
            labels = [Label.parse(label) for cue, label in _CHINESE_FEELINGS.items() if cue in text]
            thing = next((thing for thing in things if len(thing) > 1 and thing in text), None)
            if not text or thing is None or not labels or UNWANTED.search(text):
                continue
            clauses = tuple(part for part in re.split(r"[，。！？、；,.!?\s]", text) if 4 <= len(part) <= 14)
            person = next((person for person in people if len(person) > 1 and person in text and person != thing), None)
            yield _message(text, clauses, labels, thing, thing, person)


def _message(
    text: str, clauses: tuple[str, ...], labels: list[Label], thing: str, named: str, person: str | None
) -> Message:
    kept = tuple(distinct(labels)[:2])
    quotable = tuple(clause for clause in clauses if '"' not in clause and "“" not in clause)
    return Message(text, quotable, kept, thing, named, person, good=kept[0].valence > 0)


def short(text: str, limit: int) -> str:
    """The first sentences that fit; empty if not even one does."""
    kept = ""
    for sentence in re.findall(r"[^。！？!?\n]+[。！？!?]?", text.replace(" ", "")):
        if len(kept) + len(sentence) > limit:
            break
        kept += sentence
    return kept


def _felt(name: str) -> Iterator[tuple[str, list[Label]]]:
    for row in rows(name):
        text = " ".join(row["text"].split())
        sure = {group: level for group, level in row["levels"].items() if row.get("conf", {}).get(group) != "weak"}
        labels = [
            Label(Group(group), level) for group, level in sorted(sure.items(), key=lambda item: -item[1]) if level
        ]
        if labels and not UNWANTED.search(text):
            yield text, labels


@cache
def drafts(language: Language, split: Split, *, kind: bool) -> list[str]:
    """What somebody said to somebody: counselors and warm remarks, or harsh ones."""
    found = []
    for text, labels in _felt(f"goemotions/{split}" if language == "en" else f"brighter/zh_{split}"):
        warm = labels[0].group in (Group.TRUST, Group.JOY) or labels[0] == Label(Group.ANTICIPATION, 1)
        harsh = labels[0].group in (Group.ANGER, Group.DISGUST)
        if (warm if kind else harsh) and re.search(r"\byou\b|你", text, re.IGNORECASE) and 12 < len(text) < 160:
            found.append(text)
    if not kind:
        return found
    if language == "en":
        for row in rows(f"counsel_chat/{split}"):
            sentences = re.findall(r"[^.!?]+[.!?]", " ".join(row["answer"].split()))
            found += [" ".join(sentences[i : i + 2]).strip() for i in (0, 2) if len(sentences) > i + 1]
        return [text for text in found if len(text) < 220 and not _PUSHING.search(text) and not UNWANTED.search(text)]
    for name in (f"cpsycoun/{split}", f"smilechat/{split}"):
        for row in rows(name):
            found += [short(turn["text"], 70) for turn in row["turns"][1:6:2] if not UNWANTED.search(turn["text"])]
    return [text for text in found if len(text) > 7 and not _PUSHING.search(text)]


_PUSHING = re.compile(
    r"\b(should|must|have to|need to|disorder|depression|fault|blame|wrong|lazy|ridiculous)\b|"
    r"应该|必须|一定要|不要|抑郁症|焦虑症|障碍|都怪|怪你|错误|不够努力",
    re.IGNORECASE,
)
"""A draft with these may be kind; it is no clear example of it."""
