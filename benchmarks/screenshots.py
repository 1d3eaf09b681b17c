"""Pictures of the playground for the README: a conversation with a running server, as a reader of either theme sees it.

`make serve`, then `make screenshots`. Words differ from run to run; what is to be seen does not.
"""

from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Page, expect, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PLACE = "en-US"
SEEKER = (
    "I passed my exam today and I am so happy!",
    "But my friends have all moved away, and I miss them.",
    "I sit alone every evening. I feel so sad and lonely.",
    "Everything feels hopeless. Nothing will ever change.",
    "Sometimes I think about ending my life.",
    "My sister is here now. We are making soup together, and I feel calmer.",
)


def main(url: Annotated[str, typer.Argument(help="Where the server is.")] = "http://127.0.0.1:8000") -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1360, "height": 900}, device_scale_factor=1.5, locale="en-US", color_scheme="light"
        )
        page.goto(url)
        page.get_by_label("Help in").select_option(PLACE)
        for number, text in enumerate(SEEKER):
            say(page, text, number)
        page.locator(".route").nth(4).click()  # the crisis
        page.locator(".turn").nth(4).evaluate("turn => turn.scrollIntoView()")
        shoot(page, "playground-light.png")
        page.emulate_media(color_scheme="dark")
        page.locator(".route").nth(3).click()
        page.locator(".heading").evaluate("heading => heading.scrollIntoView()")
        shoot(page, "playground-dark.png")
        browser.close()


def say(page: Page, text: str, number: int) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")
    expect(page.locator(".turn").nth(number).locator(".counselor")).to_have_attribute(
        "aria-busy", "false", timeout=120_000
    )


def shoot(page: Page, name: str) -> None:
    page.mouse.move(5, 5)  # over nothing
    page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    typer.run(main)
