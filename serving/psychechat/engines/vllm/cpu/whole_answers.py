"""Answers that are wanted whole leave the engine's process in two pieces: the first tokens, and all others at the end.

Nobody reads half a JSON, so `generator` asks for it whole. vLLM sends each step's tokens to the other process all the
same, with the step's statistics, to be made text and counted there. On a CPU both processes, and the thread that sends,
compute on the cores that the engine computes on. The first tokens leave at once, for vLLM's metric of their time.
"""

import time
from collections.abc import Iterable
from typing import Any

from vllm.sampling_params import RequestOutputKind
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.metrics.stats import SchedulerStats
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.spec_decode.metrics import SpecDecodingStats

from psychechat.engines.vllm.cpu import is_on

_SECONDS = 0.5
"""That statistics wait at most for an answer to leave with."""


class WholeAnswers(Scheduler):
    """Scheduler that keeps what an answer's reader does not wait for. Tokens with probabilities are told as they come.

    Switch: `additional_config: {whole_answers: false}`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keeps = is_on("whole_answers", self.vllm_config)
        self._kept: dict[str, list[int]] = {}
        """Tokens of requests whose first ones were told."""
        self._proposals: SpecDecodingStats | None = None
        """Of the steps since statistics were last told."""
        self._told_at = 0.0

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        told = super().update_from_output(scheduler_output, model_runner_output)
        if not self._keeps:
            return told
        for of_client in told.values():
            of_client.outputs = [output for output in of_client.outputs if not self._keep(output)]
        told = {client: it for client, it in told.items() if it.outputs or it.finished_requests or it.scheduler_stats}
        return self._with_statistics(told)

    def make_stats(
        self, spec_decoding_stats: SpecDecodingStats | None = None, *others: Any, **by_name: Any
    ) -> SchedulerStats | None:
        """None where a step's statistics wait. vLLM adds those of its prefix cache up itself."""
        proposals = _added(self._proposals, spec_decoding_stats)
        waits = self._keeps and all(other is None for other in (*others, *by_name.values()))
        self._proposals = proposals if waits else None
        return None if waits else super().make_stats(proposals, *others, **by_name)

    def finish_requests(self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus) -> list[Request]:
        finished = super().finish_requests(request_ids, finished_status)
        for request in finished:
            self._kept.pop(request.request_id, None)
        return finished

    def _keep(self, output: EngineCoreOutput) -> bool:
        """Whether the output's tokens are for later. Those that were kept leave with one that is told."""
        name = output.request_id
        kept = self._kept.get(name)
        if kept is not None and output.finish_reason is None and output.events is None:
            kept += output.new_token_ids
            return True
        if kept:
            output.new_token_ids = [*kept, *output.new_token_ids]
        if output.finish_reason is not None:
            self._kept.pop(name, None)
        elif kept is not None or self._is_wanted_whole(name):
            self._kept[name] = []
        return False

    def _is_wanted_whole(self, name: str) -> bool:
        parameters = self.requests[name].sampling_params
        return (
            parameters is not None
            and parameters.output_kind == RequestOutputKind.FINAL_ONLY
            and parameters.logprobs is None
        )

    def _with_statistics(self, told: dict[int, EngineCoreOutputs]) -> dict[int, EngineCoreOutputs]:
        now = time.monotonic()
        is_told = any(of_client.scheduler_stats for of_client in told.values())
        if is_told or (not told and now - self._told_at < _SECONDS):
            return told
        if (statistics := super().make_stats(self._proposals)) is not None:
            told = told or {0: EngineCoreOutputs()}
            next(iter(told.values())).scheduler_stats = statistics
        self._proposals, self._told_at = None, now
        return told


def _added(before: SpecDecodingStats | None, more: SpecDecodingStats | None) -> SpecDecodingStats | None:
    if before is None or more is None:
        return more or before
    before.num_drafts += more.num_drafts
    before.num_draft_tokens += more.num_draft_tokens
    before.num_accepted_tokens += more.num_accepted_tokens
    for ours, theirs in (
        (before.num_accepted_tokens_per_pos, more.num_accepted_tokens_per_pos),
        (before.num_draft_tokens_per_pos, more.num_draft_tokens_per_pos),
    ):
        ours[:] = [a + b for a, b in zip(ours, theirs, strict=True)]
    return before
