"""What nano learns from: long conversations, a classifier that is mostly right, and how fast."""

import itertools
import random
from collections import Counter

import pytest

from models.counselor import architecture, packing
from models.counselor.bank_turns import Bank
from models.counselor.examples import Encoder, Mix, Renderer, found, stream
from models.counselor.train import CYCLES, _rate, load
from psychechat.emotion import Label

SAD = Label.parse("sad")


def test_a_long_conversation_is_one_prefix_of_few_spans() -> None:
    tokenizer = load(architecture.WEIGHTS)[1]
    told = stream(Renderer(tokenizer), 1, Bank.unlabelled("train"), Mix(exchanges=0.0, long=1.0))
    rows = [packing.pack(examples, Encoder(tokenizer)) for examples in itertools.islice(told, 8)]
    assert max(max(row.positions) for row in rows) > 1000
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
