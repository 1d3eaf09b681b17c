"""What the chaos calls whole, cut, failed, lost and a part, by the official client against a server that breaks off."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.chaos import seekers
from benchmarks.chaos.seekers import Ended, ProbedFronts, Seeker
from benchmarks.chaos.tally import broken, tally

GOOD = Ended(sent=100.0, seconds=2.0, crisis=False, outcome="whole", requests=1, cuts=0)
CRISIS = replace(GOOD, crisis=True)


def test_a_day_without_trouble_breaks_no_promise() -> None:
    found = tally([GOOD, CRISIS], blow=101.0, restored=105.0)
    assert (found["turns"], found["disturbed"], found["last_disturbed_s"], found["restored_s"]) == (2, 0, 0.0, 4.0)
    assert broken(found, loses_none=True) == []


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        (replace(GOOD, outcome="part"), "a part of a reply was taken for the whole"),
        (replace(GOOD, outcome="lost"), "a turn had no answer"),
        (replace(CRISIS, outcome="failed"), "a crisis turn was not answered"),
        (replace(CRISIS, outcome="cut"), "a crisis turn was not answered"),
    ],
)
def test_what_is_never_allowed(wrong: Ended, promise: str) -> None:
    assert broken(tally([GOOD, wrong], 100.0, 105.0), loses_none=False) == [promise]


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        (replace(GOOD, outcome="failed"), "a turn failed"),
        (replace(GOOD, outcome="cut", requests=3, cuts=3), "a turn failed"),
        (replace(GOOD, requests=2, cuts=1), "a stream was cut"),
        (replace(GOOD, requests=2), "a turn had to be asked again"),
    ],
)
def test_what_is_allowed_where_something_dies_and_not_in_an_update(wrong: Ended, promise: str) -> None:
    found = tally([GOOD, wrong], 100.0, 105.0)
    assert broken(found, loses_none=False) == []
    assert promise in broken(found, loses_none=True)


def test_a_service_that_stays_broken_and_seekers_who_say_nothing_are_told() -> None:
    assert broken(tally([GOOD], 100.0, None), loses_none=False) == ["the service was not whole again"]
    assert broken(tally([], 100.0, 101.0), loses_none=False) == ["no turn ended"]


def test_disturbed_seconds_count_from_the_blow_to_the_end_of_the_last_turn() -> None:
    before = replace(GOOD, sent=90.0, requests=2)  # not the blow's fault
    late = replace(CRISIS, sent=110.0, seconds=7.0, safe_template=True)
    found = tally([before, GOOD, late], blow=101.0, restored=111.0)
    assert (found["disturbed"], found["last_disturbed_s"], found["crises"]["safe_templates"]) == (2, 16.0, 1)


@contextmanager
def answering(*answers: bytes) -> Iterator[ProbedFronts]:
    """Two fronts: one where nobody listens, and a server that gives each request the next of these, then hangs up."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.wfile.write(left.pop(0))
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """To nobody."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        fronts = ProbedFronts(["http://127.0.0.1:1", f"http://127.0.0.1:{server.server_port}"])
        fronts.up = fronts.urls[1:]  # as the probe finds it
        yield fronts
        assert not left
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def event(**found: object) -> bytes:
    data = f"data: {json.dumps(found)}\n\n".encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def chunk(words: str) -> bytes:
    delta = {"index": 0, "delta": {"content": words}, "finish_reason": None}
    return event(id="1", object="chat.completion.chunk", created=1, model="psychechat", choices=[delta])


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
WHOLE = STREAM + chunk("All of ") + chunk("it.") + b"e\r\ndata: [DONE]\n\n\r\n" + END
PART = STREAM + chunk("All of ") + END
CUT = STREAM + chunk("All of ")
ERROR = CUT + event(error={"message": "gone", "code": "engine_unavailable"}) + END
BUSY = b"HTTP/1.1 503 Gone\r\nretry-after-ms: 1\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "outcome", "requests", "cuts"),
    [
        ([WHOLE], "whole", 1, 0),
        ([BUSY, WHOLE], "whole", 2, 0),
        ([CUT, ERROR, WHOLE], "whole", 3, 2),
        ([PART], "part", 1, 0),
        ([BUSY] * 3, "failed", 3, 0),
        ([CUT] * 3, "cut", 3, 3),
        ([b""] * 3, "lost", 3, 0),
    ],
    ids=["whole", "busy", "broken twice", "ends in silence", "busy always", "broken always", "hangs up"],
)
def test_what_becomes_of_a_turn(
    answers: list[bytes], outcome: str, requests: int, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seekers, "STREAMED", 1.0)
    with answering(*answers) as fronts:
        seeker = Seeker(fronts, {"All of it."}, random.Random(0))
        ended = seeker.turn()
        seeker.close()
    assert (ended.outcome, ended.requests, ended.cuts) == (outcome, requests, cuts)
