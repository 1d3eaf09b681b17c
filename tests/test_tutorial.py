"""docs/tutorial.md from its second step on. The first is tests/e2e/test_first_step.py's, on the real models."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.redis_server import programs
from tests.support.tutorial import Runner, missing, steps

pytestmark = pytest.mark.e2e


def test_all_that_the_tutorial_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not programs():
        pytest.skip("no redis-server: `make setup` installs one, and so does the system's package redis-server")
    folder, logs = tmp_path / "tutorial", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    monkeypatch.chdir(folder)
    with closing(Runner(folder, logs)) as runner:
        for step in steps():
            if step.section > 1:
                runner.run(step)


def test_all_of_the_page_is_run() -> None:
    """By this file or the other, but for what makes the environment."""
    found = steps()
    assert {step.section for step in found if "by-hand" not in step.block.words} == set(range(1, 14))
    assert [step.block.words for step in found if step.section == 0] == [("sh", "by-hand")]


@pytest.mark.parametrize(
    ("wanted", "printed", "is_right"),
    [
        ("one two", "one\n  two\n", True),
        ("one …", "one two three", True),
        ("…\ntwo", "one\ntwo", True),
        ("two", "one two", False),
        ("one … three", "one two", False),
        ("a.c", "abc", False),
    ],
)
def test_what_counts_as_printed(wanted: str, printed: str, is_right: bool) -> None:
    """Else the page could say anything."""
    assert (missing(wanted, printed) == "") is is_right
