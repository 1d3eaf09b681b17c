"""`psychechat evaluate` and `psychechat gate` as they are typed, against a server of this process."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.evaluation import cards, runs
from psychechat.evaluation.gate.scripts import shipped
from tests.serving.evaluation.conftest import app
from tests.serving.evaluation.test_gate import UNLISTED
from tests.support.http_server import listening
from tests.support.servers import free_port

HEADS = ("--judge", "heads", "--turns", "3", "--most", "4")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    served = app(ScriptedGenerator(), ScriptedClassifier(UNLISTED, hurting={}), quota={"crises_per_minute": None})
    with listening(served, port):
        yield f"http://127.0.0.1:{port}/v1"


def typed(*words: object) -> Result:
    return CliRunner().invoke(commands, [str(word) for word in words], env={"COLUMNS": "200"})


def test_a_run_by_the_heads_then_one_beside_it(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    done = typed("evaluate", "--counselor", url, "--out", first, *HEADS)
    assert done.exit_code == 0, done.output
    assert "4 of 4 dialogues, 0 dropped" in done.output
    told = json.loads((first / runs.SUMMARY).read_text("utf-8"))
    assert told["about"]["ids"] == [
        card.id for card in (*cards.read(["en"]).cards[::10], *cards.read(["zh"]).cards[::10])
    ]
    assert told["figures"]["corrected"]["GAR"] is None
    assert told["counts"]["replies"] == 8
    limits = tmp_path / "limits.yaml"
    limits.write_text("worse_by: {EIS: 0.5, RLS: 0.1}\ndrop_rate: 0\ncards: 4\n", "utf-8")
    done = typed("evaluate", "--counselor", url, "--out", second, *HEADS, "--baseline", first, "--gate", limits)
    assert done.exit_code == 0, done.output
    differs = json.loads((second / runs.SUMMARY).read_text("utf-8"))["baseline"]["differences"]["corrected"]
    assert (differs["EIS"]["mean"], differs["EIS"]["cards"]) == (0.0, 4), "the same counselor says the same"
    limits.write_text("cards: 5\n", "utf-8")
    done = typed("evaluate", "--counselor", url, "--out", second, *HEADS, "--gate", limits)
    assert done.exit_code == 1
    assert "4 cards were held to the end, and 5 are asked for" in done.output
    for file in second.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        words = file.read_text("utf-8")
        assert not [card.id for card in cards.read(["en", "zh"]).cards if card.monologue in words]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "Who plays the seeker?"),
        (("--judge", "heads", "--counselor", "localhost:8000"), "localhost:8000 is no address"),
        (("--judge", "heads", "--cards", "nowhere.yaml"), "nowhere.yaml: No such file"),
        (("--judge", "heads", "--baseline", "nowhere"), "nowhere holds no run"),
        (("--judge", "heads", "--gate", "nowhere.yaml"), "nowhere.yaml: No such file"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_asked(words: tuple[str, ...], why: str, tmp_path: Path) -> None:
    done = typed("evaluate", "--out", tmp_path / "run", *words)
    assert done.exit_code == 1
    assert why in done.output
    assert not (tmp_path / "run").exists()


def test_a_counselor_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    done = typed("evaluate", "--counselor", nowhere, "--out", tmp_path / "run", "--judge", "heads", "--most", "1")
    assert done.exit_code == 1
    assert "0 of 1 dialogues, 1 dropped" in done.output


def test_runs_of_other_judges_are_not_compared(url: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / runs.RUN).write_text(json.dumps({"judge": "model", "seeker": {"model": "x"}, "turns": 3}))
    done = typed("evaluate", "--counselor", url, "--out", tmp_path / "run", *HEADS, "--baseline", tmp_path / "first")
    assert done.exit_code == 1
    assert "another judge, seeker" in done.output


def few(folder: Path) -> Path:
    """Two of the package's scripts, as one's own."""
    file = folder / "scripts.yaml"
    lines = [
        {
            "id": script.id,
            "kind": script.kind,
            "language": script.language,
            "locale": script.locale,
            "crisis_by": script.crisis_by,
            "say": [line.text for line in script.say[:1]],
        }
        for script in shipped()
        if script.crisis_by == 1
    ]
    file.write_text(yaml.safe_dump(lines), "utf-8")
    return file


def test_the_gate_passes_and_is_kept_then_fails_beside_a_better_baseline(url: str, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    done = typed("gate", "--url", url, "--out", before)
    assert done.exit_code == 0, done.output
    assert "14 seekers, 56 turns in" in done.output
    kept = json.loads(before.read_text("utf-8"))
    assert kept["broken"] == []
    assert len(kept["scripts"]) == 14
    for figures in kept["scripts"].values():
        if "found_at" in figures:
            figures["found_at"] -= 1
    before.write_text(json.dumps(kept), "utf-8")
    done = typed("gate", "--url", url, "--baseline", before, "--scripts", few(tmp_path))
    assert done.exit_code == 1
    assert "found_at is worse than the baseline's: +1.00" in done.output


def test_the_gate_compares_with_the_operators_own_table(url: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("policy: {crisis: {resources: {intl: [{name: Somebody, contact: call 1}]}}}\n", "utf-8")
    done = typed("gate", "--url", url, "--config", settings, "--scripts", few(tmp_path))
    assert done.exit_code == 1
    assert "not of intl" in done.output


def test_the_gate_fails_where_nobody_answers() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    done = typed("gate", "--url", nowhere)
    assert done.exit_code == 1
    assert "answered: en-veils, turn 1: connection" in done.output
