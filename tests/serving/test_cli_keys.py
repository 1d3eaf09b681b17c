import hashlib
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.api.http.auth import Keyring
from psychechat.cli import commands
from psychechat.config import ApiKey, Auth, MemorySettings


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--drill"], {"drill": True}),
        (["--metrics"], {"metrics": True}),
        (["--fields", "minimal"], {"fields": "minimal"}),
        (["--fields", "minimal", "--drill"], {"fields": "minimal", "drill": True}),
        (["--tasks"], {"tasks": True}),
        (["--tasks", "--of", "page"], {"tasks": True, "of": "page"}),
        (["--inspect"], {"inspect": True}),
        (["--inspect", "--drill"], {"inspect": True, "drill": True}),
        (["--fields", "all"], {}),
    ],
)
def test_the_line_of_a_key_says_what_it_is_for(options: list[str], said: dict[str, object]) -> None:
    result = CliRunner().invoke(commands, ["keys", "new", "some-key", *options])
    key, line = re.search(r"psy-\S+", result.output), re.search(r"^ *(some-key: .*)$", result.output, re.MULTILINE)
    assert key
    assert line
    entry = ApiKey.model_validate({"sha256": hashlib.sha256(key[0].encode()).hexdigest()} | said)
    page = {"page": "0" * 64}
    assert Auth.model_validate({"keys": page | yaml.safe_load(line[1])}).read()["some-key"] == entry
    assert line[1].count(":") == 1 + (len(said) + 1 if said else 0)  # and nothing that goes without saying


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--metrics", "--drill"], "metrics is for a key that asks for nothing else"),
        (["--metrics", "--tasks"], "metrics is for a key that asks for nothing else"),
        (["--inspect", "--metrics"], "inspect is for a key that sees all of a turn"),
        (["--inspect", "--fields", "minimal"], "inspect is for a key that sees all of a turn"),
        (["--of", "page"], "of is for a key with tasks"),
        (["--tasks", "--of", "a: b"], "of: String should match"),
        (["--fields", "few"], "fields: Input should be 'all' or 'minimal'"),
    ],
)
def test_a_key_that_no_server_would_take_is_not_made(options: list[str], why: str) -> None:
    result = CliRunner().invoke(commands, ["keys", "new", "some-key", *options])
    assert result.exit_code == 1
    assert why in result.output
    assert "psy-" not in result.output


def test_help_shows_a_key_of_each_kind() -> None:
    told = CliRunner().invoke(commands, ["keys", "new", "--help"], env={"COLUMNS": "120"}).output
    examples = re.findall(r"psychechat (keys new [a-z]\S*(?: --?\S+| minimal| website)*)", told)
    assert len(examples) == 6
    for example in examples:
        assert CliRunner().invoke(commands, example.split()).exit_code == 0, example


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


def test_keys_gather_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Only the key is printed, so that a script can take it."""
    file = tmp_path / "keys.yaml"

    def new(*arguments: str) -> Result:
        return CliRunner().invoke(commands, ["keys", "new", *arguments, "--to", str(file)])

    first, second = new("intake").stdout.strip(), new("ward", "--drill").stdout.strip()
    keys = Auth(keys_file=file).read()
    assert {name: key.drill for name, key in keys.items()} == {"intake": False, "ward": True}
    keyring = Keyring.of(keys)
    assert [keyring.name_of(key) for key in (first, second)] == ["intake", "ward"]
    assert file.stat().st_mode & 0o077 == 0
    written = file.read_text()
    again = new("intake")
    assert (again.exit_code, file.read_text()) == (1, written)
    file.write_text("- a list\n")
    assert new("other").exit_code == 1
