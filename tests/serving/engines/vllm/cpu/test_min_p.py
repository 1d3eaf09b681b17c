"""`min_p` beside our proposer is vLLM's own, for those who asked for it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SHARES = [0.0, 0.02, 0.3, 1.0, 0.0]


def update(shares: list[float], native: bool) -> Any:
    from vllm import SamplingParams
    from vllm.v1.sample.logits_processor import BatchUpdate

    from psychechat.engines.vllm.cpu import min_p

    parameters = [
        SamplingParams(min_p=share) if native else SamplingParams(extra_args=min_p.arguments(share) or None)
        for share in shares
    ]
    added: list[Any] = [(row, of_row, [1], []) for row, of_row in enumerate(parameters)]
    return BatchUpdate(batch_size=len(shares), removed=[], added=added, moved=[])


def test_the_same_tokens_stay_as_with_vllms() -> None:
    from vllm.v1.sample.logits_processor.builtin import MinPLogitsProcessor

    from psychechat.engines.vllm.cpu.min_p import MinP

    config: Any = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=8))
    theirs = MinPLogitsProcessor(config, torch.device("cpu"), False)
    ours = MinP()
    theirs.update_state(update(SHARES, native=True))
    ours.update_state(update(SHARES, native=False))
    logits = torch.randn(len(SHARES), 64, generator=torch.Generator().manual_seed(0))
    kept = ours.apply(logits.clone())
    torch.testing.assert_close(kept, theirs.apply(logits.clone()))
    assert kept.isfinite().sum(1).tolist()[3] == 1
    assert kept[0].isfinite().all()


def test_a_row_that_another_request_takes_over_is_free_again() -> None:
    from psychechat.engines.vllm.cpu.min_p import MinP

    ours, logits = MinP(), torch.tensor([[1.0, 2.0]])
    ours.update_state(update([1.0], native=False))
    assert ours.apply(logits.clone()).isfinite().sum() == 1
    ours.update_state(update([0.0], native=False))
    assert ours.apply(logits.clone()).isfinite().all()


@pytest.mark.parametrize("ours", [True, False])
def test_it_is_there_beside_our_proposer_alone(ours: bool) -> None:
    from psychechat.engines.vllm.cpu import ADDITIONS, min_p

    model = ADDITIONS["speculative_config"]["model"] if ours else "another"
    config: Any = SimpleNamespace(speculative_config=SimpleNamespace(model=model), use_v2_model_runner=False)
    found: list[Any] = []
    min_p.install(
        SimpleNamespace(input_batch=SimpleNamespace(logitsprocs=SimpleNamespace(argmax_invariant=found))), config
    )
    assert [type(processor) for processor in found] == ([min_p.MinP] if ours else [])
