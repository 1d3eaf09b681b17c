"""What nano learns from: drafts to judge, long conversations, and a classifier that is mostly right."""

import random
from collections import Counter
from functools import cache

import pytest
from transformers import AutoTokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, packing
from models.counselor.examples import Encoder, Example, Renderer, found, judged, long
from models.counselor.train import CYCLES, _rate
from psychechat.emotion import Label, Language
from psychechat.prompts import answers

LANGUAGES: tuple[Language, ...] = ("en", "zh")
SAD = Label.parse("sad")


@cache
def tokenizer() -> TokenizersBackend:
    loaded = AutoTokenizer.from_pretrained(architecture.WEIGHTS)
    assert isinstance(loaded, TokenizersBackend)
    return loaded


def tail(example: Example) -> str:
    return example.chunks[-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_drafts_of_four_pass_and_each_is_reviewed_with_its_own_reactions(language: Language) -> None:
    render = Renderer(tokenizer())
    for seed in range(20):
        examples = list(judged(render, language, random.Random(seed), "train"))
        assert [example.stage for example in examples] == ["simulation", "review"] * 4
        passed = [answers.parse_review(example.answer).passed for example in examples[1::2]]
        assert passed == [True, False, True, False]
        for tried, reviewed in zip(examples[::2], examples[1::2], strict=True):
            for reaction in answers.parse_simulation(tried.answer):
                assert reaction.response in tail(reviewed)
        assert len({example.chunks[:-1] for example in examples}) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_conversation_is_one_prefix_of_few_spans(language: Language) -> None:
    render, encode = Renderer(tokenizer()), Encoder(tokenizer())
    rows = [packing.pack(list(long(render, language, random.Random(n), 1, n)), encode) for n in range(8)]
    assert max(max(row.positions) for row in rows) > 2000
    assert all(max(row.positions) < architecture.CONTEXT for row in rows)
    assert all(len(node.ancestors) < 8 for row in rows for node in row.nodes)


def test_the_classifier_of_training_is_mostly_right_and_sometimes_silent() -> None:
    rng = random.Random(0)
    drawn = Counter(found((SAD,), rng) for _ in range(2000))
    assert drawn[(SAD,)] > 1300
    assert drawn[None] > 100
    assert sum(count for labels, count in drawn.items() if labels and SAD not in labels) > 50


def test_the_learning_rate_rises_and_falls_once_a_cycle() -> None:
    rates = [_rate(step / 1000) for step in range(1001)]
    peaks = [i for i in range(1, 1000) if rates[i - 1] < rates[i] > rates[i + 1]]
    assert len(peaks) == len(CYCLES)
    for cycle, peak in zip(CYCLES, peaks, strict=True):
        assert 0.9 * cycle.peak < rates[peak] <= cycle.peak
    assert rates[-1] < 0.05 * CYCLES[-1].peak
    assert sum(cycle.share for cycle in CYCLES) == pytest.approx(1.0)
