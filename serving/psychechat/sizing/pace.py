"""How many turns a card carries: estimates from its bandwidth, to be replaced by what you measure."""

from dataclasses import dataclass
from math import ceil

from psychechat.sizing.memory import Fit, kv_token_bytes, weight_bytes

BANDWIDTH_SHARE = 0.6
"""Assumed: of the memory's bandwidth, what decoding gets, with prefills in between."""
FLOPS_SHARE = 0.5
"""Assumed: of the card's FLOPS, what a prefill gets."""
PREFILL_SECONDS = 1.0
"""Assumed: the longest that one full step of prefill may hold up all words."""
MOST_SEQUENCES = 256
"""Assumed: no batch is worth more. Steps grow with it, and so does the time between a reply's tokens."""
BATCHED_TOKENS = (8192, 4096, 2048)
STREAMS_A_CORE = 150
"""Measured on one core of an ingress: so many streams of 30 tokens a second, with words at most 200 ms late (p99)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What to set, and what to expect of it."""

    max_num_seqs: int
    max_num_batched_tokens: int
    streams: int
    """Replies that are written at once, each at the pace asked for."""
    tokens_when_full: float
    """A second, in each of `max_num_seqs` sequences."""
    ingress_cores: int


def estimate(fit: Fit, tokens_a_second: float = 30.0) -> Pace:
    """`fit` has to serve. `tokens_a_second`: what a stream should have."""
    sequences = suggested_sequences(fit)
    streams = min(sequences, _sequences_at(fit, tokens_a_second))
    return Pace(
        max_num_seqs=sequences,
        max_num_batched_tokens=_batched_tokens(fit),
        streams=streams,
        tokens_when_full=1 / _step_seconds(fit, sequences),
        ingress_cores=max(1, ceil(streams / STREAMS_A_CORE)),
    )


def suggested_sequences(fit: Fit) -> int:
    """What the KV memory holds, in eights as vLLM's CUDA graphs come, and no more than `MOST_SEQUENCES`."""
    bound = min(fit.sequences, MOST_SEQUENCES)
    return bound - bound % 8 if bound >= 8 else bound


def _step_seconds(fit: Fit, sequences: int) -> float:
    """Of one token of each: the weights and all their KV memory are read once."""
    kv = sequences * fit.asked.sequence_tokens * kv_token_bytes(fit.shape, fit.asked)
    return (weight_bytes(fit.shape, fit.asked) + kv) / (fit.card.bandwidth * BANDWIDTH_SHARE)


def _sequences_at(fit: Fit, tokens_a_second: float) -> int:
    """The most of which each gets so many tokens a second; 0 where one alone does not."""
    readable = fit.card.bandwidth * BANDWIDTH_SHARE / tokens_a_second
    left = readable - weight_bytes(fit.shape, fit.asked)
    return max(0, int(left / (fit.asked.sequence_tokens * kv_token_bytes(fit.shape, fit.asked))))


def _batched_tokens(fit: Fit) -> int:
    flops = fit.card.flops * fit.asked.tensor_parallel_size * FLOPS_SHARE
    second = (tokens for tokens in BATCHED_TOKENS if 2 * fit.shape.parameters * tokens / flops <= PREFILL_SECONDS)
    return next(second, BATCHED_TOKENS[-1])
