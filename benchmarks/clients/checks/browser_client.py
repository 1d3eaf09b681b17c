"""A page of another site in Chromium: what a browser lets it send to the server, and read."""

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

EXAMPLE = Path(__file__).parents[3] / "examples" / "browser"

OPEN = {"access-control-allow-origin": "*"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site() -> Iterator[str]:
    """As its first lines say it is run, at another port."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=EXAMPLE))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with site() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        opened = browser.new_page(locale="en-US")
        opened.goto(f"{url}/?server={os.environ['PSYCHECHAT_URL']}/v1")
        yield opened
        browser.close()


def ask(page: Page, text: str) -> str:
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled(timeout=120_000)
    expect(page.get_by_role("alert")).to_be_empty()
    return page.locator(".counselor").last.inner_text()


def test_a_conversation_is_streamed_into_it(page: Page) -> None:
    assert len(ask(page, "I moved to a new city and I miss my old friends.")) > 20
    sent = []
    page.on("request", lambda request: sent.append(request.post_data_json))
    ask(page, "It is a lot.")
    roles = [message["role"] for message in sent[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_what_is_refused_can_be_read_and_the_message_stays(page: Page) -> None:
    page.locator("#words").evaluate("it => { it.maxLength = 50_000; it.value = 'x'.repeat(40_000); }")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("32000")
    assert len(page.get_by_label("Your message").input_value()) == 40_000
    expect(page.locator(".counselor")).to_have_count(2)


def test_what_broke_off_stays_to_be_read_and_is_no_turn(page: Page) -> None:
    """It may have been a number to call."""
    chunk = '{"choices": [{"index": 0, "delta": {"content": "Call 988"}}]}'
    page.route("**/chat/completions", lambda route: route.fulfill(body=f"data: {chunk}\n\n", headers=OPEN))
    page.get_by_label("Your message").fill("I want to die.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("The reply broke off.")
    assert "Call 988" in page.locator(".counselor").last.inner_text()
    expect(page.locator(".counselor").last.locator(".broken")).to_be_visible()
    page.unroute("**/chat/completions")
    sent = []
    page.once("request", lambda request: sent.append(request.post_data_json))
    ask(page, "It is a lot.")
    assert "988" not in str(sent[0]["messages"])


def test_a_proxys_page_is_told_in_words(page: Page) -> None:
    page.route(
        "**/chat/completions", lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>", headers=OPEN)
    )
    page.get_by_label("Your message").fill("Hello.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached (502).")
    page.unroute("**/chat/completions")


def test_a_crisis_shows_whom_to_turn_to_where_its_reader_lives(page: Page) -> None:
    ask(page, "I want to die.")
    assert "988" in page.locator(".counselor").last.get_by_role("list").inner_text()
