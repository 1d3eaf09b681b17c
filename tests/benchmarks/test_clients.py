"""What came of a client stays until it is tried again, and a client that does not even start has failed."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.clients import __main__ as trials
from benchmarks.clients import trial
from benchmarks.clients.catalogue import CLIENTS
from benchmarks.clients.table import table

RESULT = {"versions": {"open-webui": "0.12.4", "openai": "3.57.0"}, "tests": 1_200, "failed": 1, "day": "2026-01-02"}


def test_a_row_says_when_it_was_tried() -> None:
    assert table({"open_webui": RESULT}).splitlines()[-1] == (
        "| Open WebUI | open-webui 0.12.4, openai 3.57.0 | 1,200 | 1 | 2026-01-02 |"
    )


def test_what_is_not_tried_keeps_its_newest_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "RESULTS", tmp_path)
    assert trials.before() == {}
    for day, failed in (("2026-01-01", 5), ("2026-02-01", 0)):
        (tmp_path / day).mkdir()
        clients = {"gone": RESULT, "open_webui": RESULT | {"failed": failed}}
        (tmp_path / day / trials.FILE).write_text(json.dumps({"clients": clients}))
    assert trials.before() == {"open_webui": RESULT | {"failed": 0}}


def test_a_service_that_does_not_start_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("ended while starting")

    [client] = [client for client in CLIENTS if client.name == "litellm_proxy"]
    monkeypatch.setattr(trial, "_environment", lambda *_: tmp_path)
    monkeypatch.setattr(trial, "_versions", lambda *_: {})
    monkeypatch.setattr(trial, "SERVICES", {client.name: broken})
    assert trial.tried(client, tmp_path / "folder", {}, scripted=True) == {"versions": {}, "tests": 1, "failed": 1}


def test_an_example_that_ends_with_an_error_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although all that it should print stands there."""
    printed = "-- plain\na\n-- stream\na\n-- crisis\nCall your local emergency number."
    [client] = [client for client in CLIENTS if client.name == "openai"]
    monkeypatch.setattr(trial, "_environment", lambda *_: tmp_path)
    monkeypatch.setattr(trial, "_versions", lambda *_: {})
    for ended, failed in ((0, 0), (1, 1)):
        done = subprocess.CompletedProcess([], ended, printed, "")
        monkeypatch.setattr(trial.Place, "run", lambda *_, done=done, **__: done)
        found = trial.tried(client, tmp_path / str(ended), {}, scripted=False)
        assert found == {"versions": {}, "tests": 1, "failed": failed}
