"""Half a minute of what `make soak` does for thirty: many conversations at once, all kinds, and more for a while."""

import json
from pathlib import Path

from benchmarks.servers import Server
from benchmarks.soak.__main__ import play, told


def test_conversations_side_by_side_get_whole_replies(server: Server, tmp_path: Path) -> None:
    locust = play(server.url, seconds=30, seekers=4, folder=tmp_path)
    assert locust.wait(240) in (0, 1)  # 1: a turn failed, which is looked at below
    ended = told(json.loads((tmp_path / "stats.json").read_text()))
    turns = sum(row["count"] for row in ended["turn"].values())
    failed = sum(row["failed"] for row in ended["turn"].values())
    assert turns > 20
    assert ended["TTFT"]
    # The demo counselor now and then writes nothing that can be used.
    assert failed <= 0.05 * turns, ended
