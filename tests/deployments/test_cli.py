from typer.testing import CliRunner

from psychechat_ray.cli import _settings, app


def test_options_replace_what_the_configuration_says() -> None:
    settings = _settings("multi-gpu", host="127.0.0.1", port=9000, engine="scripted")
    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    assert settings.seeker is not None
    assert {settings.classifier.engine, settings.counselor.engine, settings.seeker.engine} == {"scripted"}
    assert settings.counselor.replicas.num_replicas == 2


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
