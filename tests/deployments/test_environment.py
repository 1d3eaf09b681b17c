"""Who else on the machine gets at a Ray that `psychechat serve` starts, and how long its HAProxy has in the end."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from psychechat_ray import environment
from psychechat_ray.cli import app

HARD_STOP = "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"
RAY = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_SERVE_HAPROXY_SOCKET_PATH", HARD_STOP)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RAY:
        monkeypatch.setenv(name, "")  # so that it is as before in the end
        monkeypatch.delenv(name)


def test_the_token_is_for_this_user_and_new_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own lies in the home, which may be read-only, with mode 0644."""
    monkeypatch.setenv("HOME", "/proc")
    tokens = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment.keep_private(tmp_path / name)
        token = Path(os.environ.pop("RAY_AUTH_TOKEN_PATH"))
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        tokens.add(token.read_text())
    assert {len(token) for token in tokens} == {64}
    assert len(tokens) == 2
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize(
    "given",
    [
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_TOKEN": "mine"},
        {"RAY_AUTH_TOKEN_PATH": "/run/secrets/mine"},
        {"RAY_SERVE_HAPROXY_SOCKET_PATH": "/run/mine/admin.sock"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_the_operator_has_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment.keep_private(tmp_path)
    assert {name: os.environ[name] for name in given} == given
    assert (tmp_path / "auth_token").exists() is ("RAY_SERVE_HAPROXY_SOCKET_PATH" in given)


def test_haproxy_is_run_by_way_of_ours_or_as_the_operator_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.HAPROXY.is_file(), "what pyproject.toml names among its scripts is not installed: `make setup`"
    name = "RAY_SERVE_HAPROXY_BINARY_PATH"
    monkeypatch.setenv(name, "/opt/mine/haproxy")
    environment.set_defaults()
    assert os.environ[name] == "/opt/mine/haproxy"
    monkeypatch.delenv(name)
    environment.set_defaults()
    assert os.environ[name] == str(environment.HAPROXY)


def test_the_server_has_a_folder_of_its_own_that_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HAProxy's admin socket, whose mode may be 0666, lies there; Linux takes no longer path for it."""
    kept: list[tuple[int, Path]] = []

    def keep_private(folder: Path) -> None:
        kept.append((stat.S_IMODE(folder.stat().st_mode), folder))
        raise SystemExit(0)

    monkeypatch.setattr(environment, "set_defaults", lambda: None)
    monkeypatch.setattr(environment, "keep_private", keep_private)
    result = CliRunner().invoke(app, ["serve", "--engine", "scripted"])
    assert result.exit_code == 0, result.output
    [(mode, folder)] = kept
    assert mode == 0o700
    assert not folder.exists()
    assert len(f"/tmp/{folder.name}/{'0' * 56}/admin.sock") <= 97


def test_a_haproxy_that_goes_has_as_long_as_a_turn_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.let_turns_end(240.5)
    assert os.environ[HARD_STOP] == "271"
    monkeypatch.setenv(HARD_STOP, "900")
    environment.let_turns_end(240.5)
    assert os.environ[HARD_STOP] == "900"


def test_ray_reads_them(tmp_path: Path) -> None:
    """The names of variables are Ray's: another version may have others."""
    environment.keep_private(tmp_path)
    environment.let_turns_end(240.5)
    told = (
        "from ray._raylet import AuthenticationTokenLoader, get_authentication_mode, AuthenticationMode\n"
        f"from ray.serve._private.constants import RAY_SERVE_HAPROXY_SOCKET_PATH, {HARD_STOP}\n"
        f"assert {HARD_STOP} == 271\n"
        "assert get_authentication_mode() == AuthenticationMode.TOKEN\n"
        "print(AuthenticationTokenLoader.instance().get_token_for_http_header(), RAY_SERVE_HAPROXY_SOCKET_PATH)\n"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert (tmp_path / "auth_token").read_text() in done.stdout
    assert str(tmp_path / "admin.sock") in done.stdout
