"""The playground in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP = ViewportSize(width=1360, height=860)
PHONE = ViewportSize(width=360, height=740)

Open = Callable[..., Page]

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here")


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def visiting(browser: Browser) -> Iterator[Open]:
    """Opens the page of a server. Nothing that it does asks another host, or breaks the page's rules."""
    contexts, asked, wrong = [], set[str](), list[str]()

    def open_page(url: str, *, locale: str = "en-US", size: ViewportSize = DESKTOP, **options: Any) -> Page:
        context = browser.new_context(locale=locale, viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.add(request.url.removeprefix("blob:").split("/")[2]))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(url)
        expect(page.locator("#message")).to_be_visible()
        return page

    expect.set_options(timeout=30_000)
    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert {host.partition(":")[0] for host in asked} <= {"127.0.0.1"}


def say(page: Page, text: str, *, turn: int) -> None:
    """And wait for the end of the reply."""
    page.fill("#message", text)
    page.press("#message", "Enter")
    expect(reply(page, turn)).to_have_attribute("aria-busy", "false")


def reply(page: Page, turn: int) -> Any:
    return page.locator(".turn").nth(turn - 1).locator(".counselor")


def row(page: Page, turn: int) -> list[str]:
    """Of the table that says what the charts show: turn, valence, shift, risk, the conversation's, emotions."""
    cells: list[str] = page.locator(f".fold tbody tr:nth-child({turn}) > *").all_text_contents()
    return [cell.strip().partition(" ")[0] if place == 0 else cell for place, cell in enumerate(cells)]
