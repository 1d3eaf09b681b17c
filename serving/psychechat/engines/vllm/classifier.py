"""Emotion and risk of utterances, and whether drafts hurt, from our encoder in vLLM's pooling runner."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from vllm import PoolingParams, __version__
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs.engine import tokens_input
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Pair
from psychechat.engines.vllm.cpu import half_products, warn_of
from psychechat.engines.vllm.cpu.niceness import lower_priority
from psychechat.engines.vllm.model import pooler_config, spans_of
from psychechat.engines.vllm.stats import stat_loggers
from psychechat.engines.vllm.urgent_first import Pieces, UrgentFirst
from psychechat.engines.vllm.windows import Row, Window, Windows, assess, has_third_head, hurting
from psychechat.errors import DeadlineExceeded, EngineUnavailable

Rows = Sequence[Row]
"""A window's, and then its sentences'."""


class VllmClassifier:
    """Implements `engines.base.Classifier`. Building one starts the engine's process and takes its time.

    vLLM gets token ids only, so that it has no text to log.
    """

    def __init__(
        self,
        model: Path,
        *,
        max_model_len: int = 512,
        max_num_batched_tokens: int = 2048,
        on_ray: bool = False,
        **engine_args: Any,
    ) -> None:
        """Load a model folder, such as `psychechat.demo.encoder.prepare` writes.

        `max_model_len` is a window's length in tokens. `max_num_batched_tokens` bounds one forward pass, which is
        what an urgent call may have to wait for. `on_ray`: this is a process of Ray's, whose agent gets vLLM's
        metrics. `engine_args` are further fields of vLLM's AsyncEngineArgs.

        Raises ValueError for a folder whose heads are none of ours.
        """
        self._windows = Windows.of(model, max_model_len)
        heads = json.loads((model / "config.json").read_text())["psychechat"]
        self._judges = has_third_head(heads["groups"], heads["pooling"])
        self._cutter = UrgentFirst("windows")
        self._calls = count()
        cpu = current_platform.is_cpu()
        settings = {
            # Without AMX, bf16 (vLLM's default there) gains nothing on short texts and takes twice as long on long.
            # Its products alone do gain: `cpu.half_products`.
            "dtype": "float32" if cpu else "auto",
            # Compiling makes this small model some 15 % faster on a CPU, and its engine start 35 s later each time.
            "enforce_eager": cpu,
            "max_num_seqs": 256,
            "disable_log_stats": not on_ray,
            "enable_log_requests": False,
        }
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=str(model),
                runner="pooling",
                skip_tokenizer_init=True,
                max_model_len=max_model_len,
                max_num_batched_tokens=max(max_num_batched_tokens, max_model_len),
                pooler_config=pooler_config(heads["pooling"]),
                scheduling_policy="priority",
                **(settings | engine_args),
            ),
            stat_loggers=stat_loggers(on_ray),
        )
        self.limits = half_products.limits(self._engine.vllm_config)
        """Additions that are off, for `/ready` to tell."""
        warn_of(self.limits, __version__)
        if cpu:
            lower_priority()

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        """One assessment an utterance, in order. All windows of all utterances are in the engine together.

        Cancelling aborts them there. Raises DeadlineExceeded once `call.deadline` has passed and EngineUnavailable
        if the engine is gone.
        """
        texts = await self._read((self._windows.with_sentences(text) for text in utterances), call)
        return [assess(windows) for windows in texts]

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        """P(the draft hurts the seeker) a pair, in order; None if the folder has no third head. As `classify` else."""
        if not self._judges:
            return None
        texts = await self._read(([self._windows.pair(pair.seeker, pair.draft)] for pair in pairs), call)
        return [hurting(rows) for (rows,) in texts]

    async def check_health(self) -> None:
        """Raises EngineUnavailable if the engine's process has died."""
        try:
            await self._engine.check_health()
        except EngineDeadError:
            raise EngineUnavailable("The classifier's engine is gone.") from None

    def shutdown(self) -> None:
        self._cutter.close()
        self._engine.shutdown()

    async def _read(self, cut: Iterator[list[Window]], call: Call) -> list[list[Rows]]:
        """Rows of each text's windows. `cut` makes these, a text at a time, in a thread."""

        def pieces() -> Pieces[list[list[Window]]]:
            texts = []
            for windows in cut:
                texts.append(windows)
                yield
            return texts

        left = call.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("The turn's time was up before its classification.")
        try:
            async with asyncio.timeout(None if left == float("inf") else left):
                return await self._rows(await self._cutter.run(pieces(), call.priority), call)
        except TimeoutError:
            raise DeadlineExceeded("The turn's time was up during its classification.") from None

    async def _rows(self, texts: list[list[Window]], call: Call) -> list[list[Rows]]:
        name = f"{call.request_id}-{next(self._calls)}"  # several calls of a turn may be under way at once
        try:
            async with asyncio.TaskGroup() as group:
                rows = [
                    [
                        group.create_task(self._probabilities(window, f"{name}-{t}-{w}", call))
                        for w, window in enumerate(windows)
                    ]
                    for t, windows in enumerate(texts)
                ]
        except* (EngineDeadError, EngineGenerateError):
            failed = True
        else:
            failed = False
        if failed:  # an exception raised inside except* would arrive wrapped in a group
            raise EngineUnavailable("The classifier's engine is gone.")
        return [[row.result() for row in windows] for windows in rows]

    async def _probabilities(self, window: Window, request_id: str, call: Call) -> Rows:
        """A row for the window, then one for each of its sentences."""
        outputs = self._engine.encode(
            tokens_input(window.ids, cache_salt=call.tenant_salt or None),
            PoolingParams(task="classify", extra_kwargs=spans_of(window.sentences) if window.sentences else None),
            request_id,
            priority=call.priority,
            trace_headers=call.trace if await self._engine.is_tracing_enabled() else None,
        )
        rows: list[list[float]] = []
        async for output in outputs:
            read = output.outputs.data
            rows = read.reshape(-1, read.shape[-1])[: 1 + len(window.sentences)].tolist()
        return rows
