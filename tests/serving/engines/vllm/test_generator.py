"""The generator on a real engine whose weights are random: nothing but the engine keeps its answers in shape."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import pytest_asyncio
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from psychechat import prompts
from psychechat.engines.base import Call, Delta, Load, Message, Sampling, Stage, StageName, Usage
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded, EngineUnavailable

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.generator import VllmGenerator

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CANARY = "zanzibarquokka"
CONTEXT = 4096
CALL = Call("test", "session", tenant_salt="tenant")
HELLO = [Message("system", f"Say {CANARY}."), Message("user", "I feel sad.")]
FREE = Stage(StageName.REPLY)
THINKING = Stage(StageName.REPLY, thinks=True)
ENDLESS = Sampling(3000, temperature=1.0)
SHORT = Sampling(8, temperature=1.0)
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["low", "high"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def random_counselor(folder: Path) -> Path:
    """The demo counselor's architecture and tokenizer with weights that have learnt nothing.

    The row of `</think>` is made long, so that thinking ends after some dozens of tokens and not some thousands.
    """
    shutil.copytree(str(files("psychechat") / "demo" / "counselor"), folder)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: (torch.ones(w.shape) if w.dim() == 1 else 0.02 * torch.randn(w.shape, generator=generator)).to(w.dtype)
        for name, w in load_file(folder / "model.safetensors").items()
    }
    close = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("</think>")
    weights["model.embed_tokens.weight"][close] *= 25
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "engine.log"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator(
    tmp_path_factory: pytest.TempPathFactory, log: Path, output_to: OutputTo
) -> AsyncIterator["VllmGenerator"]:
    model = random_counselor(tmp_path_factory.mktemp("model") / "counselor")
    with pytest.MonkeyPatch.context() as patch, output_to(log):
        patch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")  # no level may print a text
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        from psychechat.engines.vllm.generator import VllmGenerator

        engine_args = {"enforce_eager": True, "max_model_len": CONTEXT, "max_num_seqs": 16}
        built = VllmGenerator(str(model), engine_args=engine_args)
    yield built
    with output_to(log):
        built.shutdown()


async def collect(
    generator: "VllmGenerator",
    stage: Stage = FREE,
    sampling: Sampling = SHORT,
    call: Call = CALL,
    messages: Sequence[Message] = HELLO,
) -> Delta:
    """A whole generation as one delta."""
    content = reasoning = ""
    last = Delta()
    async for last in generator.generate(messages, stage, sampling, call):
        content, reasoning = content + last.content, reasoning + last.reasoning
    return replace(last, content=content, reasoning=reasoning)


async def several(generator: "VllmGenerator", call: Call) -> None:
    """Long generations, of which one or another may draw its end early."""
    await asyncio.gather(*(collect(generator, FREE, ENDLESS, call) for _ in range(4)))


async def thought_out(generator: "VllmGenerator", stage: Stage, messages: Sequence[Message] = HELLO) -> Delta:
    """An answer after thinking. Weights that have learnt nothing may also end in the midst of it: asked again then."""
    for _ in range(8):
        answer = await collect(generator, stage, ENDLESS, messages=messages)
        if answer.content:
            return answer
    pytest.fail("eight generations ended while they thought")


def usage(whole: Delta) -> Usage:
    assert whole.usage is not None
    return whole.usage


async def running(generator: "VllmGenerator") -> float:
    """Requests in the engine's own batch, as it last reported; a step of its own makes it report."""
    from vllm.v1.metrics.reader import Gauge, get_metrics_snapshot

    await collect(generator, sampling=Sampling(2))
    return sum(
        metric.value
        for metric in get_metrics_snapshot()
        if isinstance(metric, Gauge) and metric.name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
    )


async def test_on_a_cpu_all_others_go_before_the_engine(generator: "VllmGenerator") -> None:
    [engine_core] = generator._engine.engine_core.resources.engine_manager.processes
    threads = [int(thread) for thread in os.listdir(f"/proc/{engine_core.pid}/task")]
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {19}
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


async def test_thinking_that_nobody_is_shown_does_not_travel(generator: "VllmGenerator") -> None:
    whole = await collect(generator, replace(THINKING, tells_thinking=False), Sampling(64, temperature=1.0))
    assert whole.reasoning == ""
    assert usage(whole).reasoning_tokens > 0


async def test_its_load_is_vllms_own(generator: "VllmGenerator") -> None:
    assert generator.load() == Load()
    tasks = [asyncio.create_task(several(generator, CALL)) for _ in range(5)]
    async with asyncio.timeout(60):
        while not generator.load().num_requests_waiting:
            await asyncio.sleep(0.01)
    load = generator.load()
    assert load.num_requests_running == 16
    assert 0 < load.kv_cache_usage_perc < 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert generator.load() == Load()  # though no step of the engine has said so


async def test_every_stage_of_every_pack_keeps_its_schema(generator: "VllmGenerator") -> None:
    stages = [stage for name in ("en", "zh") for kind in StageName for stage in prompts.load(name).stages(kind)]
    stages = [stage for stage in stages if stage.schema is not None]
    await generator.warm(stages)
    answers = await asyncio.gather(
        *(
            collect(generator, stage, Sampling(3000, temperature=temperature))
            for stage in stages
            for temperature in (0, 1)
        )
    )
    for stage, answer in zip([stage for stage in stages for _ in range(2)], answers, strict=True):
        assert answer.finish_reason == "stop"
        assert stage.schema is not None
        jsonschema.validate(json.loads(answer.content), stage.schema)
        assert usage(answer).reasoning_tokens == 0


async def test_what_the_grammars_forced_took_no_steps(generator: "VllmGenerator") -> None:
    """Of the answers just written: were vLLM to ask no more for what is forced, nothing else would tell."""
    from vllm.v1.metrics.reader import Counter, get_metrics_snapshot

    counts = {metric.name: metric.value for metric in get_metrics_snapshot() if isinstance(metric, Counter)}
    assert counts["vllm:spec_decode_num_accepted_tokens"] > 0


async def test_a_stage_that_thinks_is_constrained_after_its_thinking(generator: "VllmGenerator") -> None:
    answer = await thought_out(generator, replace(THINKING, schema=MOOD))
    assert json.loads(answer.content) in ({"mood": "low"}, {"mood": "high"})
    assert answer.reasoning
    assert "</think>" not in answer.reasoning
    assert 0 < usage(answer).reasoning_tokens < usage(answer).completion_tokens


async def test_what_a_template_opens_as_thinking_is_no_answer(generator: "VllmGenerator") -> None:
    """nano's does before a reply, also where none is asked for."""
    asked = [*HELLO, Message("system", "[stage: reply]")]
    answer = await thought_out(generator, replace(FREE, schema=MOOD), messages=asked)
    assert json.loads(answer.content) in ({"mood": "low"}, {"mood": "high"})
    assert answer.reasoning
    assert 0 < usage(answer).reasoning_tokens < usage(answer).completion_tokens


async def test_text_streams_and_is_counted_by_the_engine(generator: "VllmGenerator") -> None:
    deltas = [delta async for delta in generator.generate(HELLO, FREE, Sampling(40, temperature=1.0), CALL)]
    assert len(deltas) > 5
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason == "length"
    assert usage(deltas[-1]).completion_tokens == 40
    assert not any(delta.reasoning for delta in deltas)


async def test_stop_words_end_a_generation(generator: "VllmGenerator") -> None:
    answer = await collect(generator, FREE, replace(ENDLESS, stop=("</think>",)))
    assert answer.finish_reason == "stop"
    assert "</think>" not in answer.content
    assert usage(answer).completion_tokens < ENDLESS.max_tokens


@pytest.mark.parametrize("stage", [FREE, THINKING], ids=["free", "thinking"])
async def test_log_probabilities_are_the_answers_and_their_bytes_add_up_to_it(
    generator: "VllmGenerator", stage: Stage
) -> None:
    """Random weights write many a character in parts, which vLLM's own texts of tokens lose, and special tokens."""
    sampling, content, deltas = Sampling(600, temperature=1.0, logprobs=3), "", []
    for _ in range(8):  # they may also think to the end
        deltas = [delta async for delta in generator.generate(HELLO, stage, sampling, CALL)]
        content = "".join(delta.content for delta in deltas)
        if content.strip():
            break
    tokens = [token for delta in deltas for token in delta.logprobs]
    reasoning = usage(deltas[-1]).reasoning_tokens
    assert len(tokens) == usage(deltas[-1]).completion_tokens - reasoning > 0
    assert (reasoning > 0) is stage.thinks
    assert b"".join(token.bytes for token in tokens).decode(errors="replace").strip() == content.strip()
    assert all(token.logprob <= 0 and len(token.top) == 3 for token in tokens)
    assert all(token.top[0].logprob == max(other.logprob for other in token.top) for token in tokens)


async def test_log_probabilities_beside_forced_tokens(generator: "VllmGenerator") -> None:
    """In one batch with answers of which several tokens come in a step."""
    draft = prompts.load("en").stage(StageName.DRAFT)
    drafts = asyncio.gather(*(collect(generator, draft, Sampling(3000, temperature=1.0)) for _ in range(4)))
    scored = replace(SHORT, max_tokens=60, logprobs=1)

    deltas = [delta async for delta in generator.generate(HELLO, FREE, scored, CALL)]
    tokens = [token for delta in deltas for token in delta.logprobs]
    assert all(token.logprob <= 0 and len(token.top) == 1 for token in tokens)
    assert len(tokens) == usage(deltas[-1]).completion_tokens > 0
    for answer in await drafts:
        assert draft.schema is not None
        jsonschema.validate(json.loads(answer.content), draft.schema)


async def test_no_probability_is_told_that_was_not_asked_for(generator: "VllmGenerator") -> None:
    assert not (await collect(generator)).logprobs
    chosen = replace(SHORT, logprobs=0)
    deltas = [delta async for delta in generator.generate(HELLO, FREE, chosen, CALL)]
    tokens = [token for delta in deltas for token in delta.logprobs]
    assert len(tokens) == 8
    assert not any(token.top for token in tokens)


async def test_closing_the_iterator_aborts_in_the_engine(generator: "VllmGenerator") -> None:
    async with aclosing(generator.generate(HELLO, FREE, ENDLESS, CALL)) as deltas:
        await anext(deltas)
    assert await running(generator) == 0


async def test_cancelling_the_task_aborts_in_the_engine(generator: "VllmGenerator") -> None:
    tasks = [asyncio.create_task(collect(generator, FREE, ENDLESS)) for _ in range(8)]
    await asyncio.sleep(0.5)
    assert await running(generator) > 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await running(generator) == 0


async def test_a_deadline_ends_and_aborts_a_generation(generator: "VllmGenerator") -> None:
    started, call = time.monotonic(), replace(CALL, deadline=time.time() + 0.5)
    with pytest.raises(DeadlineExceeded):
        await several(generator, call)
    assert time.monotonic() - started < 2
    assert await running(generator) == 0


async def test_a_deadline_in_the_past_starts_nothing(generator: "VllmGenerator") -> None:
    with pytest.raises(DeadlineExceeded):
        await collect(generator, call=replace(CALL, deadline=time.time() - 1))


async def test_seeded_requests_with_long_prompts_leave_the_engine_alive(generator: "VllmGenerator") -> None:
    long = [Message("user", "I could not sleep again last night. " * 300)]
    seeded = replace(SHORT, seed=7)
    answers = await asyncio.gather(*(collect(generator, FREE, seeded, CALL, long) for _ in range(16)))
    assert all(usage(answer).completion_tokens == 8 for answer in answers)
    await generator.check_health()


async def test_prefixes_are_shared_within_a_tenant_only(generator: "VllmGenerator") -> None:
    messages = [Message("system", "Words that nobody has sent so far. " * 30), Message("user", "hello")]
    first = usage(await collect(generator, messages=messages))
    again = usage(await collect(generator, messages=[*messages, Message("system", "[stage: draft]")]))
    foreign = usage(await collect(generator, call=replace(CALL, tenant_salt="other"), messages=messages))
    assert (first.cached_tokens, foreign.cached_tokens) == (0, 0)
    assert again.cached_tokens >= first.prompt_tokens - 32 - 16  # a block, and the assistant's header


async def test_the_urgent_pass_those_who_wait(generator: "VllmGenerator") -> None:
    order: list[str] = []

    async def first_token(name: str, priority: int) -> None:
        await collect(generator, sampling=Sampling(1), call=replace(CALL, priority=priority))
        order.append(name)

    busy = [asyncio.create_task(collect(generator, FREE, Sampling(400, temperature=0.0))) for _ in range(16)]
    await asyncio.sleep(0.3)
    waiting = [asyncio.create_task(first_token("normal", 0)) for _ in range(4)]
    await asyncio.sleep(0.1)
    await asyncio.gather(first_token("urgent", -1), *waiting, *busy)
    assert order[0] == "urgent"


async def test_a_few_urgent_ones_have_every_second_step_to_themselves(generator: "VllmGenerator") -> None:
    order: list[str] = []

    async def write(name: str, tokens: int, priority: int) -> None:
        greedy = Sampling(tokens, temperature=0.0)
        whole = await collect(generator, FREE, greedy, replace(CALL, priority=priority))
        assert usage(whole).completion_tokens == tokens
        order.append(name)

    ordinary = [write("ordinary", 90, 0) for _ in range(8)]
    await asyncio.gather(*ordinary, write("urgent", 120, -1))
    assert order[0] == "urgent"


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(generator: "VllmGenerator") -> None:
    long = [Message("user", "word " * CONTEXT)]
    with pytest.raises(ContextLengthExceeded) as refused:
        await collect(generator, messages=long)
    assert refused.value.limit == CONTEXT
    assert refused.value.tokens > CONTEXT
    with pytest.raises(ContextLengthExceeded):
        await generator.check_fits(HELLO, reserve=CONTEXT)
    await generator.check_fits(HELLO, reserve=CONTEXT // 2)


async def test_no_text_reaches_a_log(generator: "VllmGenerator", log: Path) -> None:
    await collect(generator)
    written = await asyncio.to_thread(log.read_text)
    assert "EngineCore" in written
    assert CANARY not in written
    assert "I feel sad" not in written


async def test_a_dead_engine_is_unavailable(generator: "VllmGenerator", log: Path, output_to: OutputTo) -> None:
    """The last test here: there is no engine after it."""
    [engine_core] = generator._engine.engine_core.resources.engine_manager.processes
    with output_to(log):
        reading = asyncio.create_task(several(generator, CALL))
        await asyncio.sleep(0.3)
        os.kill(engine_core.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await reading
        with pytest.raises(EngineUnavailable):
            await generator.check_health()
        with pytest.raises(EngineUnavailable):
            await collect(generator)
