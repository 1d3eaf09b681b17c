import re
from pathlib import Path

import yaml
from typer.testing import CliRunner

from psychechat.api.http.auth import Keyring
from psychechat.cli import commands
from psychechat.config import Auth, MemorySettings


def test_a_new_key_opens_what_its_line_lets_in() -> None:
    result = CliRunner().invoke(commands, ["keys", "new", "intake-app"])
    assert result.exit_code == 0
    key = re.search(r"psy-\S+", result.output)
    line = re.search(r"(intake-app): ([0-9a-f]{64})", result.output)
    assert key
    assert line
    auth = Auth.model_validate({"keys": {line[1]: line[2]}})
    assert Keyring(auth.all_keys()).name_of(key[0]) == "intake-app"
    assert key[0] not in CliRunner().invoke(commands, ["keys", "new", "intake-app"]).output


def test_the_line_of_a_key_for_practice_says_so() -> None:
    result = CliRunner().invoke(commands, ["keys", "new", "training", "--drill"])
    line = re.search(r"^ *(training: .*)$", result.output, re.MULTILINE)
    assert line
    key = Auth.model_validate({"keys": yaml.safe_load(line[1])}).read()["training"]
    assert key.drill


def test_a_name_that_would_break_the_file_is_refused() -> None:
    result = CliRunner().invoke(commands, ["keys", "new", "a: b"])
    assert result.exit_code != 0
    assert "letters, digits" in result.output


def test_new_keys_for_the_memory_are_a_file_as_it_should_be(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        result = CliRunner().invoke(commands, ["keys", "memory"])
        assert result.exit_code == 0
        (tmp_path / "keys.yaml").write_text(result.output)
        found.append(MemorySettings(backend="redis", keys_file=tmp_path / "keys.yaml").keys())
    first, second = found
    assert len({first.index, second.index, *first.keys.values(), *second.keys.values()}) == 4
    assert first.encrypt_with != second.encrypt_with  # so that one's key can be added to the other's
