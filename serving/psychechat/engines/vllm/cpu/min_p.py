"""`min_p` beside a proposer, where vLLM takes none: its samplers would not judge proposed tokens by it.

What a grammar forces needs no such judgement. Every other token is drawn by the plain sampler, which asks this.
"""

from math import inf, log
from typing import TYPE_CHECKING, Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from psychechat.engines.vllm.cpu import proposes_what_is_forced

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_ARGUMENT = "psychechat_min_p"


def arguments(share: float) -> dict[str, Any]:
    """`SamplingParams.extra_args` of a request with this `min_p`."""
    return {_ARGUMENT: share} if share else {}


def install(model_runner: Any, config: "VllmConfig") -> None:
    """In a worker's process, before any request."""
    if proposes_what_is_forced(config) and not config.use_v2_model_runner:
        model_runner.input_batch.logitsprocs.argmax_invariant.append(MinP())


class MinP(LogitsProcessor):
    """Of each row's tokens those that have less than its share of the likeliest one's probability are not drawn."""

    def __init__(self, *_: Any) -> None:
        self._rows: dict[int, float] = {}

    def is_argmax_invariant(self) -> bool:
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, _share)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """`logits` [sequences, vocabulary], masked in place."""
        for row, share in self._rows.items():
            of_row = logits[row]
            of_row.masked_fill_(of_row < of_row.max() + log(share), -inf)
        return logits


def _share(parameters: SamplingParams, *_: Any) -> float | None:
    return (parameters.extra_args or {}).get(_ARGUMENT)
