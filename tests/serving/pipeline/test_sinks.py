"""Tokens come before the text that they are told with, and not all of them are part of it."""

import pytest

from psychechat.conversation import TokenLogprob
from psychechat.pipeline.sinks import ReplyTokens


def tokens(*written: str | bytes) -> list[TokenLogprob]:
    parts = [part.encode() if isinstance(part, str) else part for part in written]
    return [TokenLogprob(part.decode(errors="replace"), part, -1.0) for part in parts]


def texts(taken: tuple[TokenLogprob, ...]) -> list[str]:
    return [token.text for token in taken]


def test_each_piece_takes_the_tokens_that_end_in_it() -> None:
    reply = ReplyTokens()
    reply.feed(tokens("Thank", " you", " for", " this."))
    assert texts(reply.take("Thank y")) == ["Thank"]
    assert texts(reply.take("ou")) == [" you"]
    assert texts(reply.take(" for this.")) == [" for", " this."]


def test_a_character_of_several_tokens_takes_all_of_them() -> None:
    reply = ReplyTokens()
    first, *rest = (bytes([byte]) for byte in "囧".encode())
    reply.feed(tokens("a", first))
    assert texts(reply.take("a")) == ["a"]
    reply.feed(tokens(*rest, "b"))
    taken = reply.take("囧")
    assert b"".join(token.bytes for token in taken) == "囧".encode()
    assert texts(reply.take("b")) == ["b"]


@pytest.mark.parametrize("leading", ["\n\n", " ", "\u3000"])
def test_white_space_before_the_reply_is_no_part_of_it(leading: str) -> None:
    reply = ReplyTokens()
    reply.feed(tokens(leading, f"{leading}One", " two"))
    assert texts(reply.take("One")) == [f"{leading}One"]
    assert texts(reply.take(" two")) == [" two"]


def test_what_never_leaves_is_never_told() -> None:
    reply = ReplyTokens()
    reply.feed(tokens("One", ".", " Two", "<end>"))
    assert texts(reply.take("One")) == ["One"]
    assert reply.take("") == ()
