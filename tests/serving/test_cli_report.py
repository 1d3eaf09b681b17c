"""`psychechat report`: what is read, what is drawn, and what never leaves the file."""

import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Completion, Heading
from psychechat.api.http.responses import KEEP_ALIVE
from psychechat.api.texts.rendering import classification
from psychechat.cli import commands
from psychechat.commands import report
from psychechat.commands.chat.saved import save
from psychechat.commands.chat.talk import Turn
from psychechat.commands.classify import describe
from psychechat.conversation import Choice, Decision, Reply, ReplyDelta
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import Usage
from psychechat.engines.scripted import assessment, reading
from psychechat.pipeline.request import Outcome
from psychechat.policy import Policy
from psychechat.report import Turn as Drawn
from psychechat.report import lines, tally
from psychechat.risk import RiskState, Severity

WORD = "zanzibarquux"
ASKED = ChatRequest.model_validate({"model": "psychechat", "messages": [{"role": "user", "content": "hello"}]})
SAID = f"<script>alert('{WORD}')</script>"


def outcome(
    *labels: str, risk: Severity = Severity.NONE, held: bool = False, session: str = "one", **more: Any
) -> Outcome:
    """`more`: of the conversation's state."""
    known: dict[str, Any] = {"level": risk, "peak": risk, "held": held, **more}
    state = RiskState(**known)
    read = replace(reading([Label.parse(label) for label in labels], risk), conversation=state)
    reason: Any = "crisis" if risk >= Severity.IDEATION else "held" if held else "low_risk"
    mode: Any = "agent" if held else "llm"
    reply = Reply((Choice(SAID, "stop"),), read, Decision(mode, reason, crisis=False), session)
    return Outcome(reply, Usage(), {"classify": 0.02, "total": 1.0})


def replied(*labels: str, heading: Heading | None = None, **known: Any) -> dict[str, Any]:
    """A reply as the server renders it."""
    heading = heading or Heading("chatcmpl-1", 0, "psychechat", "fp_test", stages=True)
    return dict(Completion(heading, ASKED).whole(outcome(*labels, **known), {}, None))


def classified(text: str, *labels: str, risk: Severity = Severity.NONE) -> dict[str, Any]:
    found = assessment(*(Emotion(Label.parse(label), 0.9) for label in labels), risk=risk)
    return {"text": text, "id": WORD, **describe(found, Policy())}


def written(file: Path, *rows: object) -> Path:
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return file


def run(*args: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(commands, ["report", *map(str, args)], stdin, env={"COLUMNS": "400"})


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., str]:
    """The page of these lines, which must be drawn."""

    def draw(*rows: object, options: tuple[str, ...] = ()) -> str:
        page = tmp_path / "page.html"
        result = run(written(tmp_path / "in.jsonl", *rows), "-o", page, *options)
        assert result.exit_code == 0, result.output
        return page.read_text()

    return draw


def table(page: str, title: str) -> list[list[str]]:
    """Rows of the table with this title, its first one the columns."""
    inner = page.split(f'aria-label="{title}, as a table"', 1)[1].split("</table>", 1)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", inner)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


HELD = [
    replied("calm"),
    replied("sad", risk=Severity.IDEATION, held=True),
    replied("down", held=True, peak=Severity.IDEATION, trend="falling"),
    replied("happy"),
]


def test_a_conversation_is_drawn_turn_by_turn(drawn: Callable[..., str]) -> None:
    page = drawn(*HELD)
    assert [row[1:] for row in table(page, "Valence and its shifts")[1:]] == [
        ["+1", "", "calm"],
        ["-2", "", "sad"],
        ["-1", "", "down"],
        ["+2", "", "happy"],
    ]
    assert [row[1:] for row in table(page, "Risk and the conversation&#39;s state")[1:]] == [
        ["none", "none", "none", "steady", "", "llm", "low risk"],
        ["ideation", "ideation", "ideation", "steady", "held", "agent", "crisis"],
        ["none", "none", "ideation", "falling", "held", "agent", "held"],
        ["none", "none", "none", "steady", "", "llm", "low risk"],
    ]
    assert page.count('class="held"') == 1  # one stretch of two turns
    [peak] = set(re.findall(r'y="([\d.]+)" width="[\d.]+" height="2.0" class="bad"', page))
    levels = [float(y) for y in re.findall(r'cy="([\d.]+)"', page.partition("the conversation&#39;s state")[2])]
    assert levels == [114, float(peak) + 1, 114, 114]
    assert table(page, "Emotion groups")[2][5] == "0.99"  # sadness
    assert page.count('class="heat"') == 4  # what is absent is not drawn


def test_a_reply_that_tells_less_of_the_conversation_is_drawn_too(drawn: Callable[..., str]) -> None:
    """As of a server from before, or a log that was thinned out."""
    bare = replied("sad")
    bare["psychechat"]["risk"]["conversation"] = {"held": True}
    rows = table(drawn(bare, replied("calm")), "Risk and the conversation&#39;s state")
    assert [row[2:6] for row in rows[1:]] == [["", "", "", "held"], ["none", "none", "steady", ""]]


def test_a_corpus_is_counted(drawn: Callable[..., str]) -> None:
    page = drawn(*HELD, replied("sad", session="two"), replied("worried", session="three", risk=Severity.INDICATOR))
    assert table(page, "In all")[1:4] == [
        ["turns", "6", "100.0%"],
        ["in crisis", "1", "16.7%"],
        ["held by a crisis", "2", "33.3%"],
    ]
    assert table(page, "Risk")[1:4] == [["none", "4", "66.7%"], ["indicator", "1", "16.7%"], ["ideation", "1", "16.7%"]]
    assert table(page, "Emotions")[1] == ["sad", "2", "33.3%"]
    assert ["-2", "2"] in table(page, "Valence")
    assert table(page, "Mode and reason")[1] == ["llm, low risk", "4", "66.7%"]
    [classify, total] = table(page, "Seconds by stage")[1:]
    assert (classify[0], total[0]) == ("classify", "total")
    assert 0.98 <= float(total[1]) <= 1.02
    assert table(page, "Conversations with the most turns in a hold or a crisis")[1:] == [
        ["1", "1", "4", "2", "1", "ideation"]
    ]
    assert page.count("<h2>Conversation ") == 3


def test_what_classify_wrote_is_one_conversation_with_its_shifts(drawn: Callable[..., str]) -> None:
    page = drawn(classified("a", "happy"), classified("b", "sad", risk=Severity.BEHAVIOR), classified("c"))
    assert [row[1:] for row in table(page, "Valence and its shifts")[1:]] == [
        ["+2", "", "happy"],
        ["-2", "-4", "sad"],
        ["0", "+2", ""],
    ]
    header, _, second, _ = table(page, "Risk and the conversation&#39;s state")
    assert header == ["turn", "risk", "held", "mode", "reason"]
    assert second[1] == "behavior"
    assert "Mode and reason" not in page


def test_texts_of_classify_are_a_corpus_beyond_what_can_be_drawn(
    drawn: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_TURNS", 2)
    page = drawn(*[classified("a", "happy")] * 3)
    assert table(page, "Emotions")[1] == ["happy", "3", "100.0%"]
    assert "<h2>Conversation " not in page


def test_what_save_wrote_is_read(tmp_path: Path) -> None:
    """Over several lines, as it is written, and as one line of many."""
    turns = [Turn(f"{SAID} {number}", "r", reply["psychechat"]) for number, reply in enumerate(HELD)]
    save(tmp_path / "talk.json", "psychechat", turns)
    compact = written(tmp_path / "talks.jsonl", *[json.loads((tmp_path / "talk.json").read_text())] * 2)
    for file, conversations in ((tmp_path / "talk.json", 1), (compact, 2)):
        result = run(file, "-o", tmp_path / "page.html")
        assert f"{4 * conversations} turns drawn" in result.output
        page = (tmp_path / "page.html").read_text()
        assert page.count("<h2>Conversation ") == conversations
        assert WORD not in page


def exported(*replies: dict[str, Any]) -> dict[str, Any]:
    """As session.js writes it; tests/e2e/test_playground.py reads a real one."""
    messages: list[dict[str, Any]] = []
    for number, reply in enumerate(replies):
        messages += [
            {"role": "user", "content": f"{SAID} {number}", "at": "2026-11-29T10:00:00Z"},
            {"role": "assistant", "content": "r", "status": "done", "psychechat": reply["psychechat"]},
        ]
    return {"format": "psychechat.conversation", "version": 1, "model": "psychechat", "messages": messages}


def test_what_the_playground_exported_is_read(tmp_path: Path) -> None:
    """Over several lines, as it is written, as one line of many, and in a list; a turn without a reply is told."""
    unanswered = exported(*HELD)
    unanswered["messages"].insert(2, {"role": "user", "content": SAID})
    files = {
        "whole": (json.dumps(exported(*HELD), indent=2), 1, 0),
        "lines": ("\n".join([json.dumps(exported(*HELD))] * 2), 2, 0),
        "list": (json.dumps([exported(*HELD)] * 2, indent=2), 2, 0),
        "unanswered": (json.dumps(unanswered, indent=2), 1, 1),
    }
    for name, (content, conversations, unreadable) in files.items():
        result = run(written(tmp_path / name, content), "-o", tmp_path / "page.html", "--with-texts")
        assert f"{4 * conversations} turns drawn" in result.output, name
        page = (tmp_path / "page.html").read_text()
        assert page.count("<h2>Conversation ") == conversations
        assert page.count("line 1, turn 2, has no reply") == unreadable
        assert table(page, "Valence and its shifts")[1][1:] == ["+1", "", "calm"]
        assert WORD in page


def test_what_the_server_answered_is_read_whatever_the_endpoint(tmp_path: Path) -> None:
    """A log of responses, of `/v1/classify`, and a stream as it came."""
    found = replied("sad")["psychechat"]
    response = {"object": "response", "output": [{"content": [{"type": "output_text", "text": SAID}]}]}
    response["psychechat"] = found
    read = assessment(Emotion(Label.parse("sad"), 0.9), risk=Severity.IDEATION)
    listed = {"object": "list", "data": [classification(index, read, Policy()) for index in range(2)]}
    chunks = Completion(Heading("c", 0, "m", "f"), ASKED)
    streamed = (
        chunks.opening(1) + KEEP_ALIVE + chunks.delta(ReplyDelta(content=SAID)) + chunks.finish(outcome("sad"), None)
    )
    events = [{"type": "response.created", "response": {}}, {"type": "response.completed", "response": response}]
    for rows, count in (
        ([response], 1),
        ([listed], 2),
        ([streamed.decode() + "data: [DONE]"], 1),
        ([f"event: {event['type']}\ndata: {json.dumps(event)}\n" for event in events], 1),
    ):
        result = run(written(tmp_path / "in.jsonl", *rows), "-o", tmp_path / "page.html")
        assert result.output == f"{count} turn{'' if count == 1 else 's'} drawn in {tmp_path / 'page.html'}.\n"
        page = (tmp_path / "page.html").read_text()
        assert table(page, "Emotions")[1] == ["sad", str(count), "100.0%"]
        assert WORD not in page


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (WORD, "is no JSON, or no UTF-8; what is read is a line of psychechat classify"),
        (7, "is no JSON object; what is read is a line of psychechat classify"),
        ("null", "is no JSON object"),
        ({WORD: 1}, "holds nothing that is known here; what is read is"),
        ({"text": WORD}, "holds words and no findings: psychechat classify adds them"),
        ({"messages": [{"role": "user", "content": WORD}]}, "psychechat classify adds them"),
        ({"choices": [{"message": {"content": WORD}}]}, "is a reply without findings"),
        ({"psychechat": WORD}, "is a reply without findings"),
        ({"turns": [{"user": WORD, "psychechat": {"mode": "llm"}}]}, "line 1, turn 1, has no usable reason"),
    ],
)
def test_an_unknown_line_says_what_was_expected(tmp_path: Path, row: object, told: str) -> None:
    result = run(written(tmp_path / "in.jsonl", row), "-o", tmp_path / "page.html")
    assert result.exit_code == 1
    assert told.casefold() in result.stderr.casefold()
    assert WORD not in result.output


@pytest.mark.parametrize("rows", [[replied("sad")], [classified(SAID, "sad")], [SAID, replied("sad", session=WORD)]])
def test_no_word_of_anybody_is_on_the_page_or_the_terminal(tmp_path: Path, rows: list[object]) -> None:
    """Nor a key of the line, a session's name, or what could not be read."""
    result = run(written(tmp_path / "in.jsonl", *rows), "-o", tmp_path / "page.html")
    assert result.exit_code == 0
    assert WORD not in (tmp_path / "page.html").read_text() + result.output
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("key", "value"), [("labels", [WORD]), ("groups", {WORD: 1}), ("risk_level", WORD), ("valence", WORD)]
)
def test_words_in_the_place_of_findings_are_no_findings(tmp_path: Path, key: str, value: object) -> None:
    file = written(tmp_path / "in.jsonl", classified("a", "sad"), classified("a", "sad") | {key: value})
    result = run(file, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"line 2 has no usable {key}" in page
    assert WORD not in page + result.output


def test_with_texts_they_are_shown_and_are_no_markup(drawn: Callable[..., str]) -> None:
    page = drawn(classified(SAID, "sad"), options=("--with-texts",))
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page
    assert "This page holds what people said" in page
    assert "This page holds what people said" not in drawn(classified(SAID, "sad"))


class _Parts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src", "xlink:href", "style")]


def test_the_page_asks_nobody_and_each_plot_has_its_table(drawn: Callable[..., str]) -> None:
    parts = _Parts()
    page = drawn(*HELD)
    parts.feed(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(parts.tags)
    assert parts.links == []
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert parts.tags.count("svg") == parts.tags.count("figure") == parts.tags.count("desc") == 7
    assert parts.tags.count("table") == 7 + 3  # in all, seconds by stage, the most held
    assert "color-scheme: light dark" in page
    assert "@media print" in page


def test_no_line_of_a_plot_runs_through_a_word(drawn: Callable[..., str]) -> None:
    """The names of the rows end where the lines begin."""
    for plot in re.findall(r"<svg.*?</svg>", drawn(*HELD), re.S):
        begins = {float(x) for x in re.findall(r'<line x1="([\d.]+)"', plot)}
        names = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end"', plot)]
        assert all(end < begin for end in names for begin in begins)


def test_lines_that_cannot_be_read_are_told_by_number(
    drawn: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_BYTES", 10_000)
    page = drawn(
        "",
        WORD,
        replied("sad"),
        [1],
        {"text": WORD},
        replied("sad", heading=Heading("c", 0, "m", "f", minimal=True)),
        '"' + "x" * 30_000 + '"',
        replied("sad"),
        *["{"] * 30,
    )
    told = re.findall(r"<li>(.*?)</li>", page)
    assert [line.split(" ", 2)[1] for line in told[:5]] == ["2", "4", "5", "6", "7"]
    assert "fields: minimal" in told[3]
    assert told[-1] == "and 15 more"
    assert table(page, "In all")[1][1] == "2"


def test_background_tasks_are_no_turns(drawn: Callable[..., str]) -> None:
    task = replied("sad")
    task["psychechat"]["task"] = "title"
    assert table(drawn(task, replied("happy")), "In all")[1][1] == "1"


def test_an_agents_reply_and_an_unknown_risk_are_read(drawn: Callable[..., str]) -> None:
    unread = replied()
    unread["psychechat"]["risk"] = {**unread["psychechat"]["risk"], "level": None}
    unread["psychechat"]["reason"] = WORD  # of a server to come
    page = drawn(unread)
    assert table(page, "Risk")[-1] == ["unknown", "1", "100.0%"]
    assert table(page, "Mode and reason")[1][0] == "llm, other"
    assert 'class="unknown"' in page


def test_of_many_conversations_the_gravest_are_drawn(drawn: Callable[..., str]) -> None:
    calm = [replied("happy", session=f"s{number}") for number in range(15)]
    grave = replied("sad", session="grave", risk=Severity.IDEATION, held=True)
    page = drawn(*calm, grave, replied("happy", session="s14"))
    numbers = [int(number) for number in re.findall(r"<h2>Conversation (\d+) ", page)]
    assert numbers == [*range(1, 11), 15, 16]  # the longer one and the one in a crisis, before others of one turn
    assert "12 of 16 conversations are drawn" in page


def test_standard_input_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = run("-", "-o", page, stdin=f"\ufeff{json.dumps(replied('sad'))}\n".encode())
    assert result.exit_code == 0
    assert "What was detected: standard input" in page.read_text()


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    empty, words = written(tmp_path / "empty.jsonl"), written(tmp_path / "words.jsonl", WORD)
    good, page = written(tmp_path / "good.jsonl", replied("sad")), tmp_path / "page.html"
    for args, said in (
        ((tmp_path / "none.jsonl",), "There is no file"),
        ((tmp_path,), "is a folder"),
        ((empty,), "is empty: pass what psychechat classify, /save or the playground's export wrote"),
        ((words,), "holds nothing to draw. Line 1 is no JSON"),
        ((good, "-o", good), "are the same file"),
        ((good, "-o", tmp_path), "name a file in an existing folder"),
        ((good, "-o", tmp_path / "no" / "page.html"), "name a file in an existing folder"),
    ):
        result = run(*args, *(() if "-o" in args else ("-o", page)))
        assert result.exit_code == 1, said
        assert said in result.stderr
        assert WORD not in result.output
        assert result.stderr.count("\n") == 1
    assert not page.exists()


def test_many_conversations_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns are kept of those that are drawn alone, and what is said not even there."""
    monkeypatch.setattr(tally, "MOST_CONVERSATIONS", 20)
    counted = tally.Tally()

    def turns() -> Iterator[Drawn]:
        for number in range(100):
            yield Drawn(number, 1, ("happy",), {}, Severity.NONE, 0, f"s{number}", mode="llm", seeker=WORD)

    for turn in turns():
        counted.add(turn)
    assert (counted.turns, counted.conversations, counted.unnamed) == (100, 20, 80)
    assert sum(len(one.turns) for one in counted.drawn) == tally.DRAWN
    assert not any(turn.seeker for one in counted.drawn for turn in one.turns)


def test_quantiles_are_right_to_two_percent() -> None:
    times = tally.Times()
    for number in range(1, 1001):
        times.add(number / 100)
    assert times.quantile(0.5) == pytest.approx(5.0, rel=0.02)
    assert times.quantile(0.95) == pytest.approx(9.5, rel=0.02)


def test_what_takes_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_QUIET_SECONDS", -1.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # which has rich take stderr for a terminal
    file = written(tmp_path / "in.jsonl", *[classified("a", "sad")] * 1000)
    assert "1,000 turns read" in run(file, "-o", tmp_path / "page.html").stderr


def test_help_shows_how() -> None:
    told = run("--help").output
    assert "psychechat report classified.jsonl -o messages.html" in told
    assert "zcat replies.jsonl.gz | psychechat report - -o week-12.html" in told
