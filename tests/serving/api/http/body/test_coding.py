"""Bodies that come compressed: gzip is read within the bounds of any other body, what is broken is looked through for a
crisis, and other codings are refused as RFC 9110 says."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from psychechat.api.http.body.coding import Gzip, is_broken

CHAT = "/v1/chat/completions"
HELLO = {"model": "psychechat", "messages": [{"role": "user", "content": "hello there"}]}
URGENT = {"model": "psychechat", "messages": [{"role": "user", "content": "I want to die"}]}
MOST = 1_000_000


def packed(body: object) -> bytes:
    return gzip.compress(json.dumps(body).encode())


def post(served: Any, content: bytes | Iterator[bytes], coding: str = "gzip", path: str = CHAT) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer: httpx.Response = served.http.post(path, content=content, headers=headers)
    return answer


def is_crisis(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and answer.json()["psychechat"]["reason"] == "crisis"


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity, gzip"])
def test_gzip_is_read(served: Any, coding: str) -> None:
    assert post(served, packed(HELLO), coding).status_code == 200
    assert post(served, packed({"input": ["a", "b"]}), coding, "/v1/classify").json()["data"][1]["index"] == 1


@pytest.mark.parametrize("coding", ["identity", "", ", identity"])
def test_no_coding_is_none(served: Any, coding: str) -> None:
    assert post(served, json.dumps(HELLO).encode(), coding).status_code == 200


@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_may_arrive_in_pieces(served: Any, size: int) -> None:
    body = packed(HELLO)
    assert post(served, (body[at : at + size] for at in range(0, len(body), size))).status_code == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "compress", "gzip, gzip", "gzip, br", "new"])
def test_other_codings_are_refused_with_what_is_read(served: Any, coding: str) -> None:
    answer = post(served, packed(HELLO), coding)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip"
    assert "gzip" in answer.json()["error"]["message"]
    # Of the other 415 the type is wrong, and no coding is.
    other = served.http.post(CHAT, content=b"{}", headers={"content-type": "text/plain"})
    assert (other.status_code, "accept-encoding" in other.headers) == (415, False)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", packed(HELLO)[:5], packed(HELLO)[:-1], packed(HELLO)[:-8] + b"12345678", packed(HELLO) * 2],
    ids=["nothing", "no gzip", "header", "cut off", "checksum", "two"],
)
def test_what_is_no_whole_gzip_is_refused(served: Any, body: bytes) -> None:
    answer = post(served, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The body must be one JSON object."


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_it_may_have_several_members(served: Any, size: int) -> None:
    body = json.dumps(URGENT).encode()
    members = gzip.compress(body[:30]) + gzip.compress(body[30:])
    assert is_crisis(post(served, (members[at : at + size] for at in range(0, len(members), size))))


def test_endless_members_are_not_read() -> None:
    scope: Any = {"state": {}}
    assert len(Gzip(scope).inflate(gzip.compress(b"x") * 40_000, MOST, last=True)) == 256
    assert is_broken(scope)


def test_a_crisis_in_it_is_answered(served: Any) -> None:
    assert is_crisis(post(served, packed(URGENT)))
    for rule in ({"temperature": 9}, {"model": "none"}, {"unknown": 1}):
        assert is_crisis(post(served, packed(URGENT | rule)))


@pytest.mark.parametrize(
    "body",
    [packed(URGENT)[:-1], packed(URGENT)[:-8], packed(URGENT)[:-8] + b"12345678", packed(URGENT) + b"\0"],
    ids=["cut off", "no checksum", "checksum", "more"],
)
def test_a_crisis_in_what_is_broken_too(served: Any, body: bytes) -> None:
    assert is_crisis(post(served, body))


def test_the_bound_is_on_what_it_holds(served: Any) -> None:
    text = json.dumps(HELLO).encode()
    assert post(served, gzip.compress(text + b" " * (MOST - len(text)))).status_code == 200
    for body in (gzip.compress(text + b" " * (MOST + 1 - len(text))), gzip.compress(b" " * 100 * MOST)):
        answer = post(served, body)
        assert answer.status_code == 413
        assert str(MOST) in answer.json()["error"]["message"]


def test_and_on_what_comes(served: Any) -> None:
    """Noise gets larger by being compressed."""
    assert post(served, gzip.compress(os.urandom(MOST), 0)).status_code == 413


@pytest.mark.parametrize("broken", [False, True])
def test_a_bomb_takes_no_more_memory_than_the_bound(broken: bool) -> None:
    """A thousandth of its size comes, and behind that nothing is inflated, whether or not it breaks in the end."""
    bomb = gzip.compress(b"a" * 200 * MOST)
    if broken:
        bomb = bomb[:-20] + b"x" * 20
    scope: Any = {"state": {}}
    tracemalloc.start()
    try:
        held = Gzip(scope).inflate(bomb, MOST + 1, last=True)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST
    finally:
        tracemalloc.stop()
    assert len(held) == MOST + 1
    assert not is_broken(scope), "it was not read so far"


def test_all_before_a_break_is_there() -> None:
    said = os.urandom(40_000)
    body = gzip.compress(said)
    scope: Any = {"state": {}}
    held = Gzip(scope).inflate(body[:30_000] + b"\xff" * 20_000, MOST, last=True)
    assert is_broken(scope)
    assert said.startswith(held[:25_000])
    assert len(held) > 25_000


def test_a_coding_of_what_nobody_reads_does_not_matter(served: Any) -> None:
    assert served.http.get("/v1/models", headers={"content-encoding": "br"}).status_code == 200
