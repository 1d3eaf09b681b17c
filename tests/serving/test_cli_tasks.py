"""`psychechat tasks digest`: an entry that the settings take, and errors that name the file."""

from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.policy import Tasks
from psychechat.tasks.template import digested

TEXT = "Name this talk.\n<talk>\n{convo}\n</talk>"


def digest(*args: str) -> Result:
    return CliRunner().invoke(commands, ["tasks", "digest", *args], env={"COLUMNS": "200"})


def test_the_entry_is_one_for_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "title.txt"
    file.write_text(TEXT, "utf-8")
    result = digest(str(file), "--kind", "title", "--name", "Our page 2", "--history", "{convo}")
    assert result.exit_code == 0
    assert "Name this" not in result.stdout
    (template,) = Tasks.model_validate({"known": False, "templates": yaml.safe_load(result.stdout)}).recognised
    assert template == digested("Our page 2", "title", TEXT.replace("{convo}", "{{history}}"))


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "title.txt"
    assert "No such file" in digest(str(file), "--kind", "title").stderr
    file.write_text("{{history}} Name it.", "utf-8")
    assert "--kind is one of title, tags" in digest(str(file), "--kind", "poem").stderr
    assert "needs an instruction before the history" in digest(str(file), "--kind", "title").stderr
    file.write_text("Name it.", "utf-8")
    assert "needs {{history}} in it, once" in digest(str(file), "--kind", "title").stderr
    file.write_bytes("Name it: {{history}}".encode("utf-16"))
    assert "is not UTF-8" in digest(str(file), "--kind", "title").stderr
