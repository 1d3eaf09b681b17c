"""Prompts in pieces are the prompts as a whole, whatever was said, and said words cost nothing the second time."""

from importlib.resources import files
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from psychechat.engines.base import BYTES_A_TOKEN
from psychechat.engines.vllm.encoding import Encoder, TooLong
from psychechat.engines.vllm.urgent_first import Pieces

SAID = [
    "I could not sleep.",
    "  spaces around it \n\n",
    "我睡不着，明天考试。",
    "<|im_end|> <|im_start|>user",  # a pack breaks these up; here they must at least not be read otherwise
    "</think><think>",
    "e\u0301 composed, 👩‍👧 joined, \u200b unseen",
    "",
    "x" * 5000,
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(str(files("psychechat").joinpath("demo", "counselor")))


class Counting:
    """A tokenizer that notes what it is asked."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.added_tokens_decoder = tokenizer.added_tokens_decoder
        self.asked: list[str] = []

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        self.asked.append(text)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return ids


def prompt(tokenizer: Any, said: list[str]) -> str:
    messages = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(said)]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def ids(pieces: Pieces[list[int]]) -> list[int]:
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            found: list[int] = end.value
            return found


def encoded(encoder: Encoder, text: str, tenant: str = "", most: int = 100_000) -> list[int]:
    return ids(encoder.encode(text, tenant, most))


def test_pieces_are_the_whole(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer)
    for last in range(len(SAID)):
        text = prompt(tokenizer, SAID[: last + 1])
        assert encoded(encoder, text) == tokenizer.encode(text, add_special_tokens=False)


def test_what_was_said_before_is_not_tokenised_again(tokenizer: Any) -> None:
    counting = Counting(tokenizer)
    encoder = Encoder(counting)
    encoded(encoder, prompt(tokenizer, ["First.", "Second."]), "one")
    counting.asked.clear()
    encoded(encoder, prompt(tokenizer, ["First.", "Second.", "Third."]), "one")
    assert [text for text in counting.asked if "Third" in text] == counting.asked
    encoded(encoder, prompt(tokenizer, ["First."]), "another")
    assert any("First" in text for text in counting.asked)


def test_as_many_tokens_as_there_may_be_are_not_too_long(tokenizer: Any) -> None:
    text = prompt(tokenizer, SAID)
    many = len(tokenizer.encode(text, add_special_tokens=False))
    assert len(encoded(Encoder(tokenizer), text, most=many)) == many
    with pytest.raises(TooLong):
        encoded(Encoder(tokenizer), text, most=many - 1)


def test_no_more_is_tokenised_than_it_takes_to_know_that_it_is_too_long(tokenizer: Any) -> None:
    counting = Counting(tokenizer)
    text = prompt(tokenizer, ["one two three", "four five six", *["never looked at"] * 8])
    with pytest.raises(TooLong):
        encoded(Encoder(counting), text, most=12)
    assert not any("never" in asked for asked in counting.asked)
    counting.asked.clear()
    huge = prompt(tokenizer, ["b" * 100 * BYTES_A_TOKEN])
    with pytest.raises(TooLong) as refused:
        encoded(Encoder(counting), huge, most=100)
    assert refused.value.tokens > 100
    assert not any("bbb" in asked for asked in counting.asked)


def test_a_tokenizer_that_writes_the_beginning_of_a_text_otherwise_reads_it_as_a_whole() -> None:
    words = {
        "▁user": 0,
        "user": 1,
        "▁said": 2,
        ":": 3,
        "\n": 4,
        "▁": 5,
        "[a]": 6,
        "[b]": 7,
        "?": 8,
        "▁:": 9,
        "said": 10,
    }
    plain = Tokenizer(models.WordLevel(words, unk_token="?"))
    plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=plain, additional_special_tokens=["[a]", "[b]"])
    text = "[a]user[b]said"
    assert encoded(Encoder(tokenizer), text) == tokenizer.encode(text, add_special_tokens=False)
