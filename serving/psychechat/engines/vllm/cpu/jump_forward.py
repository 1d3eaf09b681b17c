"""Jump-forward decoding: where a grammar leaves no choice, an answer is not written a token at a time.

Between the strings of a stage's JSON stand its keys. Each of their tokens would take a step of the engine, though the
grammar allows nothing else. vLLM knows no such jump, but it knows speculative decoding: what somebody proposes is
computed in one step, and kept as far as the model would have written it. Here the grammar proposes, and no answer
comes out otherwise than without it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.triton_utils import HAS_TRITON
from vllm.triton_utils.dispatcher import register_kernels
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.outputs import DraftTokenIds
from vllm.v1.request import Request

from psychechat.engines.vllm.cpu import ADDITIONS
from psychechat.engines.vllm.grammar import forced_text

_MARKS = frozenset('"{}[]')
"""Of JSON. Our grammars have none of its quotation marks within a string, so a forced stretch begins behind one."""

_KERNEL = "vllm.v1.sample.rejection_sampler.expand_kernel"


def install() -> None:
    """Registration of `per_token_values` in a worker's process, unless Triton's own is there. Twice is as once."""
    if not HAS_TRITON:
        register_kernels({_KERNEL: per_token_values})


def per_token_values(
    output: torch.Tensor, values: torch.Tensor, ends: torch.Tensor, replace_from: float, replace_to: float, *_: Any
) -> None:
    """Kernel: the value of each sequence, for each token that was proposed for it.

    vLLM's own for CPUs writes the values to a copy and loses them. They are temperatures: without them what was
    proposed is judged by whatever was in memory.

    `output` [proposed tokens]; `values` and `ends`, where a sequence's tokens end among all [sequences].
    `replace_from` becomes `replace_to`.
    """
    counts = torch.diff(ends, prepend=ends.new_zeros(1))
    output.copy_(torch.where(values == replace_from, replace_to, values).repeat_interleave(counts))


class NoProposals:
    """Proposer without proposals: vLLM wants one in its worker, and only the scheduler knows the grammar."""

    def __init__(self, vllm_config: VllmConfig) -> None:
        if vllm_config.parallel_config.worker_cls != ADDITIONS["worker_cls"]:
            raise ValueError("the speculative_config for grammars needs our worker_cls, which keeps the temperatures")

    def propose(self, sampled_token_ids: Sequence[Sequence[int]], *_: Any, **__: Any) -> list[list[int]]:
        return [[] for _ in sampled_token_ids]

    def load_model(self, *_: Any) -> None:
        """There is none."""


class JumpForward(Scheduler):
    """Scheduler that computes in one step what a request's grammar forces next.

    Switch: `speculative_config: null`. Where that names another proposer than `NoProposals`, it is vLLM's own too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        speculative = self.vllm_config.speculative_config
        self._jumps = speculative is not None and speculative.model == ADDITIONS["speculative_config"]["model"]
        self._encode = lru_cache(1024)(self._tokens_of)
        self._ends_in_a_mark = lru_cache(None)(self._has_a_mark)

    def update_draft_token_ids(self, draft_token_ids: DraftTokenIds) -> None:
        super().update_draft_token_ids(draft_token_ids)
        for name in draft_token_ids.req_ids if self._jumps else ():
            request = self.requests.get(name)
            if request is not None and not request.is_finished() and not request.is_prefill_chunk:
                request.spec_token_ids = self._forced(request)

    def _forced(self, request: Request) -> list[int]:
        """What must come next, as the tokenizer writes it; nothing where there is a choice or no grammar yet."""
        # Asking within a string takes the grammar long.
        if not request.output_token_ids or not self._ends_in_a_mark(request.output_token_ids[-1]):
            return []
        matcher = self._matcher(request)
        forced = matcher and forced_text(matcher)
        if not forced:
            return []
        return self.structured_output_manager.validate_tokens(
            request, list(self._encode(forced)[: self.num_spec_tokens])
        )

    def _matcher(self, request: Request) -> Any:
        """State of the request's grammar; None where it has none, none yet, or one that has come to its end."""
        structured = request.structured_output_request
        if structured is None or not structured.reasoning_ended:
            return None
        grammar: Any = structured.grammar
        matcher = getattr(grammar, "matcher", None)
        return None if matcher is None or grammar.is_terminated() else matcher

    def _tokens_of(self, text: str) -> tuple[int, ...]:
        tokenizer: Any = self.structured_output_manager.tokenizer
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    def _has_a_mark(self, token: int) -> bool:
        return not _MARKS.isdisjoint(self._text(token))

    def _text(self, token: int) -> str:
        tokenizer: Any = self.structured_output_manager.tokenizer
        return str(tokenizer.decode([token]))
