"""Sampling on a CPU without what vLLM's samplers do there for nothing.

Penalties for what was written already: vLLM counts every token of the vocabulary for every sequence in the batch as
soon as one of them has a penalty. On a GPU nobody notices. On a CPU core, with one sequence in four penalised, a batch
of 16 wrote a third less. Here they are the same numbers, of the few tokens that they are about.

Steps for which nothing was proposed (`jump_forward`): vLLM draws and copies for what it might have to put in the place
of a rejected token. Here such a step is sampled as it is without proposals.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from vllm.v1.outputs import SamplerOutput
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.spec_decode.metadata import SpecDecodeMetadata


def install(model_runner: Any) -> None:
    """Replacement of vLLM's samplers, in a worker's process. Twice is as once.

    Switch: `additional_config: {sparse_penalties: false}`.
    """
    model_runner.sampler.apply_penalties = penalise_sequences
    if hasattr(model_runner, "rejection_sampler"):  # where tokens are proposed
        judging = model_runner.rejection_sampler
        judging.apply_penalties = penalise_proposals
        judging.forward = sample_unless_proposed(MethodType(type(judging).forward, judging), model_runner.sampler)


def sample_unless_proposed(
    judge: Callable[..., SamplerOutput], sample: Callable[..., SamplerOutput]
) -> Callable[..., SamplerOutput]:
    """`RejectionSampler.forward` for steps with proposals; `Sampler` for those that have none."""

    def forward(
        metadata: SpecDecodeMetadata, draft_probs: None, logits: torch.Tensor, sampling: SamplingMetadata
    ) -> SamplerOutput:
        if metadata.max_spec_len:
            return judge(metadata, draft_probs, logits, sampling)
        return sample(logits=logits, sampling_metadata=sampling)

    return forward


def penalise_sequences(
    logits: torch.Tensor, sampling: SamplingMetadata, output_token_ids: Sequence[Sequence[int]]
) -> torch.Tensor:
    """`logits` [sequences, vocabulary], penalised in place, as `Sampler.apply_penalties` does it."""
    return _penalised(logits, sampling, slice(None), output_token_ids)


def penalise_proposals(
    logits: torch.Tensor,
    sampling: SamplingMetadata,
    _: SpecDecodeMetadata,
    sequences: torch.Tensor,
    output_token_ids: Sequence[Sequence[int]],
) -> torch.Tensor:
    """`logits` [proposed tokens, vocabulary]: the same for each token that was proposed, of the sequence it is for."""
    return _penalised(logits, sampling, sequences, output_token_ids)


def _penalised(
    logits: torch.Tensor,
    sampling: SamplingMetadata,
    rows: slice | torch.Tensor,
    output_token_ids: Sequence[Sequence[int]],
) -> torch.Tensor:
    if sampling.no_penalties:
        return logits
    frequency, presence = sampling.frequency_penalties[rows], sampling.presence_penalties[rows]
    repetition = sampling.repetition_penalties[rows]
    looks_at_prompt = repetition != 1
    assert sampling.prompt_token_ids is not None
    sequences = torch.arange(len(sampling.prompt_token_ids))[rows]
    for row in torch.nonzero((frequency != 0) | (presence != 0) | looks_at_prompt).flatten().tolist():
        written, counts = _counted(output_token_ids[row], logits.shape[-1])
        if looks_at_prompt[row]:
            asked, _ = _counted(sampling.prompt_token_ids[sequences[row]], logits.shape[-1])
            seen = torch.cat([asked, written])  # some twice: each is written twice, alike
            of_seen = logits[row, seen]
            logits[row, seen] = torch.where(of_seen > 0, of_seen / repetition[row], of_seen * repetition[row])
        penalty = frequency[row] * counts + presence[row]
        logits[row, written] -= penalty.to(logits.dtype)
    return logits


def _counted(tokens: Sequence[int] | torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, each once, and how often. What vLLM fills up with is none."""
    distinct_tokens, counts = np.unique(np.asarray(tokens, dtype=np.int64), return_counts=True)
    known = (distinct_tokens >= 0) & (distinct_tokens < vocabulary)
    return torch.from_numpy(distinct_tokens[known]), torch.from_numpy(counts[known])
