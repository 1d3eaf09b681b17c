"""The generator on a real engine whose weights are random: nothing but the engine keeps its answers in shape."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from psychechat import prompts
from psychechat.engines.base import Call, Delta, Load, Message, Sampling, Stage, StageName, Usage
from psychechat.engines.vllm import cpu
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded, EngineUnavailable
from psychechat.sizing import shapes
from psychechat.sizing.memory import Asked, kv_token_bytes

if TYPE_CHECKING:  # the counselor of `conftest` imports vLLM when it is built, and not on collection
    from psychechat.engines.vllm.generator import VllmGenerator

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CANARY = "zanzibarquokka"
CONTEXT = 4096  # of the counselor in `conftest`
CALL = Call("test", "session", tenant_salt="tenant")
HELLO = [Message("system", f"Say {CANARY}."), Message("user", "I feel sad.")]
FREE = Stage(StageName.REPLY)
THINKING = Stage(StageName.REPLY, thinks=True)
ENDLESS = Sampling(3000, temperature=1.0, top_p=1.0)
SHORT = Sampling(8, temperature=1.0)
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["low", "high"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


async def collect(
    counselor: "VllmGenerator",
    stage: Stage = FREE,
    sampling: Sampling = SHORT,
    call: Call = CALL,
    messages: Sequence[Message] = HELLO,
) -> Delta:
    """A whole generation as one delta."""
    content = reasoning = ""
    last = Delta()
    async for last in counselor.generate(messages, stage, sampling, call):
        content, reasoning = content + last.content, reasoning + last.reasoning
    return replace(last, content=content, reasoning=reasoning)


async def several(counselor: "VllmGenerator", call: Call) -> None:
    """Long generations, of which one or another may draw its end early."""
    await asyncio.gather(*(collect(counselor, FREE, ENDLESS, call) for _ in range(4)))


async def thought_out(counselor: "VllmGenerator", stage: Stage, messages: Sequence[Message] = HELLO) -> Delta:
    """An answer after thinking. Weights that have learnt nothing may also end in the midst of it, or go round in
    circles: asked again then, and soon.
    """
    for _ in range(60):
        answer = await collect(counselor, stage, replace(ENDLESS, max_tokens=200), messages=messages)
        if answer.reasoning and answer.content and answer.finish_reason == "stop":
            return answer
    pytest.fail("sixty generations did not end their thinking")


def usage(whole: Delta) -> Usage:
    assert whole.usage is not None
    return whole.usage


async def running(counselor: "VllmGenerator") -> float:
    """Requests in the engine's own batch, as it last reported; a step of its own makes it report."""
    from vllm.v1.metrics.reader import Gauge, get_metrics_snapshot

    await collect(counselor, sampling=Sampling(2))
    return sum(
        metric.value
        for metric in get_metrics_snapshot()
        if isinstance(metric, Gauge) and metric.name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
    )


async def test_on_a_cpu_all_others_go_before_the_engine(counselor: "VllmGenerator") -> None:
    [engine_core] = counselor._engine.engine_core.resources.engine_manager.processes
    threads = [int(thread) for thread in os.listdir(f"/proc/{engine_core.pid}/task")]
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {19}
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


async def test_thinking_that_nobody_is_shown_does_not_travel(counselor: "VllmGenerator") -> None:
    whole = await collect(counselor, replace(THINKING, tells_thinking=False), Sampling(64, temperature=1.0))
    assert whole.reasoning == ""
    assert usage(whole).reasoning_tokens > 0


async def test_its_load_is_vllms_own(counselor: "VllmGenerator") -> None:
    assert counselor.load() == Load()
    tasks = [asyncio.create_task(several(counselor, CALL)) for _ in range(5)]
    async with asyncio.timeout(60):
        while not counselor.load().num_requests_waiting:
            await asyncio.sleep(0.01)
    load = counselor.load()
    assert load.num_requests_running == 16
    assert 0 < load.kv_cache_usage_perc < 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert counselor.load() == Load()  # though no step of the engine has said so


async def test_it_tells_the_control_tokens_of_its_own_tokenizer(counselor: "VllmGenerator") -> None:
    assert counselor.control_tokens == {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"}


async def test_its_kv_memory_is_what_its_size_foresees(counselor: "VllmGenerator") -> None:
    """The one GiB that `conftest` gives it, in whole blocks."""
    shape = shapes.of(str(files("psychechat") / "demo" / "counselor"))
    foreseen = 2**30 // kv_token_bytes(shape, Asked())
    assert counselor.kv_tokens is not None
    assert 0 <= foreseen - counselor.kv_tokens < 32


async def test_every_stage_of_every_pack_keeps_its_schema(counselor: "VllmGenerator") -> None:
    stages = [stage for name in ("en", "zh") for kind in StageName for stage in prompts.load(name).stages(kind)]
    stages = [stage for stage in stages if stage.schema is not None]
    await counselor.warm(stages)
    answers = await asyncio.gather(
        *(
            collect(counselor, stage, Sampling(3000, temperature=temperature, top_p=1.0))
            for stage in stages
            for temperature in (0, 1)
        )
    )
    for stage, answer in zip([stage for stage in stages for _ in range(2)], answers, strict=True):
        assert answer.finish_reason == "stop"
        assert stage.schema is not None
        jsonschema.validate(json.loads(answer.content), stage.schema)
        assert usage(answer).reasoning_tokens == 0


async def test_what_the_grammars_force_takes_no_steps(counselor: "VllmGenerator") -> None:
    """Were vLLM to ask no more for what is forced, nothing else would tell."""
    before = accepted()
    await collect(counselor, prompts.load("en").stage(StageName.DRAFT), Sampling(3000))
    assert accepted() > before


def accepted() -> float:
    """Tokens that were proposed and kept, since the first engine of this process."""
    from vllm.v1.metrics.reader import Counter, get_metrics_snapshot

    counters = [metric for metric in get_metrics_snapshot() if isinstance(metric, Counter)]
    return sum(counter.value for counter in counters if counter.name == "vllm:spec_decode_num_accepted_tokens")


async def test_what_an_answer_begins_with_is_no_part_of_its_prompt(counselor: "VllmGenerator") -> None:
    """Wherever in a block it lies, and whoever computed it before."""
    moody = replace(FREE, schema=MOOD)
    prompts = [[Message("user", f"begun{' a' * length}")] for length in range(32)]
    for _ in range(2):
        answers = await asyncio.gather(*(collect(counselor, moody, Sampling(60), messages=asked) for asked in prompts))
        counts = [usage(answer) for answer in answers]
        assert [count.prompt_tokens - counts[0].prompt_tokens for count in counts] == list(range(32))
        assert all(count.cached_tokens <= count.prompt_tokens for count in counts)
        assert {json.loads(answer.content)["mood"] for answer in answers} <= {"low", "high"}
        assert all(answer.finish_reason == "stop" for answer in answers)


async def test_the_ends_of_an_answer_count_as_its_tokens(counselor: "VllmGenerator") -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [True]}}, "required": ["a"], "additionalProperties": False}
    answer = await collect(counselor, replace(FREE, schema=schema), Sampling(60))
    assert answer.content == '{"a":true}'
    cut = await collect(counselor, replace(FREE, schema=schema), Sampling(usage(answer).completion_tokens - 1))
    assert (cut.content, cut.finish_reason) == ('{"a":true}', "length")  # the stop is a token too


async def test_on_a_cpu_the_engine_has_all_additions(counselor: "VllmGenerator") -> None:
    config = counselor._engine.vllm_config
    assert config.scheduler_config.scheduler_cls == cpu.ADDITIONS["scheduler_cls"]
    assert config.parallel_config.worker_cls == cpu.ADDITIONS["worker_cls"]
    assert config.speculative_config is not None
    assert config.speculative_config.model == cpu.ADDITIONS["speculative_config"]["model"]
    assert counselor.limits == ()


async def test_a_stage_that_thinks_is_constrained_after_its_thinking(counselor: "VllmGenerator") -> None:
    answer = await thought_out(counselor, replace(THINKING, schema=MOOD))
    assert json.loads(answer.content) in ({"mood": "low"}, {"mood": "high"})
    assert answer.reasoning
    assert "</think>" not in answer.reasoning
    assert 0 < usage(answer).reasoning_tokens < usage(answer).completion_tokens


async def test_where_the_end_of_thinking_is_no_token_the_text_ends_it(
    counselor: "VllmGenerator", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Qwen2.5's vocabulary. vLLM is then told that nothing thinks, and the grammar begins with the thinking."""
    monkeypatch.setattr(counselor, "_close", None)
    stage = replace(THINKING, schema=MOOD, indent=4, blank_line=True)
    answer = await thought_out(counselor, stage)
    assert answer.content in ('{\n    "mood": "low"\n}', '{\n    "mood": "high"\n}')
    assert answer.reasoning
    assert "</think>" not in answer.reasoning
    assert 0 < usage(answer).reasoning_tokens < usage(answer).completion_tokens


async def test_the_published_form_follows_the_thinking(counselor: "VllmGenerator") -> None:
    answer = await thought_out(counselor, replace(THINKING, schema=MOOD, indent=4, blank_line=True))
    assert answer.content in ('{\n    "mood": "low"\n}', '{\n    "mood": "high"\n}')


async def test_what_nobody_sets_is_the_checkpoints(counselor: "VllmGenerator") -> None:
    """The demo's `generation_config.json` says 0.9 of `top_p`, and nothing of the others."""
    parameters = counselor._parameters(FREE, SHORT, thinking=False)
    assert (parameters.top_p, parameters.top_k, parameters.min_p, parameters.repetition_penalty) == (0.9, 0, 0.0, 1.0)
    asked = replace(SHORT, top_p=1.0, top_k=20, repetition_penalty=1.05)
    parameters = counselor._parameters(FREE, asked, thinking=False)
    assert (parameters.top_p, parameters.top_k, parameters.repetition_penalty) == (1.0, 20, 1.05)


async def test_what_a_template_opens_as_thinking_is_no_answer(counselor: "VllmGenerator") -> None:
    """nano's does before a reply, also where none is asked for."""
    asked = [*HELLO, Message("system", "[stage: reply]")]
    answer = await thought_out(counselor, replace(FREE, schema=MOOD), messages=asked)
    assert json.loads(answer.content) in ({"mood": "low"}, {"mood": "high"})
    assert answer.reasoning
    assert 0 < usage(answer).reasoning_tokens < usage(answer).completion_tokens


async def test_text_streams_and_is_counted_by_the_engine(counselor: "VllmGenerator") -> None:
    deltas = [delta async for delta in counselor.generate(HELLO, FREE, Sampling(40, temperature=1.0), CALL)]
    assert len(deltas) > 5
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason == "length"
    assert usage(deltas[-1]).completion_tokens == 40
    assert not any(delta.reasoning for delta in deltas)


async def test_what_leaves_one_token_to_draw_draws_the_likeliest(counselor: "VllmGenerator") -> None:
    """In one batch with what draws from all. Equal texts would also ask that no kernel rounds otherwise in a batch."""

    async def ranks(sampling: Sampling) -> list[bool]:
        """Of each token, whether none was likelier."""
        deltas = [delta async for delta in counselor.generate(HELLO, FREE, sampling, CALL)]
        return [token.logprob >= token.top[0].logprob for delta in deltas for token in delta.logprobs]

    hot = Sampling(12, temperature=2.0, logprobs=1)
    narrow = [replace(hot, top_k=1), replace(hot, min_p=1.0)] * 2
    wide, *drawn = await asyncio.gather(*(ranks(sampling) for sampling in [hot, *narrow]))
    assert all(of_one and all(of_one) for of_one in drawn)
    assert not all(wide), "a row's bound is its own"


async def test_what_was_repeated_is_penalised_beside_forced_tokens(counselor: "VllmGenerator") -> None:
    draft = prompts.load("en").stage(StageName.DRAFT)
    sampling = Sampling(3000, temperature=1.0, top_k=50, min_p=0.01, repetition_penalty=1.3)
    text, *drafts = await asyncio.gather(
        collect(counselor, FREE, Sampling(40, repetition_penalty=20.0)),
        *(collect(counselor, draft, sampling) for _ in range(3)),
    )
    assert text.content != (await collect(counselor, FREE, Sampling(40))).content
    for answer in drafts:
        jsonschema.validate(json.loads(answer.content), draft.schema or {})


async def test_stop_words_end_a_generation(counselor: "VllmGenerator") -> None:
    sampling = replace(ENDLESS, max_tokens=100, stop=("</think>",))
    for _ in range(60):  # until it is drawn
        answer = await collect(counselor, FREE, sampling)
        assert "</think>" not in answer.content
        if answer.finish_reason == "stop":
            break
    assert answer.finish_reason == "stop"
    assert usage(answer).completion_tokens < sampling.max_tokens


@pytest.mark.parametrize("stage", [FREE, THINKING], ids=["free", "thinking"])
async def test_log_probabilities_are_the_answers_and_their_bytes_add_up_to_it(
    counselor: "VllmGenerator", stage: Stage
) -> None:
    """Random weights write many a character in parts, which vLLM's own texts of tokens lose, and special tokens."""
    sampling, content, deltas = Sampling(150, temperature=1.0, top_p=1.0, logprobs=3), "", []
    for _ in range(60):  # they may also think to the end
        deltas = [delta async for delta in counselor.generate(HELLO, stage, sampling, CALL)]
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


async def test_log_probabilities_beside_forced_tokens(counselor: "VllmGenerator") -> None:
    """In one batch with answers of which several tokens come in a step."""
    draft = prompts.load("en").stage(StageName.DRAFT)
    drafts = asyncio.gather(*(collect(counselor, draft, Sampling(3000, temperature=1.0)) for _ in range(4)))
    scored = replace(SHORT, max_tokens=60, logprobs=1)

    deltas = [delta async for delta in counselor.generate(HELLO, FREE, scored, CALL)]
    tokens = [token for delta in deltas for token in delta.logprobs]
    assert all(token.logprob <= 0 and len(token.top) == 1 for token in tokens)
    assert len(tokens) == usage(deltas[-1]).completion_tokens > 0
    for answer in await drafts:
        assert draft.schema is not None
        jsonschema.validate(json.loads(answer.content), draft.schema)


async def test_no_probability_is_told_that_was_not_asked_for(counselor: "VllmGenerator") -> None:
    assert not (await collect(counselor)).logprobs
    chosen = replace(SHORT, logprobs=0)
    deltas = [delta async for delta in counselor.generate(HELLO, FREE, chosen, CALL)]
    tokens = [token for delta in deltas for token in delta.logprobs]
    assert len(tokens) == 8
    assert not any(token.top for token in tokens)


async def test_closing_the_iterator_aborts_in_the_engine(counselor: "VllmGenerator") -> None:
    async with aclosing(counselor.generate(HELLO, FREE, ENDLESS, CALL)) as deltas:
        await anext(deltas)
    assert await running(counselor) == 0


async def test_cancelling_the_task_aborts_in_the_engine(counselor: "VllmGenerator") -> None:
    tasks = [asyncio.create_task(collect(counselor, FREE, ENDLESS)) for _ in range(8)]
    await asyncio.sleep(0.5)
    assert await running(counselor) > 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await running(counselor) == 0


async def test_a_deadline_ends_and_aborts_a_generation(counselor: "VllmGenerator") -> None:
    started, call = time.monotonic(), replace(CALL, deadline=time.monotonic() + 0.5)
    with pytest.raises(DeadlineExceeded):
        await several(counselor, call)
    assert time.monotonic() - started < 2
    assert await running(counselor) == 0


async def test_a_deadline_in_the_past_starts_nothing(counselor: "VllmGenerator") -> None:
    with pytest.raises(DeadlineExceeded):
        await collect(counselor, call=replace(CALL, deadline=time.monotonic() - 1))


async def test_seeded_requests_with_long_prompts_leave_the_engine_alive(counselor: "VllmGenerator") -> None:
    long = [Message("user", "I could not sleep again last night. " * 300)]
    seeded = replace(SHORT, seed=7)
    answers = await asyncio.gather(*(collect(counselor, FREE, seeded, CALL, long) for _ in range(16)))
    assert all(usage(answer).completion_tokens == 8 for answer in answers)
    await counselor.check_health()


async def test_prefixes_are_shared_within_a_tenant_only(counselor: "VllmGenerator") -> None:
    messages = [Message("system", "Words that nobody has sent so far. " * 30), Message("user", "hello")]
    first = usage(await collect(counselor, messages=messages))
    again = usage(await collect(counselor, messages=[*messages, Message("system", "[stage: draft]")]))
    foreign = usage(await collect(counselor, call=replace(CALL, tenant_salt="other"), messages=messages))
    assert (first.cached_tokens, foreign.cached_tokens) == (0, 0)
    assert again.cached_tokens >= first.prompt_tokens - 32 - 16  # a block, and the assistant's header


async def test_the_urgent_pass_those_who_wait(counselor: "VllmGenerator") -> None:
    order: list[str] = []

    async def first_token(name: str, priority: int) -> None:
        await collect(counselor, sampling=Sampling(1), call=replace(CALL, priority=priority))
        order.append(name)

    busy = [asyncio.create_task(collect(counselor, FREE, Sampling(400, temperature=0.0))) for _ in range(16)]
    await asyncio.sleep(0.3)
    waiting = [asyncio.create_task(first_token("normal", 0)) for _ in range(4)]
    await asyncio.sleep(0.1)
    await asyncio.gather(first_token("urgent", -1), *waiting, *busy)
    assert order[0] == "urgent"


async def test_a_few_urgent_ones_have_every_second_step_to_themselves(counselor: "VllmGenerator") -> None:
    order: list[str] = []

    async def write(name: str, tokens: int, priority: int) -> None:
        greedy = Sampling(tokens, temperature=0.0)
        whole = await collect(counselor, FREE, greedy, replace(CALL, priority=priority))
        assert usage(whole).completion_tokens == tokens
        order.append(name)

    ordinary = [write("ordinary", 90, 0) for _ in range(8)]
    await asyncio.gather(*ordinary, write("urgent", 120, -1))
    assert order[0] == "urgent"


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(counselor: "VllmGenerator") -> None:
    long = [Message("user", "word " * CONTEXT)]
    with pytest.raises(ContextLengthExceeded) as refused:
        await collect(counselor, messages=long)
    assert refused.value.limit == CONTEXT
    assert refused.value.tokens > CONTEXT
    with pytest.raises(ContextLengthExceeded):
        await counselor.check_fits(HELLO, reserve=CONTEXT, call=CALL)
    await counselor.check_fits(HELLO, reserve=CONTEXT // 2, call=CALL)


async def test_no_text_reaches_a_log(counselor: "VllmGenerator", counselor_log: Path) -> None:
    await collect(counselor)
    written = await asyncio.to_thread(counselor_log.read_text)
    assert "EngineCore" in written
    assert CANARY not in written
    assert "I feel sad" not in written


async def test_a_dead_engine_is_unavailable(
    doomed_counselor: "VllmGenerator", counselor_log: Path, output_to: OutputTo
) -> None:
    counselor = doomed_counselor
    [engine_core] = counselor._engine.engine_core.resources.engine_manager.processes
    with output_to(counselor_log):
        reading = asyncio.create_task(several(counselor, CALL))
        await asyncio.sleep(0.3)
        os.kill(engine_core.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await reading
        with pytest.raises(EngineUnavailable):
            await counselor.check_health()
        with pytest.raises(EngineUnavailable):
            await collect(counselor)


async def test_of_given_texts_one_is_written_a_piece_at_a_time(counselor: "VllmGenerator") -> None:
    """In any language, whatever the weights would say. A second one shows that the first was no luck of one grammar."""
    texts = ("I am listening. What is on your mind?", "好的，慢慢说。", "Go on.")
    for choices in (texts, texts[:1]):
        stage = replace(FREE, choices=choices)
        deltas = [d async for d in counselor.generate(HELLO, stage, Sampling(64, temperature=1.0), CALL)]
        assert "".join(delta.content for delta in deltas).lstrip("\n") in choices
        assert deltas[-1].finish_reason == "stop"
        assert len(deltas) > 1


async def test_texts_whose_characters_share_bytes_end_no_engine(counselor: "VllmGenerator") -> None:
    stage = replace(FREE, choices=("你好。好的。", "你如何？好吗？", "你奴。"))
    for _ in range(8):
        written = await collect(counselor, stage, Sampling(64, temperature=1.0))
        assert written.content.lstrip("\n") in stage.choices
    await counselor.check_health()
