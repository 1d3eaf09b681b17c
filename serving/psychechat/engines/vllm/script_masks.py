"""Masks over the vocabulary while a text is sampled: where a request names a language, nothing broken is written.

What is not to be written has no probability: letters of other scripts (an English text has no Han), control
characters, code points without a meaning, special tokens of the template, and parts of characters that do not make a
whole one; see `writable`. A character that the vocabulary has only in parts, an emoji or a rare Han, is written as
ever. Where a mask would leave nothing, as of a grammar's words in another script, what the grammar allows is written.

vLLM has two model runners with an interface each, and the first of them takes no processors beside proposed tokens:
there `cpu.worker` installs ours, as what our grammars force needs no mask.

Switch: `additional_config: {script_masks: false}`.
"""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample import logits_processor as v1
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.worker.gpu.sample import logits_processor as v2
from xgrammar import TokenizerInfo

from psychechat.emotion import Language
from psychechat.engines.thinking import CLOSE, OPEN
from psychechat.engines.vllm.cpu import is_on, proposes_what_is_forced
from psychechat.engines.vllm.writable import ANYTHING, LONGEST, Table, table
from psychechat.language import SCRIPTS

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

log = logging.getLogger(__name__)

_ARGUMENT = "psychechat_language"
_TAG = re.compile(r"<.*>|\[[A-Z_/]+\]", re.DOTALL)
"""An added token that is a mark, whether it is said to be special or not."""
_FORBIDDEN = -1e4
"""What is added to a logit: of probability 0 at every temperature, unless all that a grammar allows is forbidden.

Then it is as if nothing were, to a thousandth; adding takes a CPU a tenth of the time of filling."""
_ROWS_KEPT = 64
"""States whose rows of the vocabulary's size are kept: few are met again and again."""


def arguments(language: Language | None) -> dict[str, Any]:
    """`SamplingParams.extra_args` of a text in this language."""
    return {} if language is None else {_ARGUMENT: language}


def processors(config: "VllmConfig") -> list[str]:
    """What to add to the engine's `logits_processors`; nothing where they are switched off or come by the worker."""
    if not is_on("script_masks", config):
        return []
    if config.use_v2_model_runner:
        return [f"{__name__}:{RunnerTwoMasks.__name__}"]
    if config.speculative_config is None:
        return [f"{__name__}:{RunnerOneMasks.__name__}"]
    if not proposes_what_is_forced(config):
        log.warning("the first model runner masks no scripts beside this speculative_config")
    return []


def install(model_runner: Any, config: "VllmConfig") -> None:
    """In a worker's process, before any request: what `processors` could not say."""
    if is_on("script_masks", config) and proposes_what_is_forced(config) and not config.use_v2_model_runner:
        batch = model_runner.input_batch
        batch.logitsprocs.non_argmax_invariant.append(RunnerOneMasks(config, model_runner.device, False))
        batch.logitsprocs_need_output_token_ids = True


class Masks:
    """The table on the device of the logits."""

    def __init__(self, found: Table, device: torch.device) -> None:
        self.kinds = torch.from_numpy(found.kinds).to(device)
        self.after = torch.from_numpy(found.after).to(device)
        self._addends = torch.from_numpy(found.forbidden * np.float32(_FORBIDDEN)).to(device)
        self._starts = found.starts
        self._addend = lru_cache(_ROWS_KEPT)(lambda state: self._addends[state][self.kinds])

    def start(self, parameters: SamplingParams) -> int:
        """State of a request before it has written anything."""
        return self._starts.get((parameters.extra_args or {}).get(_ARGUMENT, ""), ANYTHING)

    def apply(self, logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """`logits` [rows, vocabulary], masked in place, for `states` [rows] that the device knows."""
        return logits.add_(self._addends[states][:, self.kinds])

    def apply_known(self, logits: torch.Tensor, states: Sequence[int]) -> torch.Tensor:
        """The same for states that the host knows: mostly neighbours are in one, and no character has begun in it."""
        row = 0
        for state, run in groupby(states):
            end = row + len(list(run))
            if state != ANYTHING:
                logits[row:end].add_(self._addend(state))
            row = end
        return logits


class RunnerOneMasks(v1.LogitsProcessor):
    """For vLLM's first model runner, of which the host knows what each row has written."""

    def __init__(self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool) -> None:
        mask_table = _table(vllm_config.model_config)
        self._masks = Masks(mask_table, device)
        self._kinds, self._after, self._wholes = mask_table.kinds.tolist(), mask_table.after, mask_table.wholes
        self._rows: dict[int, tuple[int, Sequence[int]]] = {}
        """Start and written tokens by row, of those that are masked. vLLM adds to the tokens."""

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: v1.BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, self._row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._rows:
            return logits
        states = [ANYTHING] * len(logits)
        for row, (start, written) in self._rows.items():
            states[row] = self._state(start, written)
        return self._masks.apply_known(logits, states)

    def _row(
        self, parameters: SamplingParams, prompt: list[int] | None, written: list[int]
    ) -> tuple[int, Sequence[int]] | None:
        start = self._masks.start(parameters)
        return None if start == ANYTHING else (start, written)

    def _state(self, start: int, written: Sequence[int]) -> int:
        if not written or self._kinds[written[-1]] < self._wholes:
            return start
        state = start
        for token in written[-LONGEST:]:
            state = int(self._after[state, self._kinds[token]])
        return state


class RunnerTwoMasks(v2.LogitsProcessor):
    """For vLLM's second model runner, of which only the device knows what each row has written."""

    def __init__(self, vllm_config: "VllmConfig", req_states: v2.LogitsProcRequestState) -> None:
        self._masks = Masks(_table(vllm_config.model_config), req_states.device)
        self._written = req_states.all_token_ids
        self._of_slots = np.full(req_states.max_num_reqs, ANYTHING)
        self._starts = torch.from_numpy(self._of_slots.copy()).to(req_states.device)
        self._is_stale = False

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        start = self._masks.start(sampling_params)
        self._is_stale |= bool(self._of_slots[req_idx] != start)
        self._of_slots[req_idx] = start
        return start != ANYTHING

    def apply_staged_writes(self) -> None:
        if self._is_stale:
            self._starts = torch.from_numpy(self._of_slots.copy()).to(self._starts.device, non_blocking=True)
            self._is_stale = False

    def apply(self, logits: torch.Tensor, ctx: v2.LogitsContext) -> torch.Tensor:
        if not (self._of_slots[ctx.idx_mapping_np] != ANYTHING).any():
            return logits
        slots = ctx.expanded_idx_mapping.long()
        states = self._starts[slots]
        for back in reversed(range(LONGEST)):
            states = self._masks.after[states, self._masks.kinds[self._tokens(slots, ctx, back)]]
        return self._masks.apply(logits, states)

    def _tokens(self, slots: torch.Tensor, ctx: v2.LogitsContext, back: int) -> torch.Tensor:
        """Of each row the token so far `back` from its newest. A row's own step has those that were proposed."""
        rows = torch.arange(len(slots), device=slots.device)
        of_step = ctx.input_ids[(rows - back).clamp(min=0)]
        earlier = self._written.gpu[slots, (ctx.pos.long() - back).clamp(min=0)]
        return torch.where(ctx.expanded_local_pos >= back, of_step, earlier).long()


def _table(model: "ModelConfig") -> Table:
    """The table of the model's vocabulary. A language that it cannot write has none, and one line in the log."""
    tokenizer: Any = cached_tokenizer_from_config(model)
    vocabulary = TokenizerInfo.from_huggingface(tokenizer, vocab_size=model.get_vocab_size()).decoded_vocab
    always = _ends(model, tokenizer) | _written_in_answers(tokenizer)
    added = {token: added for token, added in tokenizer.added_tokens_decoder.items() if token not in always}
    marks = {token for token, mark in added.items() if mark.special or _TAG.fullmatch(mark.content)}
    mask_table = table(vocabulary, marks, always)
    if missing := SCRIPTS.keys() - mask_table.starts.keys():
        log.warning("no script masks for %s: the vocabulary is too small, or knows no end", ", ".join(sorted(missing)))
    return mask_table


def _ends(model: "ModelConfig", tokenizer: Any) -> set[int]:
    """Tokens that end a text, wherever a model's files say so. A list or a number or nothing in each."""
    told = (
        tokenizer.eos_token_id,
        getattr(model.hf_text_config, "eos_token_id", None),
        model.try_get_generation_config().get("eos_token_id"),
    )
    return {token for ends in told for token in (ends if isinstance(ends, list) else [ends]) if token is not None}


def _written_in_answers(tokenizer: Any) -> set[int]:
    """Marks that the model writes itself: those of the thinking, and what its template has in an answer."""
    marks = {added.content: token for token, added in tokenizer.added_tokens_decoder.items()}
    asked = [{"role": "user", "content": "."}]
    try:
        before = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "."}], tokenize=False)
    except Exception:  # a template is a program that may refuse anything
        before = whole = ""
    return {token for mark, token in marks.items() if mark in (OPEN, CLOSE) or whole.count(mark) > before.count(mark)}
