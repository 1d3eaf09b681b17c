"""What is said in this benchmark: our own lines beside this module, and data sets beside the repository.

The sets hold people's words: no text of theirs is printed, logged or kept in a result.
"""

import csv
import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from psychechat.emotion import Language

TEXTS = Path(__file__).with_name("texts")


class TextsMissing(Exception):
    """A file that a part reads is not there, or is not of its form; the message says which, and shows no text."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Lines that alternate, the seeker's first. `kind`: what it is to show, or where it is from."""

    name: str
    language: Language
    kind: str
    lines: tuple[str, ...]

    @property
    def turns(self) -> range:
        """How many lines there are up to each of the seeker's."""
        return range(1, len(self.lines) + 1, 2)


@dataclass(frozen=True, slots=True)
class Line:
    """One text with what it is to show."""

    name: str
    language: Language
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Single:
    """A text of the probe, and between which severities its reading should be."""

    text: str
    language: str
    at_least: str
    at_most: str
    kind: str


@dataclass(frozen=True, slots=True)
class Drafts:
    """Two answers to what a seeker said."""

    language: Language
    seeker: str
    kind: str
    hurting: str


# ------------------------------------------------------------------------------------------------ our own


def dialogues() -> list[Dialogue]:
    return [_dialogue("dialogues", row, row["kind"]) for row in _rows("dialogues", "id language kind turns")]


def conversations() -> list[Dialogue]:
    """Ordinary ones, half of them sad."""
    rows = _rows("conversations", "id language sad turns")
    return [_dialogue("conversations", row, "written, sad" if row["sad"] else "written") for row in rows]


def crises() -> list[Line]:
    return [_line(row) for row in _rows("crises", "id language kind text")]


def fifty() -> list[Line]:
    return [_line(row) for row in _rows("fifty", "id language kind text")]


def singles() -> list[Single]:
    """Two hundred in English, as many in Chinese, twenty in each of six languages more."""
    return _singles(_read(TEXTS / "singles.tsv"))


def messages() -> list[Dialogue]:
    """To be answered, a third of them within a conversation. Their kind is the severity of the last line."""
    rows = map(json.loads, _read(TEXTS / "messages.jsonl").splitlines())
    return [
        Dialogue(f"message {number}", row["language"], row["severity"], tuple(row["turns"]))
        for number, row in enumerate(rows, start=1)
    ]


def drafts() -> list[Drafts]:
    return [Drafts(**json.loads(row)) for row in _read(TEXTS / "drafts.jsonl").splitlines()]


def contacts() -> tuple[list[Line], list[Line]]:
    """Sentences with contacts that are made up, and sentences that may leave."""
    table = _yaml("contacts")
    if not isinstance(table, Mapping) or not {"made_up", "plain"} <= table.keys():
        raise TextsMissing(f"{TEXTS / 'contacts.yaml'} holds two lists, `made_up` and `plain`.")
    made_up, plain = (
        [_line(row) for row in _checked("contacts", table[name], "id language kind text")]
        for name in ("made_up", "plain")
    )
    return made_up, plain


def _line(row: Mapping[str, Any]) -> Line:
    return Line(str(row["id"]), row["language"], str(row["kind"]), row["text"])


def _dialogue(file: str, row: Mapping[str, Any], kind: str) -> Dialogue:
    if not row["turns"] or not all(isinstance(line, str) and line.strip() for line in row["turns"]):
        raise TextsMissing(f"{TEXTS / file}.yaml: the turns of {row['id']} are no list of lines.")
    return Dialogue(str(row["id"]), row["language"], kind, tuple(row["turns"]))


def _rows(name: str, keys: str) -> list[Mapping[str, Any]]:
    return _checked(name, _yaml(name), keys)


def _checked(name: str, rows: Sequence[Any], keys: str) -> list[Mapping[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) or (missing := set(keys.split()) - row.keys()):
            lacks = f"lacks {', '.join(sorted(missing))}" if isinstance(row, Mapping) else "is no mapping"
            raise TextsMissing(f"{TEXTS / name}.yaml: row {number} {lacks}.")
    return list(rows)


def _yaml(name: str) -> Any:
    file = TEXTS / f"{name}.yaml"
    if not file.is_file():
        raise TextsMissing(f"There is no {file}: this part needs it.")
    return yaml.safe_load(file.read_text("utf-8"))


# ---------------------------------------------------------------------------------------------- data sets


def probe_turns(data: Path) -> list[Dialogue]:
    """The conversations of `care_probe`; their kind is what the last turn should be handled as."""
    lines = _read(data / "care_probe" / "turns.jsonl").splitlines()
    found = []
    for number, row in enumerate(map(json.loads, lines)):
        said = tuple(line.removeprefix("@") for line in row["turns"])
        for place, line in enumerate(row["turns"]):
            if line.startswith("@") != (place % 2 == 1):
                raise TextsMissing(f"care_probe: the lines of conversation {number + 1} do not alternate.")
        found.append(Dialogue(f"probe {number + 1}", row["lang"], row["want"], said))
    return found


def probe_singles(data: Path) -> list[Single]:
    return _singles(_read(data / "care_probe" / "singles.tsv"))


def _singles(table: str) -> list[Single]:
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Single(row["text"], row["lang"], row["at_least"], row["at_most"], row["kind"]) for row in rows]


def ordinary(data: Path, part: str, turns: int, seed: int) -> tuple[list[Dialogue], int]:
    """Whole conversations of a part of a set, until they have so many of the seeker's turns, the same for a seed.

    Those with a word of danger in one of the seeker's lines are left out: whether they are ordinary, nobody has
    judged. Also how many of those that were looked at that was.
    """
    rows = list(_conversations(data, part))
    random.Random(f"{seed} {part}").shuffle(rows)
    kept: list[Dialogue] = []
    count = left_out = 0
    for row in rows:
        if count >= turns:
            break
        if any(DANGER.search(line) for line in row.lines[::2]):
            left_out += 1
        elif len(row.turns) > 1:
            kept.append(row)
            count += len(row.turns)
    return kept, left_out


def seeker_lines(data: Path, parts: Sequence[str]) -> dict[Language, list[str]]:
    """Everyday lines of seekers, without those in which a word of danger stands."""
    found: dict[Language, list[str]] = {"en": [], "zh": []}
    for part in parts:
        for row in _conversations(data, part):
            found[row.language] += [line for line in row.lines[::2] if not DANGER.search(line)]
    return found


DANGER = re.compile(
    r"suicid|kill|\bdie\b|dying|\bdead\b|\bdeath\b|overdos|self.?harm|hurt(?:ing)? my|cut(?:ting)? my|end (?:it|my)"
    r"|\bhang|not (?:be|wake)|live any|自杀|自残|自伤|自尽|轻生|想死|不想活|活着没|活不下去|割腕|跳楼|遗书|结束生命"
    r"|解脱|伤害自己",
    re.IGNORECASE,
)
"""Of lines that are not sure to be ordinary. Wider than the server's own list, and no part of it."""


def _conversations(data: Path, part: str) -> Iterator[Dialogue]:
    file = data / f"{part}.jsonl.gz"
    if not file.is_file():
        raise TextsMissing(f"There is no {file}. --data names the folder that holds the data sets.")
    with gzip.open(file, "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            lines = alternating(row["turns"])
            if lines:
                yield Dialogue(str(row["id"]), row.get("lang", "en"), part, lines)


def alternating(turns: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The lines of a row, the seeker's first and last; what one side says in a row is one line."""
    lines: list[str] = []
    speaker = "counselor"
    for turn in turns:
        text, role = turn["text"].strip(), "seeker" if turn["role"] in ("seeker", "patient") else "counselor"
        if not text or (not lines and role != "seeker"):
            continue
        if lines and role == speaker:
            lines[-1] = f"{lines[-1]}\n{text}"
        else:
            lines.append(text)
        speaker = role
    return tuple(lines if len(lines) % 2 else lines[:-1])


def _read(file: Path) -> str:
    if not file.is_file():
        raise TextsMissing(f"There is no {file}. --data names the folder that holds the data sets.")
    return file.read_text("utf-8")
