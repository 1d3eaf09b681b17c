"""The generator: vLLM's AsyncLLM behind our `Generator` Protocol."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import vllm
from vllm import SamplingParams
from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMServerError
from vllm.inputs import tokens_input
from vllm.outputs import RequestOutput
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM

from psychechat.conversation import TokenLogprob
from psychechat.engines.base import Call, Delta, FinishReason, Load, Message, Sampling, Stage, Usage
from psychechat.engines.stopping import StopStrings
from psychechat.engines.thinking import CLOSE, ThinkingSplitter, ThinkingTokens, begun
from psychechat.engines.vllm import cpu, engine_config, lora, script_masks
from psychechat.engines.vllm.cpu import min_p
from psychechat.engines.vllm.cpu.niceness import lower_priority
from psychechat.engines.vllm.encoding import Encoder, TooLong, control_tokens
from psychechat.engines.vllm.grammar import grammar, one_of
from psychechat.engines.vllm.logprobs import Scores
from psychechat.engines.vllm.stats import Gauges, kv_tokens, stat_loggers
from psychechat.engines.vllm.urgent_first import Pieces, UrgentFirst
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded, EngineUnavailable, InvalidRequest, Overloaded

log = logging.getLogger(__name__)

NEUTRAL: Mapping[str, Any] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""What changes nothing, where neither a request nor the checkpoint says more."""

_FINISH: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "abort", "repetition": "length"}


class VllmGenerator:
    """One engine in processes of its own. Building it blocks until the weights are loaded; any thread may do it.

    `model` is a folder or a hub name. `engine_args` are vLLM's `AsyncEngineArgs`, on top of `engine_config.DEFAULTS`.
    `adapters`: folders of LoRA adapters by name. `on_ray`: this is a process of Ray's, whose agent gets vLLM's metrics.
    Raises what vLLM raises if the engine cannot start.
    """

    def __init__(
        self,
        model: str,
        *,
        engine_args: Mapping[str, Any] | None = None,
        adapters: Mapping[str, Path] | None = None,
        on_ray: bool = False,
    ) -> None:
        on_cpu = current_platform.is_cpu()
        self.limits = cpu.limits(vllm.__version__) if on_cpu else ()
        """Additions that are off, for `/ready` to tell."""
        self._gauges = Gauges()
        self._adapters = lora.requests(adapters or {})
        args = engine_config.arguments(model, engine_args, adapters, on_cpu=on_cpu)
        config = engine_config.configuration(args)
        self._engine = AsyncLLM.from_vllm_config(
            config,
            stat_loggers=[self._gauges.listener, *stat_loggers(on_ray)],
            enable_log_requests=args.enable_log_requests,
            disable_log_stats=args.disable_log_stats,
        )
        if on_cpu:
            lower_priority()
        self.kv_tokens = kv_tokens(self._engine.vllm_config)
        """For which there is KV memory, known now that the engine has started."""
        self._under_way = 0
        # A seeded request whose prefill is chunked stops a CPU engine for everyone.
        self._takes_seeds = not on_cpu
        # Beside any proposer vLLM refuses a request with `min_p`; beside ours the worker takes it.
        self._takes_min_p = config.speculative_config is None
        self._traces = self._engine.observability_config.otlp_traces_endpoint is not None
        self._tokenizer: Any = self._engine.renderer.get_tokenizer()
        self._close: int | None = self._tokenizer.get_vocab().get(CLOSE)
        """None where it is several tokens: thinking then ends by its text."""
        self._sampling: Mapping[str, Any] = {**NEUTRAL, **config.model_config.get_diff_sampling_param()}
        self._scores = Scores(self._tokenizer)
        self._encoder = Encoder(self._tokenizer)
        self.control_tokens = control_tokens(self._tokenizer)
        """Which nothing that people or models wrote may hold."""
        # One thread: a Hugging Face tokenizer is not safe to share between several.
        self._renderer = UrgentFirst("render")
        self._numbers = itertools.count()

    @property
    def context_length(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self._engine.model_config.max_model_len

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        with _deadline_checked(call):
            text, prompt = await self._render(messages, call, thinks=stage.thinks, reserve=1)
            # A template may decide it, whatever was asked: some close the thinking, some always open it.
            thinking = begun(text, messages[-1].content, stage.thinks)
            with _errors_mapped():
                outputs = self._engine.generate(
                    tokens_input(prompt, cache_salt=call.tenant_salt or None),
                    self._parameters(stage, sampling, thinking=thinking),
                    # A turn may ask the same stage several times, also side by side.
                    f"{call.request_id}-{stage.name}-{next(self._numbers)}",
                    lora_request=self._adapters[call.adapter] if call.adapter else None,
                    priority=call.priority,
                    trace_headers=dict(call.trace) if self._traces else None,
                    # Said for every call: without it the engine looks for the end of a thinking that never comes.
                    # Where that is no token, the grammar begins with the thinking.
                    reasoning_ended=not thinking or self._close is None,
                )
                self._under_way += 1
                try:
                    splitter, stops = ThinkingSplitter(thinking), StopStrings(sampling.stop)
                    async for delta in self._deltas(outputs, splitter, stops, sampling.logprobs, call.deadline):
                        if stage.tells_thinking:
                            yield delta
                        elif delta.content or delta.logprobs or delta.finish_reason:
                            yield replace(delta, reasoning="")
                finally:
                    self._under_way -= 1
                    await outputs.aclose()

    async def _deltas(
        self,
        outputs: AsyncGenerator[RequestOutput, None],
        splitter: ThinkingSplitter,
        stops: StopStrings,
        alternatives: int | None,
        deadline: float,
    ) -> AsyncGenerator[Delta, None]:
        completion_tokens = reasoning_tokens = 0
        counter = ThinkingTokens(splitter.thinking)
        scores: tuple[TokenLogprob, ...] = ()
        while True:
            async with asyncio.timeout(deadline - time.monotonic() if deadline != float("inf") else None):
                output = await anext(outputs)
            completion = output.outputs[0]
            tokens = completion.token_ids
            completion_tokens += len(tokens)
            thoughts = counter.feed(self._tokenizer.convert_ids_to_tokens(tokens)) if counter.thinking else 0
            reasoning_tokens += thoughts
            if alternatives is not None and completion.logprobs:
                scores += self._scores.of(tokens[thoughts:], completion.logprobs[thoughts:], alternatives)
            split = splitter.feed(completion.text)
            content = stops.feed(split.content)
            if completion.finish_reason is None and not stops.hit:
                if split.reasoning or content:
                    yield Delta(content, split.reasoning, logprobs=scores)
                    scores = ()
                continue
            finish: FinishReason | None = "stop" if stops.hit else _FINISH.get(completion.finish_reason or "")
            if finish is None:
                raise EngineUnavailable("The engine failed this request.")
            usage = Usage(
                len(output.prompt_token_ids or ()), output.num_cached_tokens or 0, completion_tokens, reasoning_tokens
            )
            reasoning = split.reasoning + splitter.finish().reasoning
            yield Delta(content + stops.finish(), reasoning, finish, usage, scores)
            return

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        # With the thinking closed, the longer of the two renderings. What is tokenised now is so for the stages, too.
        with _deadline_checked(call):
            await self._render(messages, call, thinks=False, reserve=reserve)

    async def check_health(self) -> None:
        """Raises EngineUnavailable if the engine's processes are gone."""
        with _errors_mapped():
            await self._engine.check_health()

    def load(self) -> Load:
        # An engine whose last request was aborted takes no step more, and so reports no more.
        return self._gauges.load() if self._under_way else Load()

    async def warm(self, stages: Sequence[Stage]) -> None:
        """Load the adapters, and compile the grammars of these stages, one token each, so that no seeker waits for it.

        Raises what vLLM raises if an adapter does not fit the model.
        """
        started = time.monotonic()
        for adapter in self._adapters.values():
            await self._engine.add_lora(adapter)
        hello = [Message("user", "hello")]
        for number, stage in enumerate(stages):
            async for _ in self.generate(hello, stage, Sampling(1), Call(f"warm-{number}", "")):
                pass
        log.info(
            "warmed %d adapters and %d stages in %.1f s", len(self._adapters), len(stages), time.monotonic() - started
        )

    def shutdown(self) -> None:
        self._renderer.close()
        self._engine.shutdown()

    async def _render(
        self, messages: Sequence[Message], call: Call, *, thinks: bool, reserve: int
    ) -> tuple[str, list[int]]:
        """The prompt as the model's chat template writes it, as text and as token ids.

        Raises ContextLengthExceeded where it leaves less than `reserve` tokens of the context.
        """

        def render() -> Pieces[tuple[str, list[int]]]:
            text: str = self._tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinks,
            )
            yield
            return text, (yield from self._encoder.encode(text, call.tenant_salt, self.context_length - reserve))

        try:
            return await self._renderer.run(render(), call.priority)
        except TooLong as error:
            raise ContextLengthExceeded(error.tokens + reserve, self.context_length) from None

    def _parameters(self, stage: Stage, sampling: Sampling, *, thinking: bool) -> SamplingParams:
        """`thinking`: whether what is written begins with thinking."""
        outputs = None
        in_text = thinking and self._close is None
        if stage.schema is not None:
            after = "\n\n" if stage.blank_line and thinking else ""
            ebnf = grammar(stage.schema, indent=stage.indent, after=after, thinks_in_text=in_text)
            outputs = StructuredOutputsParams(grammar=ebnf)
        elif stage.choices:
            outputs = StructuredOutputsParams(grammar=one_of(stage.choices, thinks_in_text=in_text))
        chosen = {name: self._chosen(sampling, name) for name in NEUTRAL}
        return SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=chosen["top_p"],
            top_k=chosen["top_k"],
            min_p=chosen["min_p"] if self._takes_min_p else 0.0,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=chosen["repetition_penalty"],
            seed=sampling.seed if self._takes_seeds else None,
            logprobs=sampling.logprobs,
            structured_outputs=outputs,
            extra_args={**script_masks.arguments(stage.language), **min_p.arguments(chosen["min_p"])} or None,
            # Nobody can read half a JSON: one delta spares every process on its way the cost of the others.
            output_kind=RequestOutputKind.DELTA if stage.schema is None else RequestOutputKind.FINAL_ONLY,
        )

    def _chosen(self, sampling: Sampling, name: str) -> Any:
        asked = getattr(sampling, name)
        return self._sampling[name] if asked is None else asked


@contextmanager
def _deadline_checked(call: Call) -> Iterator[None]:
    if call.deadline <= time.monotonic():
        raise DeadlineExceeded("The turn's time is up.")
    try:
        yield
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None


@contextmanager
def _errors_mapped() -> Iterator[None]:
    """vLLM's exceptions enter here. Their messages may quote the request, so none is kept."""
    try:
        yield
    except VLLMClientError as error:
        parameter = getattr(error, "parameter", None)
        raise InvalidRequest("The engine does not accept this request.", param=parameter) from None
    except GracefulHTTPError:
        raise Overloaded(retry_after=1.0) from None
    except VLLMServerError:
        raise EngineUnavailable("The engine is not available.") from None
