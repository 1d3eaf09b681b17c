"""Settings and additions of vLLM on a CPU, all of them.

An engine runs in processes of vLLM's, and these import what its arguments name: the scheduler's process `scheduler`,
which is `urgent_steps`, `jump_forward`, `forced_ends` and `whole_answers`; each worker's process `worker`, which
installs what `jump_forward`, `sparse_penalties` and `min_p` have for the sampling. `half_products` is the classifier's,
and stands in its model. `niceness` is for the process that has started the engine.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these values does not import vLLM
    from vllm.config import VllmConfig

log = logging.getLogger(__name__)

VLLM = "0.32.0"
"""Version that the additions were written for. None of the places in vLLM where they stand is public."""

SETTINGS: Mapping[str, Any] = {
    "block_size": 32,  # the CPU's default of 128 tokens a block leaves little of a short conversation to share
}
"""Arguments of every engine, whatever vLLM's version."""

MAX_PROPOSED = 8
"""Tokens proposed for one step: a key, with the punctuation around it."""

ADDITIONS: Mapping[str, Any] = {
    "scheduler_cls": f"{__name__}.scheduler.CpuScheduler",
    "worker_cls": f"{__name__}.worker.CpuWorker",
    "speculative_config": {
        "method": "custom_class",
        "model": f"{__name__}.jump_forward.NoProposals",
        "num_speculative_tokens": MAX_PROPOSED,
        # However many sequences there are. Told so, vLLM does not fill up who has one token left to compute by tokens
        # that are none, for the sake of CUDA graphs; its kernel for CPUs would read beside its tables for them.
        "num_speculative_tokens_per_batch_size": [(1, 1, MAX_PROPOSED)],
    },
}
"""Arguments that bring the additions in."""

COUNSELOR_LIMITS = ("urgent_steps", "jump_forward", "forced_ends", "whole_answers", "sparse_penalties")
"""Names of the counselor's additions, for those who hear that they are off.

`min_p` is not among them: where `jump_forward` is off, vLLM takes it itself.
"""
CLASSIFIER_LIMITS = ("half_products",)
"""Names of the classifier's."""


def limits(version: str, additions: tuple[str, ...] = COUNSELOR_LIMITS) -> tuple[str, ...]:
    """Those of the additions that are off with this version of vLLM: all with another than `VLLM`.

    Those that the settings switch off are not told: who has written the settings knows.
    """
    return () if version.partition("+")[0] == VLLM else additions  # behind the + is how it was built


def warn_of(off: tuple[str, ...], version: str) -> None:
    """A line in the log, if any is off."""
    if off:
        log.warning("vLLM is %s and not %s: off on this CPU are %s", version, VLLM, ", ".join(off))


def engine_args(version: str) -> dict[str, Any]:
    """Arguments of an engine on a CPU: with another version than `VLLM` those of plain vLLM, and a warning in the log.

    An addition that meets other parts than it was written for may fail in the middle of a turn. Plain vLLM is slower.
    """
    off = limits(version)
    warn_of(off, version)
    return {**SETTINGS, **({} if off else ADDITIONS)}


def is_on(addition: str, config: "VllmConfig") -> bool:
    """Switch of an addition, in `additional_config`: vLLM keeps that for platforms, and carries it to each process."""
    switches = config.additional_config
    return not isinstance(switches, dict) or bool(switches.get(addition, True))


def proposes_what_is_forced(config: "VllmConfig") -> bool:
    """Whether the proposer is ours, of what a grammar leaves no choice about."""
    speculative = config.speculative_config
    return speculative is not None and speculative.model == ADDITIONS["speculative_config"]["model"]
