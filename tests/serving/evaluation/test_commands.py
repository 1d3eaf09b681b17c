"""`psychechat evaluate` and `psychechat gate` as they are typed, against a server of this process."""

import errno
import json
import os
import re
import shlex
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.commands.evaluate import evaluate
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.evaluation import cards, runs
from psychechat.evaluation.gate.scripts import shipped
from tests.serving.evaluation.conftest import app
from tests.serving.evaluation.test_gate import UNLISTED
from tests.support.http_server import listening
from tests.support.servers import free_port

LIMITS = Path(__file__).parents[3] / "evaluation" / "limits.yaml"
HEADS = ("--judge", "heads", "--turns", "2", "--most", "2")


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
    assert "2 of 2 dialogues, 0 dropped" in done.output
    told = json.loads((first / runs.SUMMARY).read_text("utf-8"))
    assert list(told["about"]["ids"]) == [cards.read([language]).cards[0].id for language in cards.SHIPPED]
    assert told["figures"]["corrected"]["GAR"] is None
    assert told["counts"]["replies"] == 2
    limits = tmp_path / "limits.yaml"
    limits.write_text("worse_by: {EIS: 0.5, RLS: 0.1}\ndrop_rate: 0\ncards: 2\n", "utf-8")
    done = typed("evaluate", "--counselor", url, "--out", second, *HEADS, "--baseline", first, "--gate", limits)
    assert done.exit_code == 0, done.output
    differs = json.loads((second / runs.SUMMARY).read_text("utf-8"))["baseline"]["differences"]["corrected"]
    assert (differs["EIS"]["mean"], differs["EIS"]["cards"]) == (0.0, 2), "the same counselor says the same"
    limits.write_text("cards: 3\n", "utf-8")
    done = typed("evaluate", "--counselor", url, "--out", second, *HEADS, "--gate", limits)
    assert done.exit_code == 1
    assert "2 cards were held to the end, and 3 are asked for" in done.output
    for file in second.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        words = file.read_text("utf-8")
        assert not [card.id for card in cards.read(["en", "zh"]).cards if card.monologue in words]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "Who plays the seeker?"),
        (("--judge", "heads", "--counselor", "localhost:8000"), "localhost:8000 is no address"),
        (("--judge", "heads", "--seeker", "http://localhost:PORT/v1"), "http://localhost:PORT/v1 is no address"),
        (("--judge", "heads", "--gate", str(LIMITS)), "limits.yaml has worse_by: pass --baseline"),
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
    (tmp_path / "first" / runs.RUN).write_text(json.dumps({"judge": "model", "seeker": {"model": "x"}, "turns": 2}))
    done = typed("evaluate", "--counselor", url, "--out", tmp_path / "run", *HEADS, "--baseline", tmp_path / "first")
    assert done.exit_code == 1
    assert "another --judge (model)" in done.output


def test_runs_rated_by_other_classifiers_or_of_other_cards_are_neither_compared_nor_gone_on_with(
    url: str, tmp_path: Path
) -> None:
    own = tmp_path / "cards.yaml"
    one = cards.read(["en"]).cards[0].model_dump(mode="json")
    own.write_text(yaml.safe_dump([one]), "utf-8")
    words = ("evaluate", "--counselor", url, "--judge", "heads", "--turns", "2", "--cards", own)
    first, elsewhere = tmp_path / "first", f"http://127.0.0.1:{free_port()}/v1"
    assert typed(*words, "--out", first).exit_code == 0
    done = typed(*words, "--out", tmp_path / "next", "--seeker", elsewhere, "--baseline", first)
    assert (done.exit_code, f"another --seeker ({url})" in done.output) == (1, True), done.output
    done = typed(*words, "--out", first, "--seeker", elsewhere)
    assert (done.exit_code, "a run with other seeker: ask as its run.json says" in done.output) == (1, True)
    own.write_text(yaml.safe_dump([one | {"monologue": "Another one."}]), "utf-8")
    done = typed(*words, "--out", tmp_path / "next", "--baseline", first)
    assert (done.exit_code, "another text on 1 of the cards" in done.output) == (1, True)
    done = typed(*words, "--out", first)
    assert (done.exit_code, "a run with other ids" in done.output) == (1, True)


def test_what_the_help_shows_can_be_done_in_that_order(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the heads, each as small as it can be."""
    monkeypatch.chdir(tmp_path)
    Path("limits.yaml").write_text("worse_by: {RLS: 0.1}\n", "utf-8")
    shown = re.sub(r"\\\n\s*", "", evaluate.__doc__ or "")
    lines = [line.strip() for line in shown.splitlines() if "--judge heads" in line]
    assert len(lines) == 2
    for line in lines:
        small = re.sub(r"http://\S+", url, line.replace("--turns 6", "--turns 2").replace("--most 8", "--most 1"))
        here = [] if "--counselor" in small else ["--counselor", url]
        done = typed(*shlex.split(small)[1:], *here)
        assert done.exit_code == 0, done.output


def test_a_full_disk_is_told_in_one_line(url: str, tmp_path: Path) -> None:
    (tmp_path / runs.ROWS).symlink_to("/dev/full")
    done = typed("evaluate", "--counselor", url, "--out", tmp_path, "--judge", "heads", "--turns", "2", "--most", "1")
    assert done.exit_code == 1
    assert f"Error: {tmp_path}: No space left on device." in done.output


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
    assert "16 seekers, 60 turns in" in done.output
    kept = json.loads(before.read_text("utf-8"))
    assert kept["broken"] == []
    assert len(kept["scripts"]) == 16
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


def test_the_gate_fails_where_nobody_answers(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    done = typed("gate", "--url", nowhere, "--scripts", few(tmp_path))
    assert done.exit_code == 1
    assert "answered: en-changes-subject, turn 1: connection" in done.output


def test_the_gate_plays_nothing_for_an_address_or_a_file_that_is_none(tmp_path: Path) -> None:
    for words, why in (
        (("--url", "http://localhost:PORT/v1"), "http://localhost:PORT/v1 is no address"),
        (("--url", "localhost:8000"), "localhost:8000 is no address"),
        (("--out", tmp_path / "nowhere" / "before.json"), "before.json cannot be written"),
        (("--out", tmp_path), "cannot be written"),
    ):
        done = typed("gate", *words)
        assert (done.exit_code, why in done.output, "seekers" in done.output) == (1, True, False), done.output


def test_what_is_broken_is_told_though_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up while the gate plays."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    done = typed("gate", "--url", nowhere, "--scripts", few(tmp_path), "--out", tmp_path / "before.json")
    assert done.exit_code == 1
    assert "Broken: answered: en-changes-subject" in done.output
    assert "No space left on device" in done.output


def test_the_gate_ends_in_its_time_where_a_server_hangs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        done = typed("gate", "--url", url, "--scripts", few(tmp_path), "--seconds", "0.1")
    assert done.exit_code == 1
    assert "in time: en-changes-subject, turn 1: no reply in its time" in done.output
