"""`psychechat classify` with a stand-in classifier: files in, files out, and what stops it."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.commands import classify
from psychechat.conversation import Assessment
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import Call, Classifier
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.errors import EngineUnavailable
from psychechat.risk import Severity


class StandIn(ScriptedClassifier):
    """Finds joy in everything, in proportion to the number that the text ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[int] = []
        self.open = False
        self.broken_after = 1_000_000

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        assert self.open
        self.windows.append(len(utterances))
        if sum(self.windows) > self.broken_after:
            raise EngineUnavailable("The classifier's engine is gone.")
        return [
            assessment(Emotion(Label.parse("happy"), int(text.split()[-1]) / 1000), risk=Severity.IDEATION)
            for text in utterances
        ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()

    @asynccontextmanager
    async def opened(model: str) -> AsyncGenerator[Classifier, None]:
        assert model == "demo"
        stand_in.open = True
        yield stand_in
        stand_in.open = False

    monkeypatch.setattr(classify, "open_vllm", opened)
    return stand_in


def run(folder: Path, *args: str) -> Result:
    places = ["--input", str(folder / "in.jsonl"), "--output", str(folder / "out.jsonl")]
    return CliRunner().invoke(commands, ["classify", *places, *args], env={"COLUMNS": "400"})


def write(folder: Path, *lines: str | bytes) -> None:
    (folder / "in.jsonl").write_bytes(b"\n".join(x.encode() if isinstance(x, str) else x for x in lines))


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]


def test_a_line_keeps_its_keys_and_gains_what_was_found(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, '{"id": 12345678901234567890123, "text": "我很开心 900", "gold": [1, null]}')
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "1 of 1 lines classified into" in result.stdout
    [line] = read(tmp_path)
    absent = ("trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
    assert line == {
        "id": 12345678901234567890123,
        "text": "我很开心 900",
        "gold": [1, None],
        "groups": {"joy": 0.9} | dict.fromkeys(absent, 0.0),
        "levels": {"joy": [0.0, 0.9, 0.0]} | {group: [0.0, 0.0, 0.0] for group in absent},
        "labels": ["happy"],
        "valence": 2,
        "risk": {"none": 0.0, "indicator": 0.0, "ideation": 1.0, "behavior": 0.0, "attempt": 0.0},
        "risk_level": "ideation",
    }
    assert "我很开心" in (tmp_path / "out.jsonl").read_text("utf-8")
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0


def test_below_the_threshold_there_is_no_label(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, '{"text": "meh 200"}')
    run(tmp_path)
    assert [(line["labels"], line["valence"], line["groups"]["joy"]) for line in read(tmp_path)] == [([], 0, 0.2)]


def test_a_long_file_goes_through_in_windows_and_keeps_its_order(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, *(json.dumps({"text": f"n {i}"}) for i in range(600)))
    assert run(tmp_path).exit_code == 0
    assert engine.windows == [256, 256, 88]
    assert [line["text"] for line in read(tmp_path)] == [f"n {i}" for i in range(600)]
    assert [line["groups"]["joy"] for line in read(tmp_path)] == pytest.approx([i / 1000 for i in range(600)])


def test_blank_lines_are_skipped_and_said(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, "\ufeff", '{"text": "a 1"}\r', "  ", '{"text": "b\u2028 2"}', "")
    result = run(tmp_path)
    assert f"2 of 4 lines classified into {tmp_path / 'out.jsonl'} (2 blank, skipped)." in result.stdout
    assert [line["text"] for line in read(tmp_path)] == ["a 1", "b\u2028 2"]


def test_the_text_may_have_another_key(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, '{"utterance": "a 700", "text": null}')
    assert run(tmp_path, "--text-field", "utterance").exit_code == 0
    assert read(tmp_path)[0]["labels"] == ["happy"]


def test_half_a_surrogate_pair_comes_out_as_it_came_in(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, r'{"text": "\ud83d 1"}')
    assert run(tmp_path).exit_code == 0
    assert read(tmp_path)[0]["text"] == "\ud83d 1"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": "CANARY"', "is not a JSON object: write one"),
        ('"CANARY"', "is not a JSON object: write one"),
        ("[" * 100_000, "is not a JSON object: write one"),
        ('{"txet": "CANARY"}', "has no text under 'text': add it, or pass --text-field"),
        ('{"text": ["CANARY"]}', "has no text under 'text': add it, or pass --text-field"),
        ('{"text": " \\n", "CANARY": 1}', "has nothing in 'text': fill it in, or remove the line"),
        (b'{"text": "CANARY \xff"}', "is not UTF-8: convert the file"),
        ('{"text": "CANARY 1", "labels": ["sad"]}', "already has 'labels', which classify writes: rename it"),
    ],
    ids=["cut", "no object", "deep", "no text", "list", "empty", "encoding", "taken"],
)
def test_a_bad_line_is_found_before_the_engine_starts(
    tmp_path: Path, engine: StandIn, line: str | bytes, why: str
) -> None:
    write(tmp_path, '{"text": "a 1"}', "", line, '{"text": "b 2"}')
    (tmp_path / "out.jsonl").write_text("earlier")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert f"in.jsonl, line 3 {why}" in result.stderr
    assert "Nothing was written." in result.stderr
    assert "CANARY" not in result.output
    assert engine.windows == []
    assert (tmp_path / "out.jsonl").read_text() == "earlier"


def test_an_engine_that_dies_leaves_nothing_half(tmp_path: Path, engine: StandIn) -> None:
    engine.broken_after = 300
    write(tmp_path, *(json.dumps({"text": f"n {i}"}) for i in range(600)))
    result = run(tmp_path)
    assert (result.exit_code, engine.windows) == (1, [256, 256])
    assert "engine is gone" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_input_and_output_must_differ_and_be_there(tmp_path: Path, engine: StandIn) -> None:
    write(tmp_path, '{"text": "a 1"}')
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "in.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    source, target = str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")
    for given, wanted, why in (
        (source, source, "are the same file"),
        (source, str(tmp_path / "link.jsonl"), "are the same file"),
        (str(tmp_path / "nowhere.jsonl"), target, "There is no file"),
        (str(tmp_path), target, "is no ordinary file"),
        (source, str(tmp_path / "nowhere" / "out.jsonl"), "name a file in an existing folder"),
        (source, str(tmp_path), "name a file in an existing folder"),
        (str(tmp_path / "empty.jsonl"), target, "holds no line to classify"),
    ):
        result = CliRunner().invoke(commands, ["classify", "--input", given, "--output", wanted])
        assert (result.exit_code, why in result.stderr.replace("\n", " ")) == (1, True), why
    assert run(tmp_path, "--text-field", "risk").exit_code == 1
    assert (tmp_path / "in.jsonl").read_text() == '{"text": "a 1"}'
    assert engine.windows == []
