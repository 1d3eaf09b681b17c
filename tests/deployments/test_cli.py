from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from psychechat_ray.cli import _settings, app


def test_options_replace_what_the_configuration_says() -> None:
    settings = _settings("multi-gpu", host="127.0.0.1", port=9000, engine="scripted")
    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    counselor, seeker = settings.engines["counselor"], settings.engines["seeker"]
    assert {settings.classifier.engine, counselor.engine, seeker.engine} == {"scripted"}
    assert not counselor.engine_args, "they are vLLM's"
    assert _settings("demo-cpu", engine="vllm").engines["counselor"].engine_args
    assert counselor.replicas.num_replicas == 2


def test_one_command_has_them_all() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    for command in ("serve", "models", "chat", "classify", "prompts", "keys"):
        assert command in listed


def test_without_keys_nobody_else_is_served() -> None:
    result = CliRunner().invoke(app, ["serve", "--engine", "scripted", "--host", "0.0.0.0"])
    assert result.exit_code == 1
    assert "psychechat keys new" in result.output


def test_an_unknown_configuration_is_a_plain_message() -> None:
    result = CliRunner().invoke(app, ["serve", "--config", "nowhere"])
    assert result.exit_code == 1
    assert "no configuration 'nowhere'" in result.output


@pytest.mark.parametrize(
    ("url", "keys", "complaint"),
    [
        (None, None, "set memory.url_file, or the environment's PSYCHECHAT_REDIS_URL"),
        ("redis://:hunter2@host:port", None, "rediss://USER:PASSWORD@HOST:PORT/DB"),
        ("redis://host", "hunter2", "psychechat keys memory"),
    ],
)
def test_a_wrong_memory_ends_the_start_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, keys: str | None, complaint: str
) -> None:
    monkeypatch.delenv("PSYCHECHAT_REDIS_URL", raising=False)
    memory = {"backend": "redis", "keys_file": str(tmp_path / "keys")}
    (tmp_path / "keys").write_text(keys or CliRunner().invoke(app, ["keys", "memory"]).output)
    if url is not None:
        (tmp_path / "url").write_text(url)
        memory["url_file"] = str(tmp_path / "url")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"memory": memory, "ingress": {"num_replicas": 2}}))
    result = CliRunner().invoke(app, ["serve", "--engine", "scripted", "--config", str(tmp_path / "settings.yaml")])
    assert result.exit_code == 1
    assert complaint in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", [["serve"], ["models", "prepare"]], ids=["serve", "models prepare"])
def test_a_model_that_must_not_be_served_ends_it_and_says_what_to_do(tmp_path: Path, command: list[str]) -> None:
    named = {"classifier": {"engine": "scripted"}, "counselor": {"model": str(tmp_path / "smollm2-135m")}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(named))
    result = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "settings.yaml")])
    assert result.exit_code == 1
    assert "psychechat.demo.smollm2.prepare" in result.output


def test_a_check_shows_who_does_what_and_starts_nothing(tmp_path: Path) -> None:
    engines = {"mild": {"engine": "scripted", "adapters": {"warm": "/nowhere"}}, "ming": {"model": "someone/ming"}}
    settings = {"engines": engines, "roles": {"counselor": {"en": "mild", "zh": "ming"}, "review": "mild/warm"}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, ["serve", "--check", "--config", str(tmp_path / "settings.yaml")])
    assert result.exit_code == 0, result.output
    rows = {words[0]: " ".join(words[1:]) for line in result.output.splitlines() if (words := line.split())}
    assert rows["counselor"] == rows["reply"] == rows["seeker"] == "mild (scripted) ming (someone/ming)"
    assert rows["review"] == "mild/warm (scripted) mild/warm (scripted)"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"engines": {"mild": {"adapters": {"warm": "/nowhere"}}}, "roles": {"reply": "mild/warm"}},
            "/nowhere holds no",
        ),
        ({"packs": {"en": "/nowhere", "zh": "zh"}}, "no prompt pack at /nowhere"),
        ({"roles": {"review": "judge"}}, "names the engine 'judge'"),
    ],
)
def test_what_a_check_finds_ends_it_with_what_to_do(tmp_path: Path, settings: dict[str, Any], complaint: str) -> None:
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, ["serve", "--check", "--config", str(tmp_path / "settings.yaml")])
    assert result.exit_code == 1
    assert complaint in result.output
