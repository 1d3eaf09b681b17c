"""docs/tutorial.md from its second step on. The first is tests/e2e/test_first_step.py's, on the real models."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from psychechat_ray.cli import app
from psychechat_ray.configurations import load
from tests.support.redis_server import programs
from tests.support.tutorial import Runner, missing, named, steps

pytestmark = pytest.mark.e2e


def test_all_that_the_tutorial_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs(), "no redis-server: `make setup` installs one, and so does the system's package redis-server"
    folder, logs = tmp_path / "tutorial", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    monkeypatch.chdir(folder)
    with closing(Runner(folder, logs)) as runner:
        for step in steps():
            if step.section > 1:
                runner.run(step)
        left_out = runner.left_out
    if left_out:
        pytest.skip(f"no Prometheus: {left_out} blocks were left out, all others are as the page says")


def test_a_terminal_begins_as_the_page_says(tmp_path: Path) -> None:
    [first] = [step for step in steps() if step.section == 0]
    with closing(Runner(tmp_path, tmp_path)) as runner:
        runner.run(first)


def test_all_of_the_page_is_run() -> None:
    """By this file or the other: every block says how."""
    assert {step.section for step in steps()} == set(range(14))
    assert {step.block.words[0] for step in steps()} == {"sh", "yaml", "csv", "python"}
    assert all(step.block.of("file") or step.block.of("add") or step.block.words[0] == "sh" for step in steps())


def test_what_the_page_only_mentions_is_there() -> None:
    """What needs more than the page's own machine: the options are ours, and so are the configurations."""
    assert named()
    for mentioned in named():
        command: Any = get_group(app)
        arguments = mentioned.split()
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        with command.make_context(command.name, arguments) as context:
            load(context.params["config"])


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
