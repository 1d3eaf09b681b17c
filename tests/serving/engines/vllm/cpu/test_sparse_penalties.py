"""Sampling on a CPU: penalties are vLLM's own numbers, and steps without proposals are plain ones."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

VOCABULARY = 64
OUTPUTS = [[], [3], [5, 5, 5, 9, 63], [0, 0, 1], list(range(40)) * 3]
FREQUENCY = [1.0, 0.0, 0.7, -2.0, 0.0]
PRESENCE = [0.5, 0.0, -0.3, 0.0, 2.0]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def metadata(repetition: float = 1.0, *, none: bool = False) -> Any:
    """`repetition`: of every second sequence."""
    return SimpleNamespace(
        no_penalties=none,
        # The last number fills up a prompt that is shorter than others.
        prompt_token_ids=torch.randint(0, VOCABULARY + 1, (len(OUTPUTS), 30), generator=_seeded(1)),
        frequency_penalties=torch.tensor(FREQUENCY),
        presence_penalties=torch.tensor(PRESENCE),
        repetition_penalties=torch.tensor([repetition if row % 2 else 1.0 for row in range(len(OUTPUTS))]),
    )


def logits(rows: int) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=_seeded(rows))


@pytest.mark.parametrize("repetition", [1.0, 1.2, 0.8], ids=["written", "prompt too", "prompt rewarded"])
def test_sequences_are_penalised_as_by_vllm(repetition: float) -> None:
    from vllm.v1.sample.sampler import Sampler

    from psychechat.engines.vllm.cpu.sparse_penalties import penalise_sequences

    ours = penalise_sequences(logits(len(OUTPUTS)), metadata(repetition), OUTPUTS)
    theirs = Sampler.apply_penalties(logits(len(OUTPUTS)), metadata(repetition), OUTPUTS)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("repetition", [1.0, 1.2, 0.8], ids=["written", "prompt too", "prompt rewarded"])
def test_proposed_tokens_are_penalised_as_by_vllm(repetition: float) -> None:
    from vllm.v1.sample.rejection_sampler import RejectionSampler

    from psychechat.engines.vllm.cpu.sparse_penalties import penalise_proposals

    sequences = torch.tensor([0, 2, 2, 3, 4, 4, 4])
    written = [[*OUTPUTS[sequence], 7][: len(OUTPUTS[sequence]) + row % 2] for row, sequence in enumerate(sequences)]
    given: Any = (metadata(repetition), None, sequences, written)
    ours = penalise_proposals(logits(len(sequences)), *given)
    theirs = RejectionSampler.apply_penalties(logits(len(sequences)), *given)
    torch.testing.assert_close(ours, theirs)


def test_what_vllm_fills_up_with_is_no_token() -> None:
    from psychechat.engines.vllm.cpu.sparse_penalties import penalise_sequences

    filled = [[*written, -1, VOCABULARY] for written in OUTPUTS]
    ours = penalise_sequences(logits(len(OUTPUTS)), metadata(), filled)
    torch.testing.assert_close(ours, penalise_sequences(logits(len(OUTPUTS)), metadata(), OUTPUTS))


def test_without_penalties_nothing_changes() -> None:
    from psychechat.engines.vllm.cpu.sparse_penalties import penalise_sequences

    torch.testing.assert_close(penalise_sequences(logits(5), metadata(none=True), OUTPUTS), logits(5), rtol=0, atol=0)


def test_a_step_without_proposals_is_sampled_as_without_any() -> None:
    from psychechat.engines.vllm.cpu.sparse_penalties import sample_unless_proposed

    def judge(*given: Any) -> str:
        return f"judged {len(given)}"

    def sample(*, logits: torch.Tensor, sampling_metadata: Any) -> str:
        return f"sampled {len(logits)} {sampling_metadata}"

    forward: Any = sample_unless_proposed(judge, sample)  # type: ignore[arg-type]
    assert forward(SimpleNamespace(max_spec_len=0), None, logits(3), "as asked") == "sampled 3 as asked"
    assert forward(SimpleNamespace(max_spec_len=2), None, logits(3), "as asked") == "judged 4"
