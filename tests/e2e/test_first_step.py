"""docs/tutorial.md's first step, on the demo's real models, as its reader takes it."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.servers import Server
from tests.support.tutorial import Runner, steps


def test_a_newcomer_talks_to_the_demo(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = [step for step in steps() if step.section == 1]
    assert [step.block.text for step in first] == ["psychechat serve\n", "psychechat chat\n"]
    with closing(Runner(tmp_path, tmp_path, server)) as runner:
        for step in first:
            runner.run(step)
