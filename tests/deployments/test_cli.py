import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat_ray.cli import _settings, app
from tests.support.ports import free_port


def test_options_replace_what_the_configuration_says() -> None:
    settings = _settings("multi-gpu", host="127.0.0.1", port=9000, engine="scripted")
    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    counselor, seeker = settings.engines["counselor"], settings.engines["seeker"]
    assert {settings.classifier.engine, counselor.engine, seeker.engine} == {"scripted"}
    assert not counselor.engine_args, "they are vLLM's"
    assert {engine.replicas.num_gpus for engine in (settings.classifier, counselor, seeker)} == {0.0}
    assert _settings("demo-cpu", engine="vllm").engines["counselor"].engine_args
    assert counselor.replicas.num_replicas == 2


def test_one_command_has_them_all() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    for command in ("serve", "check", "models", "chat", "classify", "prompts", "keys"):
        assert command in listed


def test_without_keys_nobody_else_is_served() -> None:
    result = CliRunner().invoke(app, ["serve", "--engine", "scripted", "--host", "0.0.0.0"])
    assert result.exit_code == 1
    assert "psychechat keys new" in result.output


@pytest.mark.e2e
def test_a_ray_that_cannot_start_is_a_plain_message(tmp_path: Path) -> None:
    """Its sockets' paths are longer than a system allows."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    ended = subprocess.run(
        [Path(sys.executable).with_name("psychechat"), "serve", "--engine", "scripted", "--port", str(free_port())],
        env={**os.environ, "RAY_TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 1
    assert "Ray cannot start: " in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


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


def test_without_gpus_nothing_is_downloaded_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psychechat_ray.gpus.on_this_machine", lambda: 0)
    monkeypatch.setattr("psychechat_ray.cli.prepare_models", lambda _: pytest.fail("16 GB for nothing"))
    result = CliRunner().invoke(app, ["serve", "--config", "single-gpu"])
    assert result.exit_code == 1
    assert "GPUs: 1 needed (classifier: 1 × 0.1, counselor: 1 × 0.9), 0 found." in result.output


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_check_shows_who_does_what_and_starts_nothing(tmp_path: Path) -> None:
    engines = {"mild": {"engine": "scripted", "adapters": {"warm": "/nowhere"}}, "ming": {"model": "someone/ming"}}
    settings = {"engines": engines, "roles": {"counselor": {"en": "mild", "zh": "ming"}, "review": "mild/warm"}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    result = check(tmp_path / "settings.yaml")
    assert result.exit_code == 0, result.output
    rows = {words[0]: " ".join(words[1:]) for line in result.output.splitlines() if (words := line.split())}
    assert rows["counselor"] == rows["reply"] == rows["seeker"] == "mild (scripted) ming (someone/ming)"
    assert rows["review"] == "mild/warm (scripted) mild/warm (scripted)"
    assert "Crisis resources: of " in result.output, "what the log says at the start"
    assert "settings as they should be" in result.output


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"]], ids=["check", "serve"])
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"engines": {"mild": {"adapters": {"warm": "/nowhere"}}}, "roles": {"reply": "mild/warm"}},
            "/nowhere holds no",
        ),
        ({"packs": {"en": "/nowhere", "zh": "zh"}}, "no prompt pack at /nowhere"),
        ({"reply_banks": {"en": "/nowhere"}}, "reply_banks.en: no reply bank at /nowhere"),
        ({"reply_banks": {"zh": "en"}}, "reply_banks.zh: the reply bank for 'zh' says that its language is 'en'"),
        ({"reply_banks": {"en": __file__}}, "not YAML"),
        ({"roles": {"review": "judge"}}, "names the engine 'judge'"),
        ({"auth": {"keys_file": "/nowhere"}}, "/nowhere cannot be read"),
        ({"escalation": {"url": "https://e.org", "secret_file": "/nowhere"}}, "No such file"),
        ({"policy": {"routing": {"raised_frm": "x"}}}, "policy.routing.raised_frm"),
        ({"policy": {"crisis": {"resources": {"en": [{"name": "Desk"}]}}}}, "en, row 1: contact is missing"),
        ({"policy": {"crisis": {"backstop": {"en": ["(grey"], "zh": ["灰色"]}}}}, "crisis.backstop: the line"),
        ({"policy": {"guard": {"rules": {"phrases": {"method": {"en": ["'"]}}}}}}, "nothing to look for"),
        ({"host": "127.0.0.1", "polcy": {}}, "polcy: Extra inputs"),
    ],
)
def test_what_a_check_finds_ends_it_and_a_start_with_what_to_do(
    tmp_path: Path, command: list[str], settings: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, [*command, str(tmp_path / "settings.yaml")])
    assert result.exit_code == 1
    assert complaint in result.output


RAW, DIGEST = "psy-kept-on-the-client", "ab" * 32
ROW = "{name: Desk, contact: '1'}"
MEMORY = f"index: {'0f' * 32}\nencrypt_with: a\nkeys: {{a: {'0a' * 32}}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"client: {DIGEST}\nward: {{sha256: {DIGEST}, drill: true}}\n", "2 keys"),
        (MEMORY, "1 memory-keys"),
        (f"en: [{ROW}]\n", "of 1 rows 1 unverified (en)"),
    ],
)
def test_a_check_tells_what_a_file_is_by_looking(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "file").write_text(text)
    result = check(tmp_path / "file")
    assert (result.exit_code, told in result.output) == (0, True), result.output
    assert "as they should be" in result.output


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("", None, "say it with --as"),
        ("client", None, "say it with --as"),
        ("", "keys", "holds no keys"),
        ("", "resources", "a table of places"),
        ("", "memory-keys", "is empty"),
        (f"client: {DIGEST.upper()}\n", None, "entry 1: no SHA-256"),
        (f"client: {DIGEST}\nother: {RAW}\n", None, "entry 2: no SHA-256"),
        (f"client: [{RAW}", None, "not YAML: line"),
        (f"index: {RAW}\n", None, "psychechat keys memory"),
        ("en: [{name: Desk}]\n", None, "en, row 1: contact is missing"),
        (f"de: [{ROW}]\n", None, "no generic entry"),
        ("policy: {crisis: {template: Call us.}}\n", None, "crisis.template is a table of languages"),
        (f"auth: {{keys: {{{RAW}: {RAW}}}}}\n", None, "auth.keys.NAME"),
    ],
)
def test_a_check_refuses_what_a_server_would_and_shows_no_key(
    tmp_path: Path, text: str, kind: str | None, told: str
) -> None:
    (tmp_path / "file").write_text(text)
    result = check(tmp_path / "file", *(["--as", kind] if kind else []))
    assert (result.exit_code, told in result.output) == (1, True), result.output
    assert RAW not in result.output


def test_a_check_of_nothing_says_so(tmp_path: Path) -> None:
    assert "neither a file nor one of" in check("nowhere").output
    assert "cannot be read" in check(tmp_path, "--as", "keys").output
