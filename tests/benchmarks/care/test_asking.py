"""The benchmark's own client and server, against engines that answer from a table; and rows that outlive a run."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.care.asking import Answer, messages
from benchmarks.care.parts.base import one, turn_row, walk
from benchmarks.care.progress import OtherRun, Row, Rows, each
from benchmarks.care.reading import NoMemory, in_process
from benchmarks.care.texts import Dialogue, alternating, ordinary, seeker_lines
from psychechat.engines.scripted import ScriptedClassifier

CALM = Dialogue(
    "calm", "en", "calm", ("I moved house.", "How is the new street?", "Quiet, with a bakery.", "Ah.", "Yes")
)
CRISIS = Dialogue("crisis", "en", "crisis", ("I want to die", "Are you safe?", "I went to the bakery this morning."))


async def asked(dialogue: Dialogue, memory: NoMemory | None = None, session: str = "s") -> list[Answer]:
    async with in_process(ScriptedClassifier(), memory, shipped=False) as client:
        return await walk(client, dialogue, session)


def test_the_counselor_says_the_dialogues_own_next_line() -> None:
    """So that each turn is remembered under the words that the next one comes with; the last has none to say."""
    answers = asyncio.run(asked(CALM))
    assert [answer.text for answer in answers[:2]] == [CALM.lines[1], CALM.lines[3]]
    assert answers[2].text
    assert not any(answer.is_error or answer.is_held for answer in answers)


@pytest.mark.parametrize("memory", [None, NoMemory()])
def test_a_crisis_holds_what_follows_with_memory_and_without(memory: NoMemory | None) -> None:
    rows = [turn_row(answer) for answer in asyncio.run(asked(CRISIS, memory))]
    assert [row["reason"] for row in rows] == ["crisis", "held"]
    assert all(row["held"] and row["error"] is None for row in rows)


def test_streamed_and_whole_are_the_same_turn() -> None:
    async def both() -> list[Answer]:
        async with in_process(ScriptedClassifier(), shipped=False) as client:
            return [await client.turn(messages(CALM.lines[:1]), stream=stream) for stream in (True, False)]

    streamed, whole = asyncio.run(both())
    assert streamed.text == whole.text == "".join(streamed.pieces)
    assert streamed.first_seconds is not None
    assert whole.first_seconds is None
    assert (streamed.finish, whole.finish) == ({0: "stop"}, {0: "stop"})
    assert streamed.done
    assert streamed.reason == whole.reason == "low_risk"


def test_what_the_server_refuses_is_an_error_with_its_code() -> None:
    async def refused() -> tuple[Answer, float]:
        async with in_process(ScriptedClassifier(), shipped=False) as client:
            return await client.turn(messages(CALM.lines[:1]), tool_choice="required"), await client.classify("hello")

    answer, seconds = asyncio.run(refused())
    assert (answer.status, answer.code, answer.is_error) == (400, "unsupported_parameter", True)
    assert seconds > 0


def test_a_turn_by_itself_is_read_from_what_the_client_sends() -> None:
    async def last() -> Answer:
        async with in_process(ScriptedClassifier(), shipped=False) as client:
            return await one(client, CRISIS, len(CRISIS.lines))

    assert asyncio.run(last()).is_held


def test_a_run_goes_on_where_another_one_ended(tmp_path: Path) -> None:
    done: list[str] = []

    def jobs(names: str) -> dict[str, "Job"]:
        return {name: Job(name, done) for name in names}

    first = Rows("part", {"seed": 0}, resume=False, folder=tmp_path)
    asyncio.run(each(first, jobs("ab"), 2, Console(quiet=True), "part"))
    again = Rows("part", {"seed": 0}, resume=True, folder=tmp_path)
    rows = asyncio.run(each(again, jobs("abc"), 2, Console(quiet=True), "part"))
    assert done == ["a", "b", "c"]
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    with pytest.raises(OtherRun):
        Rows("part", {"seed": 1}, resume=True, folder=tmp_path)
    assert Rows("part", {"seed": 1}, resume=False, folder=tmp_path).found == {}


class Job:
    def __init__(self, name: str, done: list[str]) -> None:
        self._name, self._done = name, done

    async def __call__(self) -> Row:
        self._done.append(self._name)
        return {"name": self._name}


def test_lines_alternate_and_end_with_the_seeker() -> None:
    said = [
        ("counselor", "hello"),
        ("seeker", "a"),
        ("seeker", "b"),
        ("counselor", " "),
        ("counselor", "c"),
        ("seeker", "d"),
    ]
    turns = [{"role": role, "text": text} for role, text in said]
    assert alternating(turns) == ("a\nb", "c", "d")
    assert alternating([*turns, {"role": "counselor", "text": "e"}]) == ("a\nb", "c", "d")
    assert alternating([]) == ()


def test_conversations_with_a_word_of_danger_are_no_ordinary_ones(tmp_path: Path) -> None:
    def row(name: str, *lines: str) -> str:
        turns = [{"role": "counselor" if place % 2 else "seeker", "text": line} for place, line in enumerate(lines)]
        return json.dumps({"id": name, "lang": "zh", "turns": turns}, ensure_ascii=False)

    rows = [
        row("calm", "今天很累", "怎么了？", "加班"),
        row("grave", "我想自杀", "怎么了？", "没什么"),
        row("short", "你好"),
    ]
    with gzip.open(tmp_path / "set.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    found, left_out = ordinary(tmp_path, "set", 100, 0)
    assert ([dialogue.name for dialogue in found], left_out) == (["calm"], 1)
    assert seeker_lines(tmp_path, ["set"]) == {"en": [], "zh": ["今天很累", "加班", "没什么", "你好"]}
