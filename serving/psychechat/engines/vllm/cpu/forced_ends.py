"""Both ends of an answer, where they are forced: its first keys come with the prompt, its last marks take no step.

`jump_forward` saves the steps between two strings. It begins behind a token that was written, and what it proposes is
computed. Here what a grammar begins with is computed with the prompt, in the step that writes the first word. And where
a grammar leaves nothing to write but the marks that end an answer, they stand there at once: nothing follows them, so
nobody needs their states.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from psychechat.engines.vllm.cpu import is_on
from psychechat.engines.vllm.cpu.jump_forward import JumpForward
from psychechat.engines.vllm.grammar import forced_text

_LAST = ('"', "}", "]", "true", "false", "null")
"""What may stand before the marks that end an answer in JSON."""


class ForcedEnds(JumpForward):
    """Scheduler that takes no step for what an answer must begin and end with.

    Where it jumps forward at all, and where nobody asked for the probabilities of tokens, which such have none.
    Switch: `additional_config: {forced_ends: false}`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_ends = self._jumps and is_on("forced_ends", self.vllm_config)
        self._begun: dict[str, list[int]] = {}
        """What a request's answer begins with, until its first tokens are told."""
        self._may_end = lru_cache(None)(lambda token: self._text(token).endswith(_LAST))

    # ----------------------------------------------------------------------------------------------- the beginning

    def _handle_blocked_waiting_request(self, request: Request) -> bool:
        was_compiled = request.status == RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR
        is_ready = super()._handle_blocked_waiting_request(request)
        if is_ready and was_compiled and (tokens := self._first(request)):
            _lengthen_prompt(request, tokens)
            self._begun[request.request_id] = tokens
        return is_ready

    def _first(self, request: Request) -> list[int]:
        """What the answer must begin with. The grammar has accepted it then."""
        matcher = self._asked(request)
        if matcher is None or request.prompt_token_ids is None:
            return []
        tokens = list(self._encode(forced_text(matcher)))
        accepted = _accepted(matcher, tokens)
        room = min(request.max_tokens, self.max_model_len - request.num_tokens)
        if accepted < len(tokens) or accepted >= room:
            matcher.rollback(accepted)
            return []
        if tokens and _accepted(matcher, [self._quote]):  # of an empty string: the two may be one token
            matcher.rollback(2)
            tokens.pop()
        return tokens

    # ------------------------------------------------------------------------------------------------------ the end

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        tokens, stopped = super()._update_request_with_output(request, new_token_ids, is_stale)
        if not stopped and tokens and (rest := self._last(request, tokens)):
            more, stopped = super()._update_request_with_output(request, rest, is_stale)
            tokens = [*tokens, *more]
        return tokens, stopped

    def _last(self, request: Request, new: Sequence[int]) -> list[int]:
        """All that may still come behind these tokens, which the grammar has not accepted yet, with the stop token.

        Nothing where there is a choice.
        """
        if not self._may_end(new[-1]) or (matcher := self._asked(request)) is None:
            return []
        assert request.sampling_params is not None
        stop, rest = request.sampling_params.eos_token_id, []
        accepted = _accepted(matcher, new)
        if stop is not None and accepted == len(new) and not matcher.is_terminated():
            forced = self._encode(forced_text(matcher))
            accepted += _accepted(matcher, forced)
            if accepted == len(new) + len(forced) and self._may_only_stop(matcher):
                rest = [*forced, stop]
        matcher.rollback(accepted)
        return rest

    def _may_only_stop(self, matcher: Any) -> bool:
        if not matcher.is_completed():
            return False
        mask = self._mask
        matcher.fill_next_token_bitmask(mask)
        return int(np.bitwise_count(mask.numpy().view(np.uint32)).sum()) <= len(matcher.stop_token_ids)

    # -------------------------------------------------------------------------------------------------- what is told

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        told = super().update_from_output(scheduler_output, model_runner_output)
        if self._begun:
            for output in (output for of_client in told.values() for output in of_client.outputs):
                if begun := self._begun.pop(output.request_id, None):
                    _tell(output, begun)
        return told

    def finish_requests(self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus) -> list[Request]:
        finished = super().finish_requests(request_ids, finished_status)
        for request in finished:
            self._begun.pop(request.request_id, None)
        return finished

    # ------------------------------------------------------------------------------------------------------ grammar

    def _asked(self, request: Request) -> Any:
        """The grammar's state, where its ends are ours."""
        wants_scores = request.sampling_params is not None and request.sampling_params.logprobs is not None
        return None if wants_scores or not self._has_ends else self._matcher(request)

    @cached_property
    def _mask(self) -> torch.Tensor:
        """Of one position, a bit a token."""
        return torch.zeros(1, -(-self.vllm_config.model_config.get_vocab_size() // 32), dtype=torch.int32)

    @cached_property
    def _quote(self) -> int:
        [token] = self._encode('"')
        return token


def _accepted(matcher: Any, tokens: Sequence[int]) -> int:
    """How many of the tokens the grammar has accepted, which is in that state then."""
    return sum(1 for _ in takewhile(matcher.accept_token, tokens))


def _lengthen_prompt(request: Request, tokens: Sequence[int]) -> None:
    """To scheduler and worker it is the prompt's end: neither knows of an answer that begins before it is computed."""
    assert request.prompt_token_ids is not None
    request.prompt_token_ids = [*request.prompt_token_ids, *tokens]
    request._all_token_ids.extend(tokens)
    request.num_prompt_tokens += len(tokens)
    request.max_tokens -= len(tokens)
    request.update_block_hashes()


def _tell(output: EngineCoreOutput, begun: Sequence[int]) -> None:
    """To whoever asked they are tokens of the answer, and none of the prompt."""
    output.new_token_ids = [*begun, *output.new_token_ids]
    if (stats := output.prefill_stats) is not None:
        prompt, external = stats.num_prompt_tokens - len(begun), stats.num_external_cached_tokens
        stats.set(prompt, min(stats.num_local_cached_tokens, prompt - external), external)
