"""The classifier on a real engine, against plain transformers and the reference heads."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from psychechat.conversation import Assessment
from psychechat.demo.encoder import HEADS, prepare
from psychechat.emotion import Group
from psychechat.engines.base import Call
from psychechat.engines.vllm.windows import Windows, assess
from psychechat.errors import DeadlineExceeded, EngineUnavailable
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat_kernels.fused_heads import fused_heads

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.classifier import VllmClassifier

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning:vllm"),
]

CANARY = "zanzibarquokka"
CALL = Call("test", "session")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "engine.log"


@pytest.fixture(scope="module")
def classifier(folder: Path, log: Path, output_to: OutputTo) -> Iterator["VllmClassifier"]:
    with pytest.MonkeyPatch.context() as patch, output_to(log):
        patch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")  # no level may print a text
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        from psychechat.engines.vllm.classifier import VllmClassifier

        built = VllmClassifier(folder)
    yield built
    with output_to(log.with_suffix(".end")):
        built.shutdown()


@pytest.fixture(scope="module")
def expected(folder: Path) -> "Plain":
    return Plain(folder)


class Plain:
    """The same model without vLLM: one window at a time through transformers."""

    def __init__(self, folder: Path) -> None:
        from transformers import BertModel

        self.windows = Windows.of(folder, 512)
        self.model = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32)
        self.heads = load_file(HEADS)
        self.groups = json.loads((folder / "config.json").read_text())["psychechat"]["groups"]

    @torch.inference_mode()
    def __call__(self, text: str) -> Assessment:
        windows = []
        for window in self.windows.with_sentences(text):
            hidden = self.model(torch.tensor([window.ids])).last_hidden_state[0]
            rows = []
            for first, last in ((0, len(window.ids) - 1), *window.sentences):
                ends = torch.tensor([first]), torch.tensor([last])
                weight, bias = self.heads["weight"], self.heads["bias"]
                row = fused_heads(hidden, *ends, weight, bias, self.groups, "mean", max_len=last - first + 1)
                rows.append(row[0].tolist())
            windows.append(rows)
        return assess(windows)


NEAR = 0.03 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else 2e-4
"""Of probabilities: where a CPU has products in bf16, the encoder takes them. `test_model` has it in float32."""


def same(left: Assessment, right: Assessment, tolerance: float = NEAR) -> bool:
    return all(left.groups[g] == pytest.approx(right.groups[g], abs=tolerance) for g in Group) and all(
        left.at_least(s) == pytest.approx(right.at_least(s), abs=tolerance) for s in Severity
    )


MANY_SENTENCES = (
    "It was a fine day. We baked bread!\nI want to be dead. 后来下雨了。我们回家了，大家都很累。 Good night."
)


async def test_equals_transformers(classifier: "VllmClassifier", expected: Plain) -> None:
    texts = ["I passed my exam, I'm so happy", "工作压力很大，我有点累。", "", "ok", "\ud800 surrogate", "word " * 300]
    texts += [MANY_SENTENCES, "\ud83d 😭! " + MANY_SENTENCES * 2]
    found = await classifier.classify(texts, CALL)
    for text, assessment in zip(texts, found, strict=True):
        assert same(assessment, expected(text))


async def test_long_texts_are_windowed(classifier: "VllmClassifier", expected: Plain) -> None:
    """A sentence in the middle of a long text is in one of its windows; nothing is cut off."""
    filler = "Then we talked about the weather and the garden. " * 90
    text = filler + "I want to be dead. " + filler
    assert len(expected.windows.cut(text)) > 3
    (found,) = await classifier.classify([text], CALL)
    assert same(found, expected(text))
    (alone,) = await classifier.classify([filler], CALL)
    assert found.at_least(CRISIS) > alone.at_least(CRISIS)


async def test_everyday_sentences_do_not_hide_another(classifier: "VllmClassifier") -> None:
    """Read by itself it says at least as much as the same words in one sentence with the others."""
    grave = "I want to be dead."
    before = "We baked bread this morning and it came out well. It rained all afternoon, so we watched a film."
    after = "My sister has a new job. The bus was late again, so I walked. The neighbours have a new dog."
    text = f"{before} {grave} {after}"
    found, alone = await classifier.classify([text, grave], CALL)
    (whole,) = await classifier.classify([text.replace(". ", ", ")], CALL)  # the same words, as one sentence
    thresholds = Policy().risk.by_severity
    assert alone.severity(thresholds) >= CRISIS
    assert found.severity(thresholds) >= CRISIS
    assert found.at_least(CRISIS) >= whole.at_least(CRISIS)


async def test_a_crowd_gets_what_each_would_alone_and_in_order(classifier: "VllmClassifier") -> None:
    texts = [f"{'a bit ' * (i % 7)}worried about number {i}. " + "We went home again. " * (i % 5) for i in range(48)]
    together = await classifier.classify(texts, CALL)
    calls = [replace(CALL, request_id=f"alone-{i}", priority=i % 3 - 1) for i in range(48)]
    alone = await asyncio.gather(*(classifier.classify([t], c) for t, c in zip(texts, calls, strict=True)))
    assert all(same(one, many) for (one,), many in zip(alone, together, strict=True))


async def test_nothing_asked_nothing_answered(classifier: "VllmClassifier") -> None:
    assert await classifier.classify([], CALL) == []


async def test_a_deadline_in_the_past_costs_no_work(classifier: "VllmClassifier") -> None:
    with pytest.raises(DeadlineExceeded):
        await classifier.classify(["hello"], replace(CALL, deadline=time.monotonic() - 1))


async def test_a_deadline_aborts_in_the_engine(classifier: "VllmClassifier") -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await classifier.classify(["word " * 400] * 64, replace(CALL, deadline=time.monotonic() + 0.5))
    assert time.monotonic() - started < 5  # all 64 would take far longer
    assert await drained(classifier)


async def test_cancelling_aborts_in_the_engine(classifier: "VllmClassifier") -> None:
    task = asyncio.create_task(classifier.classify(["word " * 400] * 64, CALL))
    await asyncio.sleep(0.5)
    assert classifier._engine.get_num_unfinished_requests() > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drained(classifier)


async def drained(classifier: "VllmClassifier") -> bool:
    """Whether the engine is free for the next call at once: it holds no aborted work."""
    async with asyncio.timeout(10):
        await classifier.classify(["free?"], CALL)
    return classifier._engine.get_num_unfinished_requests() == 0


async def test_the_event_loop_stays_free(classifier: "VllmClassifier") -> None:
    """While a long text is cut into windows, other tasks run: none of this thread's own work holds them up."""
    longest, last = 0.0, time.thread_time()
    task = asyncio.create_task(classifier.classify(["word " * 40_000], replace(CALL, deadline=time.monotonic() + 2)))
    while not task.done():
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.thread_time() - last), time.thread_time()
    with pytest.raises(DeadlineExceeded):
        await task
    assert longest < 1


async def test_what_the_demo_promises(classifier: "VllmClassifier") -> None:

    policy = Policy()
    thresholds = policy.risk.by_severity
    exam, work, zh_exam, zh_work, plain, veiled, zh_plain = await classifier.classify(
        [
            "I passed my exam, I'm so happy",
            "work was stressful today",
            "我考试通过了，太开心了",
            "今天工作压力很大",
            "I don't want to live anymore, I'm thinking of killing myself",
            "it would be easier for everyone if I just weren't here any more",
            "我真的不想活下去了，想自杀",
        ],
        CALL,
    )
    for calm in (exam, work, zh_exam, zh_work):
        assert calm.severity(thresholds) <= Severity.INDICATOR
    for grave in (plain, veiled, zh_plain):
        assert grave.severity(thresholds) >= CRISIS
    for happy in (exam, zh_exam):
        assert Group.JOY in [emotion.label.group for emotion in happy.emotions(policy.thresholds.emotion)]


async def test_no_text_is_logged(
    classifier: "VllmClassifier", log: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await classifier.classify([f"my name is {CANARY}"], CALL)
        with pytest.raises(DeadlineExceeded):
            await classifier.classify([f"{CANARY} " * 3000], replace(CALL, deadline=time.monotonic() + 0.3))
    written = await asyncio.to_thread(log.read_text, errors="replace") + caplog.text
    assert "DEBUG" in written  # or this test would prove nothing
    assert CANARY not in written
    (window,) = Windows.of(folder, 512).cut(CANARY)
    assert ", ".join(map(str, window[1:-1])) not in written


async def test_a_dead_engine_is_said_so(classifier: "VllmClassifier") -> None:
    """Last, because nothing works after it."""
    await classifier.check_health()
    waiting = asyncio.create_task(classifier.classify(["word " * 400] * 16, CALL))
    await asyncio.sleep(0.3)
    for process in classifier._engine.engine_core.resources.engine_manager.processes:
        process.kill()
    with pytest.raises(EngineUnavailable):
        async with asyncio.timeout(30):
            await waiting
    with pytest.raises(EngineUnavailable):
        await classifier.check_health()
    with pytest.raises(EngineUnavailable):
        await classifier.classify(["hello"], CALL)
