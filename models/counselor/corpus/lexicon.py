"""The words of the synthetic corpus, read from the text files beside this module.

`topics*.txt` holds what people talk about: a line `# topic: usual emotions`, things (`x:`), people (`p:`), events (`-`)
and small steps (`>`). `phrases.*.txt` holds what seekers and counselors say, in sections. `scenes.*.txt` holds, for
each emotion, things that happen to people who feel it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from psychechat.emotion import Label, Language

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Topic:
    name: str
    good: bool
    labels: tuple[Label, ...]
    things: tuple[str, ...]
    people: tuple[str, ...]
    events: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    language: Language
    topics: tuple[Topic, ...]
    nouns: tuple[str, ...]
    """Things of no topic: they make naming what the seeker named a matter of reading, not of memory."""
    feelings: Mapping[Label, str]
    """Each label as a noun."""
    phrases: Mapping[str, tuple[str, ...]]
    scenes: Mapping[Label, tuple[str, ...]]
    """First messages for each label, what they are about in braces. Many name no feeling."""


@cache
def load(language: Language) -> Lexicon:
    topics = _topics(f"topics.{language}.txt", good=False) + _topics(f"topics_good.{language}.txt", good=True)
    sections = _sections(f"phrases.{language}.txt")
    feelings = dict(line.split("=") for line in sections.pop("nouns"))
    return Lexicon(
        language,
        topics,
        _listed(_read(f"nouns.{language}.txt")),
        {Label.parse(name): noun for name, noun in feelings.items()},
        sections,
        {Label.parse(name): told for name, told in _sections(f"scenes.{language}.txt").items()},
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _listed(line: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in line.split(","))


def _topics(name: str, *, good: bool) -> tuple[Topic, ...]:
    topics = []
    for block in _read(name).split("# ")[1:]:
        title, *lines = block.strip().splitlines()
        topic, labels = title.split(":")
        rest = [(line[0], line[2:].strip()) for line in lines]
        lists = {mark: _listed(text) for mark, text in rest if mark in "xp"}
        topics.append(
            Topic(
                topic,
                good,
                tuple(Label.parse(label) for label in _listed(labels)),
                lists["x"],
                lists["p"],
                tuple(text for mark, text in rest if mark == "-"),
                tuple(text for mark, text in rest if mark == ">"),
            )
        )
    return tuple(topics)


def _sections(name: str) -> dict[str, tuple[str, ...]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in _read(name).splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif line:
            lines.append(line)
    return {section: tuple(lines) for section, lines in sections.items()}
