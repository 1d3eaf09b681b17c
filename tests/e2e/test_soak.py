"""A little of what `make soak` does for half an hour: many conversations at once, all kinds, and more for a while.

Memory is not looked at: in its first minute every process still grows.
"""

import json
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import REPORT, failures, missed, play, told
from tests.support.durations import load_seconds
from tests.support.servers import Server

STILL = {"a process": {"mb": 100.0, "mb_an_hour": 0.0, "grown_mb": 0.0}}


def test_conversations_side_by_side_get_whole_replies(
    server: Server, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seconds = load_seconds(pytestconfig)
    REPORT.unlink(missing_ok=True)
    locust = play(server.url, seconds=seconds, seekers=4, folder=tmp_path)
    assert locust.wait(240) in (0, 1)  # 1: a turn failed, which is looked at below
    ended = told(json.loads((tmp_path / "stats.json").read_text()))
    turns = sum(row["count"] for row in ended["turn"].values())
    assert turns > seconds * 40 / 60
    assert ended["TTFT"]
    # Once in some thousand turns the demo counselor writes nothing that can be used, three times in a row.
    failed = failures(tmp_path / "soak_failures.csv")
    assert sum(row["count"] for row in failed) <= 1, failed
    assert all("stage_failed" in row["failure"] for row in failed), failed
    assert [wrong for wrong in missed(ended, STILL) if "failed" not in wrong] == []  # the first words come in time
    assert "<html" in REPORT.read_text()
