"""The files in examples/: all are named where they should be, and those that need nothing more are run as they are.

`make clients` runs the others, with what they pin.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from tenacity import wait_fixed

from benchmarks.clients import transcript
from benchmarks.clients.catalogue import CLIENTS, EXAMPLES, ROOT
from benchmarks.clients.trial import ALONE
from psychechat.api.chat.protocol import MODELS
from psychechat.config import EscalationSettings
from psychechat.safety.webhook import WebhookEscalations
from tests.serving.api.conftest import serve
from tests.support.browser import needs_chromium
from tests.support.receiver import SECRET
from tests.support.servers import free_port, wait_until

DOCUMENT = ROOT / "docs" / "clients.md"
MAINS = ("main.py", "main.mjs", "config.yaml", "start.sh", "run.sh", "index.html")
FOLDERS = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


def test_each_example_is_tried_and_each_client_has_one() -> None:
    assert sorted(client.name for client in CLIENTS) == FOLDERS
    assert [client.name for client in CLIENTS if not client.check.exists()] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_the_document_names_it(name: str) -> None:
    assert f"](../examples/{name}/" in DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_it_needs_is_pinned(client: Any) -> None:
    """So that what a newcomer installs is what was tried."""
    assert bool(client.pinned) is (client.kind != "page")
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in client.pinned.values())
    if client.node:
        lock = json.loads((client.folder / "package-lock.json").read_text("utf-8"))
        assert lock["packages"][""]["dependencies"] == client.pinned
        assert "resolved" not in str(lock)  # names the host that one machine asked


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_it_says_how_it_is_run_and_where_it_asks(client: Any) -> None:
    [main] = [file for file in client.folder.iterdir() if file.name in MAINS]
    head = main.read_text("utf-8")[:1500]
    if client.kind == "page":
        assert "python -m http.server" in head
        assert "?server=" in head
        return
    assert "npm ci" in head if client.node else "pip install -r requirements.txt" in head
    assert "OPENAI_BASE_URL" in head or client.name == "handover"


@pytest.mark.parametrize("name", ["openai", "httpx"])
def test_a_newcomer_runs_it_first_try(name: str) -> None:
    with serve() as served:
        ran = subprocess.run(
            [sys.executable, EXAMPLES / name / "main.py"],
            env={**os.environ, "OPENAI_BASE_URL": f"{served.url}/v1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    assert transcript.complaints(ran.stdout, same=True) == []
    assert "resources" in transcript.sections(ran.stdout)


@needs_chromium
def test_a_page_of_another_site_talks_in_a_real_browser() -> None:
    """By the check of `make clients`."""
    [page] = [client for client in CLIENTS if client.kind == "page"]
    with serve(origins=("loopback",)) as served:
        env = {**os.environ, "PSYCHECHAT_URL": served.url}
        command = [sys.executable, "-m", "pytest", *ALONE, str(page.check)]
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [
        ("", "nothing under plain"),
        ("-- plain\na\n-- stream\nb\n-- crisis\ncall your local emergency number", "the stream is another reply"),
        ("-- plain\na\n-- stream\na\n-- crisis\nI am sorry.", "no local emergency number under crisis"),
    ],
)
def test_what_a_client_has_lost_is_seen(printed: str, complaint: str) -> None:
    assert any(told.startswith(complaint) for told in transcript.complaints(printed, same=True))


def test_the_proxy_takes_no_model_away_for_an_error() -> None:
    config = yaml.safe_load((EXAMPLES / "litellm_proxy" / "config.yaml").read_text("utf-8"))
    assert config["router_settings"]["disable_cooldowns"] is True


def test_the_proxy_routes_each_model_of_the_server() -> None:
    config = yaml.safe_load((EXAMPLES / "litellm_proxy" / "config.yaml").read_text("utf-8"))
    routed = {entry["model_name"]: entry["litellm_params"]["model"] for entry in config["model_list"]}
    assert routed == {model: f"openai/{model}" for model in MODELS}


class Desk(BaseHTTPRequestHandler):
    asked: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def desk() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    played = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Desk,), {"asked": asked}))
    thread = threading.Thread(target=lambda: played.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{played.server_port}", asked
    finally:
        played.shutdown()
        played.server_close()
        thread.join(10)


@contextmanager
def handover(desk_url: str) -> Iterator[str]:
    """The example. Yields its URL at once: until it listens the server tries again."""
    port = free_port()
    env = {"PORT": str(port), "PSYCHECHAT_ESCALATION_SECRET": SECRET, "CHATWOOT_URL": desk_url}
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "handover" / "main.py"],
        env={**os.environ, **env, "CHATWOOT_TOKEN": "t", "CHATWOOT_TEAM": "7"},
    )
    try:
        yield f"http://127.0.0.1:{port}/crises"
    finally:
        process.terminate()
        process.wait(10)


def test_a_crisis_is_handed_over_to_a_person(tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_text(SECRET)
    with desk() as (desk_url, asked), handover(desk_url) as url, serve() as served:
        told = EscalationSettings.model_validate({"url": url, "secret_file": secret, "attempts": 1000})
        served.pipeline.escalations = WebhookEscalations(told, served.pipeline.metrics, backoff=wait_fixed(0.05))
        messages = [{"role": "user", "content": "I want to die."}]
        body = {"model": "psychechat", "messages": messages, "metadata": {"session_id": "chatwoot/1/42"}}
        # Long enough for a process's first turn, which reads what all need.
        assert served.http.post("/v1/chat/completions", json=body, timeout=120).status_code == 200
        wait_until(lambda: len(asked) == 3, 60, lambda: f"the desk was asked for {asked}")
    conversation = "/api/v1/accounts/1/conversations/42"
    assert asked == [f"{conversation}/{action}" for action in ("toggle_status", "assignments", "messages")]
