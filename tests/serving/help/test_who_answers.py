"""Whether a message asks who answers: by sentences, and in time that a hostile one cannot stretch."""

from pathlib import Path

import pytest
import yaml

from psychechat.help.who_answers import asked, is_all

SENTENCES: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("who_answers_sentences.yaml").read_text("utf-8")
)
EVERY = [pytest.param(kind, text, id=f"{kind} {text}") for kind, texts in SENTENCES.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), EVERY)
def test_a_sentence_is_taken_for_what_it_asks(kind: str, text: str) -> None:
    assert (asked(text) or "neither") == kind


@pytest.mark.parametrize("text", ["ＡＲＥ ＹＯＵ Ａ ＢＯＴ？", "are  you\na bot?", "Who’s talking? You’re a bot?"])
def test_it_is_found_however_it_was_typed(text: str) -> None:
    assert asked(text) == "identity"


def test_only_the_end_of_a_wall_of_text_is_looked_at() -> None:
    assert asked("are you a bot? " + "word " * 1_000) is None
    assert asked("word " * 100_000 + "are you a bot?") == "identity"


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("are you a bot?", True),
        ("hello, sorry to ask, but am I talking to a real person?", True),
        ("你是真人吗？", True),
        ("I lost my job yesterday and I don't know what to do any more. Are you even human?", False),
        ("我今天被公司裁了，房贷还没还完，不知道怎么跟家里人说。你是真人吗？", False),
    ],
)
def test_a_message_that_says_more_is_told_from_one_that_only_asks(text: str, bare: bool) -> None:
    assert is_all(text) is bare
