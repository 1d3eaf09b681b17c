"""The playground of a whole server, past Ray and HAProxy: on the real models, and over the death of all of it."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.support import servers
from tests.support.browser import Open, launched, needs_chromium, reply, row, say, visiting
from tests.support.servers import Server

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    with visiting(browser) as opens:
        yield opens


def test_the_whole_server_shows_it(server: Server, visit: Open, record_property: Callable[[str, object], None]) -> None:
    """By the demo's setting."""
    page = visit(server.url)
    say(page, "I passed my exam, I'm so happy", turn=1)
    expect(reply(page, 1).locator(".said")).to_have_text(re.compile(r"\w"))
    expect(page.locator(".decision")).to_have_text("LLM Mode: low risk")
    assert row(page, 1)[1].startswith("+")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    record_property("first contentful paint, ms", round(paint))
    sys.stderr.write(f"\nfirst contentful paint after {paint:.0f} ms\n")  # `pytest -s` shows it


def killed(server: Server) -> None:
    """All of its processes at once: nobody is told, nothing ends."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    for pid in (server.process.pid, *(process.pid for process in family)):
        os.kill(pid, signal.SIGKILL)
    server.process.wait(30)
    assert psutil.wait_procs(family, 30)[1] == []


@pytest.mark.long
def test_a_conversation_outlives_the_whole_server(visit: Open, tmp_path: Path) -> None:
    """It is kept on the page, which says that nobody is there, and goes on with the one that comes after."""
    port, file = servers.free_port(), tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({**servers.SCRIPTED, "ui": True, "metrics_port": servers.free_port()}))
    with servers.psychechat(port, tmp_path / "first", "--config", str(file)) as first:
        first.wait_until_ready()
        page = visit(first.url)
        say(page, "I am happy.", turn=1)
        killed(first)
        say(page, "I am sad.", turn=2)
        expect(page.get_by_text("The server is away.")).to_be_visible()
        expect(reply(page, 2)).to_contain_text("Your message is kept.")
        expect(page.locator(".seeker p")).to_have_text(["I am happy.", "I am sad."])
    with servers.psychechat(port, tmp_path / "second", "--config", str(file)) as second:
        second.wait_until_ready()
        expect(page.get_by_text("The server is back.")).to_be_visible()
        page.get_by_role("button", name="Try again").click()
        expect(reply(page, 2)).to_have_attribute("aria-busy", "false")
        say(page, "I am worried.", turn=3)
        assert [row(page, turn)[1:3] for turn in (1, 2, 3)] == [["+2", "–"], ["−2", "–"], ["−1", "+1"]]
