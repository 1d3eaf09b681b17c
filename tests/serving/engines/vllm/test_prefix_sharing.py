"""A turn computes little more than what is new in it: the prompts of all stages and turns share their beginning.

Held to vLLM's own counts of prompt and cached tokens, on a real engine, over conversations whose replies are pinned. A
stage is allowed what is new since the last turn, this turn's stage results once for each prompt that holds them, and,
for each of four stages, one block and its marker.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer

from psychechat import prompts
from psychechat.config import MemorySettings
from psychechat.conversation import Conversation, Utterance
from psychechat.emotion import Language
from psychechat.engines.base import Call, Delta, Message, Sampling, Stage, Usage
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.router import Requested
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Limits, Policy
from psychechat.telemetry import Metrics

if TYPE_CHECKING:  # the counselor of `conftest` imports vLLM when it is built, and not on collection
    from psychechat.engines.vllm.generator import VllmGenerator

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BLOCK, MARKER = 32, 16
TENANT = "prefix sharing"
TOKENIZER = Tokenizer.from_file(str(files("psychechat").joinpath("demo", "counselor", "tokenizer.json")))
CONVERSATIONS: dict[Language, tuple[str, ...]] = {
    "en": (
        "I started at a new school and nobody talks to me at lunch.",
        "That sounds lonely. What is lunch like for you?",
        "I sit by the window and read so that it looks as if I wanted to be alone.",
        "You found a way to get through it. What would you wish for instead?",
        "One person to sit with. There is a girl who reads as well.",
        "She may be looking for the same. What could a first word to her be?",
        "I could ask her about her book tomorrow.",
    ),
    "zh": (
        "我换了新学校，午饭的时候没有人和我说话。",
        "听起来很孤单。午饭的时候你是怎么过的？",
        "我坐在窗边看书，这样看起来像是我自己想一个人。",
        "你想了办法熬过去。你心里其实希望怎样？",
        "有一个人能一起坐。班里有个女生也爱看书。",
        "她也许也在等这样一个人。你可以先对她说什么？",
        "明天我可以问问她在看什么书。",
    ),
}


@dataclass
class Counting:
    """A generator that notes, for each prompt, vLLM's counts and what its tail told the stage.

    One token of an answer is enough for the engine to count. The answers, of weights that have learnt nothing, are
    scripted: what a stage finds stands in the prompts of the next ones.
    """

    engine: "VllmGenerator"
    script: ScriptedGenerator = field(default_factory=ScriptedGenerator)
    prompts: list[tuple[Sequence[Message], Usage]] = field(default_factory=list)

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        async for delta in self.engine.generate(messages, stage, replace(sampling, max_tokens=1), call):
            if delta.usage is not None:
                self.prompts.append((messages, delta.usage))
        async for delta in self.script.generate(messages, stage, sampling, call):
            yield delta

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        await self.engine.check_fits(messages, reserve, call)


@pytest.mark.parametrize("language", CONVERSATIONS)
@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_a_turn_computes_what_is_new(
    counselor: "VllmGenerator", language: Language, requested: Requested
) -> None:
    generator = Counting(counselor)
    pipeline = Pipeline(
        ScriptedClassifier(),
        everywhere(generator),
        {"en": prompts.load("en"), "zh": prompts.load("zh")},
        LocalMemory(MemorySettings()),
        Metrics(),
        Policy(limits=Limits(turn_seconds=300, rounds=1, stage_attempts=1)),
    )
    texts = CONVERSATIONS[language]
    for turn in range(1, len(texts) + 1, 2):
        utterances = tuple(Utterance("counselor" if i % 2 else "seeker", t) for i, t in enumerate(texts[:turn]))
        # A session by name, because the pinned replies are not those that were given.
        request = TurnRequest(
            Conversation(utterances), requested, f"{language}-{requested}-{turn}", session="pinned", tenant=TENANT
        )
        generator.prompts.clear()
        await run_turn(pipeline, request, lambda _: None)
        computed = sum(usage.prompt_tokens - usage.cached_tokens for _, usage in generator.prompts)
        new = utterances[-2:] if turn > 1 else utterances
        # Of a prompt's tail, all but the marker on its last line are results: this turn's, or the memory's.
        # The review's prompt is asked once for each reaction, and computed once.
        results = {messages[-1].content.rpartition("\n")[0] for messages, _ in generator.prompts}
        allowed = sum(map(tokens, results)) + sum(
            tokens(f"<|im_start|>assistant\n{utterance.text}<|im_end|>\n") for utterance in new
        )
        assert len(generator.prompts) == (6 if requested == "agent" else 1)
        if turn > 1:  # the first turn computes the system text too
            assert computed <= allowed + len(generator.prompts) * (BLOCK + MARKER), f"turn {turn}: {computed} tokens"
    cached = sum(usage.cached_tokens for _, usage in generator.prompts)
    assert cached > sum(usage.prompt_tokens for _, usage in generator.prompts) / 2


def tokens(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)
