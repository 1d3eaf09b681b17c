"""The playground in a real browser, over scripted engines: what people do there, and what they then see."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect
from typer.testing import CliRunner

from psychechat.api.http.auth import Keyring
from psychechat.cli import commands
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.help import languages
from psychechat.help.resources import shipped
from psychechat.safety import phrases
from psychechat.safety.replies import broken_text, contacts, crisis_reply
from psychechat.tracing import OFF
from tests.serving.api.chat.test_stages import REFUSED_DRAFT, refusing
from tests.serving.api.conftest import Served, serve
from tests.serving.api.http.test_auth import KEYS, hashes, keyring
from tests.support import servers
from tests.support.browser import DESKTOP, PHONE, Open, launched, needs_chromium, reply, row, say, visiting
from tests.support.http_server import listening
from tests.support.messages import ORDINARY

REPLY = "Thank you for telling me. What about this weighs on you most?"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def warm() -> None:
    """As an ingress before it is ready: no first message waits for seconds of reading lists."""
    for load in (phrases.warm, languages.warm, contacts.warm, crisis_reply.warm, broken_text.warm):
        load()


@pytest.fixture
def shown(warm: None) -> Iterator[Served]:
    with serve(ui=True, quota={"crises_per_minute": None}) as served:
        yield served


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    with visiting(browser) as opens:
        yield opens


# ------------------------------------------------------------------------------------------------------- a turn


@pytest.mark.parametrize(
    ("locale", "text", "answer", "route", "cells"),
    [
        ("en-GB", "I am so sad today.", REPLY, "LLM Mode: low risk", ["1", "−2", "–", "none", "none", "sad"]),
        (
            "zh-CN",
            "我今天很难过。",
            "谢谢你告诉我。这件事里最让你放不下的是什么？",
            "LLM 模式：低风险",
            ["1", "−2", "–", "无", "无", "悲伤"],
        ),
    ],
)
def test_a_turn_in_the_readers_language(
    shown: Served, visit: Open, locale: str, text: str, answer: str, route: str, cells: list[str]
) -> None:
    page = visit(shown.url, locale=locale)
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    say(page, text, turn=1)
    expect(reply(page, 1).locator(".said")).to_have_text(answer)
    expect(reply(page, 1).locator(".route")).to_contain_text(route)
    expect(page.locator(".decision")).to_have_text(route)
    expect(page.locator("[data-announcer]")).to_have_text(answer)
    assert row(page, 1) == cells


def test_the_language_can_be_changed_and_is_remembered(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.get_by_role("button", name="发送")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert page.evaluate("Object.keys(localStorage)") == ["psychechat.language"]


def test_what_sends_and_what_does_not(shown: Served, visit: Open) -> None:
    """Shift+Enter breaks a line. The Enter that ends a composition is the input method's."""
    page = visit(shown.url)
    page.fill("#message", "I am happy")
    page.press("#message", "Shift+Enter")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        page.locator("#message").dispatch_event("keydown", {"key": "Enter", **composing})
    expect(page.locator(".turn")).to_have_count(0)
    assert page.input_value("#message") == "I am happy\n"
    page.press("#message", "Enter")
    expect(page.locator(".seeker p")).to_have_text("I am happy")
    assert page.input_value("#message") == ""


def test_an_example_begins_a_conversation_and_a_new_one_is_empty(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    page.get_by_role("button", name="A sad one").click()
    expect(reply(page, 1).locator(".said")).to_have_text(REPLY)
    page.get_by_role("button", name="New", exact=True).click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#message")).to_be_focused()


def test_markup_is_text(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    text = "<img src=x onerror=\"document.title='got in'\"><script>document.title='got in'</script> I am sad"
    say(page, text, turn=1)
    expect(page.locator(".seeker p")).to_have_text(text)
    assert page.locator("#app img, #app script").count() == 0
    assert page.title() == "PsychēChat playground"


def test_a_reply_can_be_stopped_and_asked_for_again(warm: None, visit: Open) -> None:
    """What had come stays, the server stops working, and the turn can be had whole."""
    words = "<think>A worry.</think>\n\nThank you for telling me. " + " ".join(ORDINARY["en"])
    slow = ScriptedGenerator({StageName.REPLY: [words, f"<think>A worry.</think>\n\n{REPLY}"]}, seconds_per_word=0.05)
    with serve(slow, ui=True) as shown:
        page = visit(shown.url)
        page.fill("#message", "I am worried.")
        page.press("#message", "Enter")
        expect(reply(page, 1).locator(".said")).to_contain_text("Thank you for telling me.")
        page.fill("#message", "typed meanwhile")
        page.press("#message", "Enter")  # one turn at a time
        page.press("#message", "Escape")
        expect(reply(page, 1)).to_contain_text("Stopped")
        expect(reply(page, 1).locator(".said")).to_contain_text("Thank you for telling me.")
        assert page.input_value("#message") == "typed meanwhile"
        servers.wait_until(lambda: shown.generator.running == 0, 10, "the engine goes on")
        page.get_by_role("button", name="Try again").click()
        expect(reply(page, 1).locator(".said")).to_have_text(REPLY)
        expect(reply(page, 1)).not_to_contain_text("Stopped")


# ---------------------------------------------------------------------------------------------------- what it saw


def test_a_crisis_shows_whom_to_turn_to_and_then_holds(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    page.get_by_label("Help in").select_option("en-US")
    say(page, "I want to end my life.", turn=1)
    card = reply(page, 1).locator(".resources")
    expect(card).to_contain_text("988 Suicide & Crisis Lifeline")
    expect(card).to_contain_text("24/7")
    assert [link.get_attribute("href") for link in card.locator("a").all()] == [
        "tel:988",
        "https://988lifeline.org",
        "tel:911",
    ]
    expect(page.locator(".decision")).to_have_text("Agent Mode: crisis")
    say(page, "We had soup for lunch.", turn=2)
    expect(page.locator(".decision")).to_have_text("Agent Mode: held after a crisis")
    expect(page.locator(".state")).to_contain_text("held, the last crisis one line ago")
    expect(page.locator("svg.risk rect.held")).to_have_count(2)
    assert row(page, 2)[3:5] == ["none", "none, held"]
    page.locator(".turn").first.hover()
    expect(page.locator(".decision")).to_have_text("Agent Mode: crisis")


def test_valence_and_its_shifts_are_drawn_and_can_be_read(shown: Served, visit: Open) -> None:
    """By the mouse and by keyboard, and in each theme in colours of its own."""
    page = visit(shown.url)
    chart = page.locator("svg.valence")
    say(page, "I am happy.", turn=1)
    expect(chart.locator(".shift")).to_have_count(0)
    say(page, "Everything feels hopeless.", turn=2)
    assert row(page, 2)[1:3] == ["−3", "−5"]
    expect(chart.locator(".shift")).to_have_text("▼5")
    expect(chart.locator(".strong")).to_have_text("−3")
    expect(chart).to_have_attribute("aria-label", re.compile("1: \\+2, .*2: −3$"))
    above, below = (float(point.get_attribute("cy") or 0) for point in chart.locator(".point").all())
    assert above < below
    page.locator(".turn").first.hover()
    expect(chart.locator(".strong")).to_have_text("+2")
    page.mouse.move(0, 0)
    page.locator(".turn .route").first.focus()
    page.keyboard.press("Enter")
    expect(chart.locator(".strong")).to_have_text("+2")
    fill = "it => getComputedStyle(it).fill"
    seen = [chart.locator(".shift").evaluate(fill)]
    page.emulate_media(color_scheme="dark")
    seen.append(chart.locator(".shift").evaluate(fill))
    page.get_by_role("button", name="Theme: as the system").click()  # to light, whatever the system has
    seen.append(chart.locator(".shift").evaluate(fill))
    assert seen == ["rgb(133, 80, 10)", "rgb(226, 173, 91)", "rgb(133, 80, 10)"]


def test_stages_are_shown_where_the_server_shows_them(warm: None, visit: Open) -> None:
    """Both rounds of a turn whose first draft was refused."""
    with serve(refusing(), ui=True, show_stages=True, limits={"rounds": 2}) as shown:
        page = visit(shown.url)
        page.get_by_label("Model", exact=True).select_option("psychechat-agent")
        say(page, "I am sad.", turn=1)
        inside = page.locator("section.seen")
        expect(inside).not_to_contain_text("policy.show_stages")
        page.get_by_text("Round 1").click()
        for told in ("The seeker speaks of a worry.", "insight: Compare.", REFUSED_DRAFT, "Nobody has asked me that."):
            expect(inside).to_contain_text(told)
        expect(page.locator(".verdict.failed")).to_have_count(2)  # the round's, and of the reaction that failed it
        expect(inside).to_contain_text("Stay with the sadness.")


def test_where_the_server_shows_no_stages_the_page_says_what_would(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    page.get_by_label("Model", exact=True).select_option("psychechat-agent")
    say(page, "I am sad.", turn=1)
    expect(page.locator("section.seen")).to_contain_text("policy.show_stages: true")


def test_a_session_is_named_and_forgotten(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    say(page, "I am happy.", turn=1)
    expect(page.locator(".session code")).to_have_text(re.compile("^playground-[0-9a-f]{32}$"))
    page.get_by_role("button", name="Forget it").click()
    page.get_by_role("button", name="Cancel").click()
    say(page, "I am sad.", turn=2)
    assert row(page, 2)[2] == "−4"
    page.get_by_role("button", name="Forget it").click()
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("The server has forgotten this session.")).to_be_visible()
    say(page, "I am happy.", turn=3)
    assert row(page, 3)[2] == "–"


def test_an_export_can_be_replayed(shown: Served, visit: Open, tmp_path: Path) -> None:
    page = visit(shown.url)
    say(page, "I am happy.", turn=1)
    say(page, "Everything feels hopeless.", turn=2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "conversation.json"
    download.value.save_as(file)
    written = json.loads(file.read_text("utf-8"))
    assert [message["role"] for message in written["messages"]] == ["user", "assistant"] * 2
    assert written["messages"][3]["psychechat"]["reason"] == "raised_risk"
    assert written["model"] == "psychechat"
    drawn = CliRunner().invoke(commands, ["report", str(file), "-o", str(tmp_path / "report.html")])
    assert drawn.output.startswith("2 turns drawn"), drawn.output
    written["messages"][3]["psychechat"] |= {"valence": 2, "risk": {"level": "none"}}
    file.write_text(json.dumps(written), "utf-8")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("Replayed 2 turns")).to_be_visible()
    cells = page.locator("section[aria-labelledby=then-now] tbody td").all_text_contents()
    assert cells == [
        *("none → none", "+2 → +2", "LLM Mode → LLM Mode"),
        *("none → indicator", "+2 → −3", "Agent Mode → Agent Mode"),
    ]


def test_a_replay_of_lines_can_be_stopped_and_nonsense_is_refused(shown: Served, visit: Open, tmp_path: Path) -> None:
    page = visit(shown.url)
    file = tmp_path / "lines.jsonl"
    file.write_text("not a conversation", "utf-8")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("This file holds no conversation")).to_be_visible()
    lines = [{"role": "user", "content": f"I am happy, for the {number}. time."} for number in range(200)]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    page.locator("input[type=file]").set_input_files(file)
    page.locator(".banner").get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Replay stopped after")).to_be_visible()
    assert page.locator(".turn").count() < 200


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_a_server_that_goes_away_and_comes_back(warm: None, visit: Open) -> None:
    served, port = Served(open_metrics=True, ui=True, tracer=OFF, origins=()), servers.free_port()
    with listening(served.app, port):
        page = visit(f"http://127.0.0.1:{port}")
        say(page, "I am happy.", turn=1)
    say(page, "I am sad.", turn=2)
    expect(page.get_by_text("The server is away.")).to_be_visible()
    expect(reply(page, 2)).to_contain_text("Your message is kept.")
    expect(page.locator(".seeker p").nth(1)).to_have_text("I am sad.")
    with listening(served.app, port):
        expect(page.get_by_text("The server is back.")).to_be_visible()
        page.get_by_role("button", name="Try again").click()
        expect(reply(page, 2).locator(".said")).to_have_text(REPLY)
        assert row(page, 2)[2] == "−4"  # it was the same conversation


def test_what_was_refused_is_kept_and_can_be_changed(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    error = {"error": {"message": "Full.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}}
    refuse = {"status": 429, "headers": {"retry-after": "7"}, "json": error}
    page.route("**/v1/chat/completions", lambda route: route.fulfill(**refuse), times=1)
    page.fill("#message", "I am hapy")
    page.press("#message", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 7 s.")
    page.get_by_role("button", name="Edit").click()
    assert page.input_value("#message") == "I am hapy"
    say(page, "I am happy", turn=1)
    expect(reply(page, 1).locator(".said")).to_have_text(REPLY)


def test_a_stream_that_breaks_off_is_no_whole_reply(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    chunk = {"choices": [{"index": 0, "delta": {"content": "Thank you for"}, "finish_reason": None}]}
    broken = f": keep-alive\n\ndata: {json.dumps(chunk)}\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=broken))
    say(page, "I am sad.", turn=1)
    expect(reply(page, 1).locator(".said")).to_have_text("Thank you for")
    expect(page.get_by_role("alert")).to_contain_text("The reply broke off.")


def test_a_key_is_asked_for_and_kept_for_this_tab_alone(shown: Served, visit: Open) -> None:
    shown.keyring = keyring(KEYS)
    page = visit(shown.url)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.locator("#key").fill("psy-of-nobody")
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_visible()
    page.locator("#key").fill(KEYS["ward"])
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_hidden()
    say(page, "I am sad.", turn=1)
    expect(reply(page, 1).locator(".said")).to_have_text(REPLY)
    assert page.evaluate("Object.keys(localStorage)") == []
    page.get_by_text("As a request").click()
    expect(page.locator("section.seen pre").first).to_contain_text("Bearer $PSYCHECHAT_KEY")
    assert KEYS["ward"] not in page.content()


def test_a_key_with_few_fields_shows_a_reply_and_no_findings(shown: Served, visit: Open) -> None:
    shown.keyring = Keyring(hashes(KEYS), minimal=frozenset(KEYS))
    page = visit(shown.url)
    page.locator("#key").fill(KEYS["ward"])
    page.get_by_role("button", name="Use this key").click()
    say(page, "I want to end my life.", turn=1)
    expect(reply(page, 1).locator(".resources")).to_be_visible()
    expect(page.locator("section.seen")).to_contain_text("fields: minimal")


# -------------------------------------------------------------------------------------------------------- for all


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("scheme", "locale", "seen", "forget"),
    [
        ("light", "en-US", "What the server saw", "Forget it"),
        ("dark", "en-US", "What the server saw", "Forget it"),
        ("light", "zh-CN", "服务器看到了什么", "忘记它"),
        ("dark", "zh-CN", "服务器看到了什么", "忘记它"),
    ],
)
def test_axe_finds_nothing(
    warm: None, visit: Open, scheme: Any, locale: str, seen: str, forget: str, size: ViewportSize
) -> None:
    """Of WCAG 2.2, levels A and AA, and of what axe knows beside them."""
    with serve(ui=True, show_stages=True) as shown:
        page = visit(shown.url, locale=locale, size=size, color_scheme=scheme, bypass_csp=True)  # axe's own styles
        check(page)
        say(page, "I am happy.", turn=1)
        say(page, "I want to end my life.", turn=2)
        if size is PHONE:
            check(page)
            page.get_by_role("button", name=seen, exact=True).click()
        for fold in page.locator("section.seen summary").all():
            fold.click()
        check(page)
        page.get_by_role("button", name=forget).click()
        check(page)


AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
"""By itself it leaves out the one rule that WCAG 2.2 has more than 2.1."""


def check(page: Page) -> None:
    found = Axe().run(page, options=AXE).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found] == []


def test_its_two_sides_scroll_and_the_page_does_not(shown: Served, visit: Open) -> None:
    """What is unseen, for screen readers, lies in them too."""
    page = visit(shown.url)
    for turn in range(1, 5):
        say(page, "I want to end my life.", turn=turn)
    assert page.evaluate("document.scrollingElement.scrollHeight - innerHeight") == 0
    for side in (".transcript", "section.seen"):
        assert page.locator(side).evaluate("it => it.scrollHeight > it.clientHeight")


@pytest.mark.parametrize("size", [PHONE, ViewportSize(width=640, height=400)], ids=["phone", "at 200 %"])
def test_nothing_is_cut_off_where_there_is_little_room(shown: Served, visit: Open, size: ViewportSize) -> None:
    page = visit(shown.url, size=size)
    for turn, text in enumerate(["I want to end my life.", "w" * 300], 1):
        say(page, text, turn=turn)
    wide = "document.scrollingElement.scrollWidth - innerWidth"
    assert page.evaluate(wide) <= 0
    page.locator("#message").scroll_into_view_if_needed()
    expect(page.locator("#message")).to_be_in_viewport()
    page.get_by_role("button", name="What the server saw", exact=True).click()
    expect(page.locator("svg.heat")).to_be_visible()
    assert page.evaluate(wide) <= 0


def test_it_can_be_used_by_keyboard_alone(shown: Served, visit: Open) -> None:
    page = visit(shown.url)
    page.get_by_role("button", name="New", exact=True).focus()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("I am sad.")
    page.keyboard.press("Enter")
    expect(reply(page, 1).locator(".said")).to_have_text(REPLY)
    page.get_by_text("The same as a table").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="The same as a table")).to_be_visible()


def test_who_wants_no_motion_gets_none(shown: Served, visit: Open) -> None:
    page = visit(shown.url, reduced_motion="reduce")
    page.route("**/v1/chat/completions", lambda route: None)  # never answered
    page.fill("#message", "I am sad.")
    page.press("#message", "Enter")
    expect(page.locator(".pulse")).to_be_visible()
    assert page.locator(".pulse").evaluate("it => getComputedStyle(it).animationName") == "none"
    page.press("#message", "Escape")


@pytest.mark.parametrize(
    ("contact", "hrefs"),
    [
        ("call or text 988, or chat at 988lifeline.org", ["tel:988", "https://988lifeline.org"]),
        ("call 1-800-799-7233, or text START to 88788", ["tel:18007997233", "sms:88788"]),
        ("text 0477 13 11 14", ["sms:0477131114"]),
        ("call 111 and choose option 2", ["tel:111"]),
        ("llama al 988 y oprime 2, o envía AYUDA por mensaje de texto al 988", ["tel:988", "sms:988"]),
        ("appelez le 1 866 277-3553 (1 866 APPELLE), ou textez au 535353", ["tel:18662773553", "sms:535353"]),
        ("appelez le 15 ou le 112", ["tel:15", "tel:112"]),
        ("0800 111 0 111 oder 0800 111 0 222 anrufen", ["tel:08001110111", "tel:08001110222"]),
        ("147 anrufen oder www.147.ch", ["tel:147", "https://www.147.ch"]),
        ("llama al *4141", ["tel:*4141"]),
        ("call 1767, or WhatsApp 9151 1767", ["tel:1767"]),
        ("拨打 120 / 110", ["tel:120", "tel:110"]),
        ("電話 0120-279-338", ["tel:0120279338"]),
        ("your local emergency number", []),
        ("javascript:alert(1)", []),
    ],
)
def test_contacts_become_links(links_page: Page, contact: str, hrefs: list[str]) -> None:
    parts = linked(links_page, contact)
    assert [part["href"] for part in parts if part["href"]] == hrefs
    assert "".join(str(part["text"]) for part in parts) == contact


def test_every_contact_of_ours_that_is_a_number_or_an_address_has_a_link(links_page: Page) -> None:
    entries = [entry for entries in shipped().values() for entry in entries]
    assert len(entries) > 80
    for entry in entries:
        assert any(part["href"] for part in linked(links_page, entry.contact)) is entry.names_one, entry.contact


@pytest.fixture(scope="module")
def links_page(browser: Browser) -> Iterator[Page]:
    with serve(ui=True) as served:
        page = browser.new_page()
        page.goto(served.url)
        yield page
        page.close()


def linked(page: Page, contact: str) -> list[dict[str, str | None]]:
    parts: list[dict[str, str | None]] = page.evaluate(
        "async (contact) => (await import('/ui/contacts.js')).links(contact)", contact
    )
    return parts
