import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from psychechat.emotion import Language
from psychechat.safety.replies.broken_text import Broken, Proofreader, broken, repeats


@cache
def texts() -> dict[str, list[tuple[Language, str, str]]]:
    table: dict[str, list[tuple[Language, str, str]]] = yaml.safe_load(
        Path(__file__).with_name("broken_texts.yaml").read_text("utf-8")
    )
    return table


def written() -> Iterator[tuple[str | None, Language, str, str]]:
    for kind, rows in texts().items():
        for language, seeker, text in rows:
            yield None if kind == "whole" else kind, language, seeker, text


def test_what_is_broken_is_found_and_what_only_looks_so_is_not() -> None:
    judged = [(text, kind, broken(text, language, seeker)) for kind, language, seeker, text in written()]
    assert [(text, meant, found) for text, meant, found in judged if meant != found] == []


def test_every_reason_has_its_texts() -> None:
    assert {*texts()} == {*get_args(Broken), "whole"}


@pytest.mark.parametrize("kind", [kind for kind in get_args(Broken) if kind != "script"])
def test_it_is_found_wherever_the_sentences_are_cut(kind: Broken) -> None:
    """A stream is read a sentence at a time, and a tag may lie over two. In which script a sentence is, is its own."""
    for language, seeker, text in texts()[kind]:
        proofreader = Proofreader(language, seeker)
        pieces = re.findall(r"[\x21-\x7e]+|[^\x21-\x7e]", text)
        assert any([*map(proofreader.read, pieces), proofreader.finish()]), text


def test_a_whole_text_is_whole_a_sentence_at_a_time() -> None:
    for language, seeker, text in texts()["whole"]:
        proofreader = Proofreader(language, seeker)
        sentences = text.replace(". ", ".\0 ").replace("。", "。\0").split("\0")
        assert not any([*map(proofreader.read, sentences), proofreader.finish()]), text


@pytest.mark.parametrize("language", get_args(Language))
def test_a_reply_of_its_own_words_repeats_nothing(language: Language) -> None:
    twice = {"en": "I am here with you. I am here with you.", "zh": "我在这里陪着你，我在这里陪着你。"}
    once = {"en": "I am here with you. You are not alone with it.", "zh": "我在这里陪着你，你不是一个人。"}
    assert repeats(twice[language], language)
    assert not repeats(once[language], language)


@given(st.text(max_size=300), st.text(max_size=50), st.sampled_from(get_args(Language)))
def test_any_text_is_read(text: str, seeker: str, language: Language) -> None:
    assert broken(text, language, seeker) in (None, *get_args(Broken))


@given(st.text(max_size=80))
def test_what_the_seeker_wrote_is_no_other_script(text: str) -> None:
    assert broken(text, "en", text) != "script"
    assert broken(text, "zh", text + " and four plain words more") != "script"


@pytest.mark.parametrize("piece", ["\n", '"', "<", "a ", "user\n", "你", "{", " ", "é"])
def test_the_time_grows_with_the_text_alone(piece: str) -> None:
    text = piece * (32_000 // len(piece))
    begun = time.thread_time()
    broken(text, "en", text)
    assert time.thread_time() - begun < 5


@pytest.mark.parametrize("text", ["a" * 200_000, "a'" * 100_000, "a b" * 60_000, ("x" * 500 + "\n") * 400])
def test_a_wall_of_letters_is_read_in_time_that_grows_with_it(text: str) -> None:
    """A quadratic reading of these takes minutes, and the test its time limit."""
    assert Proofreader("zh", text).read("我听到你了。") is None


@pytest.mark.parametrize("text", ["You told me iririririririr and more.", "我听到你说难受难受难受难受难受难受难受。"])
def test_a_piece_of_a_word_that_is_stuck_is_a_loop(text: str) -> None:
    assert broken(text, "zh" if text.startswith("我") else "en", text) == "loop"
    assert broken("Hahaha, that was a good one.", "en", "") is None
