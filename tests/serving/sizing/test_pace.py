"""Estimates: what they follow from, and the one figure among them that was measured."""

import json
from pathlib import Path

from psychechat.sizing import shapes
from psychechat.sizing.cards import CARDS, Card
from psychechat.sizing.memory import Asked, Fit, remedies
from psychechat.sizing.pace import BANDWIDTH_SHARE, MOST_SEQUENCES, STREAMS_A_CORE, estimate

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def fit(model: str = "Qwen3-8B", gpu: int = 80, **asked: object) -> Fit:
    return Fit(shapes.of(model), Asked(**asked), CARDS[gpu])  # type: ignore[arg-type]


def test_a_pace_asked_for_is_kept_by_so_many_streams_and_by_no_more() -> None:
    small = fit()
    for tokens_a_second in (30.0, 45.0, 60.0):
        streams = estimate(small, tokens_a_second).streams
        read = small.card.bandwidth * BANDWIDTH_SHARE / tokens_a_second

        def step(sequences: int) -> float:
            shape, asked = small.shape, small.asked
            weights, of_a_token = 2 * shape.parameters, 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim
            return weights + sequences * asked.sequence_tokens * of_a_token

        assert 0 < streams < small.sequences
        assert step(streams) <= read < step(streams + 1)


def test_no_more_sequences_than_fit_and_in_eights() -> None:
    for gpu in CARDS:
        for model in ("Qwen3-0.6B", "Qwen3-4B", "Qwen3-8B", "Qwen2.5-7B-Instruct"):
            if (found := fit(model, gpu)).serves:
                number = estimate(found).max_num_seqs
                assert number <= min(found.sequences, MOST_SEQUENCES)
                assert number % 8 == 0 or number < 8
                assert min(found.sequences, MOST_SEQUENCES) - number < 8


def test_a_card_too_slow_for_one_stream_says_so() -> None:
    slow = fit("Qwen3-8B", 24, quantization="fp8")
    assert slow.serves
    assert estimate(slow, tokens_a_second=60).streams == 0
    assert estimate(slow, tokens_a_second=60).ingress_cores == 1
    assert estimate(slow, tokens_a_second=60).tokens_when_full < 60


def test_a_full_step_of_prefill_holds_up_words_no_longer_on_a_slower_card() -> None:
    assert [estimate(fit(gpu=gpu)).max_num_batched_tokens for gpu in (40, 48, 80, 141)] == [8192] * 4
    assert estimate(fit("Qwen3-8B", 24, quantization="fp8")).max_num_batched_tokens == 2048
    assert estimate(fit("Qwen3-0.6B", 24)).max_num_batched_tokens == 8192


def test_nothing_is_promised_that_does_not_fit() -> None:
    tiny = Fit(shapes.of("Qwen3-32B"), Asked(), Card(4, "", 4.0, 1e9, 1e12, (9, 0)))
    assert remedies(tiny, {4: tiny.card}) == []


def test_an_ingress_core_carries_what_was_measured() -> None:
    """150 streams with words at most 200 ms late (p99), and not 200."""
    newest = sorted(RESULTS.glob("*/speed.json"))[-1]
    measured = json.loads(newest.read_text("utf-8"))["parts"]["scale"]["facts"]["curve"]
    curve = {at["streams"]: at["added_ms"]["p99"] for at in measured}
    kept = [streams for streams, late in curve.items() if late <= 200]
    assert max(kept) == STREAMS_A_CORE
