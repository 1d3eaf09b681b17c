"""Handles as engines, on a real Ray with scripted engines behind them."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import ray
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from ray import serve
from ray.exceptions import ActorUnavailableError
from ray.serve.handle import DeploymentHandle

from psychechat import prompts
from psychechat.config import MemorySettings, ModelSettings, Replicas
from psychechat.conversation import Conversation, ReplyDelta, Utterance
from psychechat.emotion import Group
from psychechat.engines.base import BYTES_A_TOKEN, Call, Delta, Message, Pair, Sampling, Stage, StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded, EngineUnavailable, ReplicaDied
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Policy
from psychechat.prompts.inert import inert
from psychechat.telemetry import Metrics
from psychechat_ray import remote
from psychechat_ray.classifier import Classifier
from psychechat_ray.departures import Departures
from psychechat_ray.generator import Generator
from psychechat_ray.remote import RemoteClassifier, RemoteGenerator
from psychechat_ray.replica_counts import RUNNING, SEQUENCES
from psychechat_ray.replicas import deployment
from psychechat_ray.routing import BY_SESSION
from psychechat_ray.sent_call import SentCall

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

CANARY = "zanzibarquokka"
CALL = Call("test", "session")
SENTENCES = ("You went out for a walk.", "How was it?")
HELLO = [Message("user", "I feel sad.")]
REPLY = Stage(StageName.REPLY, thinks=True)
DRAFT = Stage(StageName.DRAFT)
EMOTION = Stage(StageName.EMOTION)
FEW = Replicas(num_cpus=0)
SCRIPTED = ModelSettings(engine="scripted", replicas=FEW)


class Limited(ScriptedGenerator):
    """As an engine of another vLLM than its additions were written for."""

    limits = ("urgent_steps", "jump_forward")


class Counselor(Generator):
    """Replies in a second, cannot draft, and dies of an emotion."""

    _sequences = 7

    async def __init__(self) -> None:  # type: ignore[misc]
        self._departures = Departures(0.0)
        self._engine = Limited(
            {
                StageName.REPLY: ["<think>a plan</think>" + "word " * 50],
                StageName.DRAFT: [ValueError(CANARY)],
                StageName.EMOTION: [lambda _: os._exit(1)],
            },
            seconds_per_word=0.02,
            context_length=1000,
            control_tokens=["[|user|]", "<think>"],
        )

    async def check_fits(
        self, messages: Sequence[Message], reserve: int, sent: SentCall
    ) -> AsyncGenerator[int | None, None]:
        """Dies of a message that names a file, which is gone then."""
        if os.path.isfile(messages[0].content):  # noqa: ASYNC240  it ends here
            os.remove(messages[0].content)
            os._exit(1)
        async for item in super().check_fits(messages, reserve, sent):
            yield item

    async def running(self) -> int:
        assert isinstance(self._engine, ScriptedGenerator)
        return self._engine.running

    async def who(self) -> int:
        return os.getpid()


class Slow(Generator):
    """Replies in a second with two sentences."""

    _sequences = 1

    async def __init__(self) -> None:  # type: ignore[misc]
        self._departures = Departures(0.0)
        self._engine = ScriptedGenerator({StageName.REPLY: [" ".join(SENTENCES)]}, seconds_per_word=0.1)


class Judge(ScriptedClassifier):
    limits = ("half_products",)

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        return None if CANARY in pairs[0].draft else await super().judge(pairs, call)


class Judging(Classifier):
    """Has three heads, until it is asked about one draft."""

    async def __init__(self) -> None:  # type: ignore[misc]
        self._engine = Judge(hurting={"your own fault": 0.75})


class NeverReady(Generator):
    async def __init__(self) -> None:  # type: ignore[misc]
        await asyncio.sleep(3600)


class Front:
    """Stands where the ingress stands: an application's first deployment may have no router of its own."""

    def __init__(self, engine: DeploymentHandle[Any]) -> None:
        self._engine = engine


Deploy = Callable[..., DeploymentHandle[Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deploy() -> AsyncIterator[Deploy]:
    """A function that deploys a replica class and gives its handle."""

    def run(
        replica: type, *arguments: Any, name: str = "engine", replicas: Replicas = FEW, ready: bool = True
    ) -> DeploymentHandle[Any]:
        engine = deployment(replica, name, replicas, request_router_config=BY_SESSION).bind(*arguments)
        front = deployment(Front, "front", FEW).bind(engine)
        target = serve.RunTarget(front, name=replica.__name__, route_prefix=None)
        serve.run_many([target], wait_for_applications_running=ready)
        return serve.get_deployment_handle(name, replica.__name__)

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    yield run
    await serve.shutdown_async()  # type: ignore[no-untyped-call]
    ray.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handle(deploy: Deploy) -> DeploymentHandle[Any]:
    two = FEW.model_copy(update={"num_replicas": 2})
    return await asyncio.to_thread(deploy, Counselor, name="counselor", replicas=two)


@pytest.fixture(scope="module")
def counselor(handle: DeploymentHandle[Any]) -> RemoteGenerator:
    return RemoteGenerator(handle)


async def collect(counselor: RemoteGenerator, stage: Stage = REPLY, call: Call = CALL) -> list[Delta]:
    return [delta async for delta in counselor.generate(HELLO, stage, Sampling(100), call)]


async def running(handle: DeploymentHandle[Any]) -> int:
    found: int = await handle.options(method_name="running", session_id=CALL.session_id).remote()
    return found


async def test_deltas_come_one_by_one_and_whole(counselor: RemoteGenerator) -> None:
    arrivals = []
    deltas: list[Delta] = []
    async for delta in counselor.generate(HELLO, REPLY, Sampling(100), CALL):
        arrivals.append(time.monotonic())
        deltas.append(delta)
    assert "".join(delta.reasoning for delta in deltas) == "a plan"
    assert "".join(delta.content for delta in deltas).split() == ["word"] * 50
    assert deltas[-1].finish_reason == "stop"
    assert arrivals[-1] - arrivals[0] > 0.5


async def test_a_classifier_answers(deploy: Deploy, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "HEALTH_SECONDS", 30.0)  # whatever else the machine does
    handle = await asyncio.to_thread(deploy, Classifier, SCRIPTED, tmp_path_factory.mktemp("cache"))
    [sad, plain] = await RemoteClassifier(handle).classify(["so sad", "a table"], CALL)
    assert sad.groups[Group.SADNESS][2] == pytest.approx(0.9)
    assert plain.groups[Group.SADNESS][0] == 1.0
    assert await RemoteClassifier(handle).judge([Pair("so sad", "a table")], CALL) is None
    assert await RemoteClassifier(handle).readiness() is True


async def test_a_third_head_judges_drafts_behind_a_handle(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """And heads without one are asked once. What its engine is up without is told as a counselor's is."""
    classifier = RemoteClassifier(await asyncio.to_thread(deploy, Judging, name="classifier"))
    pairs = [Pair("so sad", "your own fault"), Pair("so sad", "a table")]
    assert await classifier.judge(pairs, CALL) == [0.75, 0.0]
    assert await classifier.judge([Pair("so sad", CANARY)], CALL) is None
    assert await classifier.judge(pairs, CALL) is None
    monkeypatch.setattr(remote, "HEALTH_SECONDS", 30.0)
    assert await classifier.readiness() == ("half_products",)


async def test_an_engine_that_is_up_tells_its_limits(
    counselor: RemoteGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "HEALTH_SECONDS", 30.0)
    assert await counselor.readiness() == ("urgent_steps", "jump_forward")


async def test_our_errors_arrive_as_they_are(counselor: RemoteGenerator) -> None:
    with pytest.raises(ContextLengthExceeded) as refused:
        await counselor.check_fits(HELLO, reserve=5000, call=CALL)
    assert (refused.value.tokens, refused.value.limit) == (5011, 1000)


async def test_what_surely_fits_is_not_asked(counselor: RemoteGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    await counselor.check_fits(HELLO, reserve=10, call=CALL)
    monkeypatch.setattr(counselor, "_handle", None)
    await counselor.check_fits(HELLO, reserve=900, call=CALL)
    with pytest.raises(AttributeError):
        await counselor.check_fits(HELLO, reserve=960, call=CALL)


async def test_what_surely_does_not_fit_is_not_asked(
    counselor: RemoteGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counselor.check_fits(HELLO, reserve=10, call=CALL)
    monkeypatch.setattr(counselor, "_handle", None)
    with pytest.raises(ContextLengthExceeded) as refused:
        await counselor.check_fits([Message("user", "a" * BYTES_A_TOKEN * 1000)], reserve=10, call=CALL)
    assert (refused.value.tokens, refused.value.limit) == (1010, 1000)


def ray_logs() -> dict[Path, bytes]:
    node: Any = ray._private.worker._global_node
    assert node is not None
    return {file: file.read_bytes() for file in Path(node.get_logs_dir_path()).rglob("*") if file.is_file()}


async def test_a_foreign_error_says_nothing(counselor: RemoteGenerator, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EngineUnavailable) as failed:
        await collect(counselor, DRAFT)
    assert CANARY not in str(failed.value) + caplog.text
    # Ray logs what leaves a replica, so the replica itself must let nothing foreign out.
    await asyncio.sleep(1)  # for what Ray writes behind
    texts = await asyncio.to_thread(ray_logs)
    assert any(b"unforeseen ValueError" in text for text in texts.values())
    assert [file for file, text in texts.items() if CANARY.encode() in text] == []


async def test_closing_the_iterator_ends_it_on_the_replica(
    counselor: RemoteGenerator, handle: DeploymentHandle[Any]
) -> None:
    async with aclosing(counselor.generate(HELLO, REPLY, Sampling(100), CALL)) as deltas:
        await anext(deltas)
        assert await running(handle) == 1
    await asyncio.sleep(0.3)
    assert await running(handle) == 0


async def test_cancelling_the_task_ends_it_on_the_replica(
    counselor: RemoteGenerator, handle: DeploymentHandle[Any]
) -> None:
    tasks = [asyncio.create_task(collect(counselor)) for _ in range(8)]
    await asyncio.sleep(0.4)
    assert await running(handle) == 8
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.3)
    assert await running(handle) == 0


async def test_a_deadline_is_kept(counselor: RemoteGenerator, handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(DeadlineExceeded):
        await collect(counselor, call=replace(CALL, deadline=time.monotonic() + 0.4))
    await asyncio.sleep(0.3)
    assert await running(handle) == 0


async def test_a_time_of_day_that_jumps_ends_no_turn(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an hour, in the middle of a reply, as when a machine's clock is set."""
    engine = RemoteGenerator(await asyncio.to_thread(deploy, Slow))
    memory, packs = LocalMemory(MemorySettings()), prompts.load_all({"en": "en", "zh": "zh"})
    pipeline = Pipeline(ScriptedClassifier(), everywhere(engine), packs, memory, Metrics(), Policy())
    jumped, time_of_day = 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: time_of_day() + jumped)
    said: list[str] = []

    def emit(piece: ReplyDelta) -> None:
        nonlocal jumped
        jumped = 3600.0
        said.append(piece.content)

    conversation = Conversation((Utterance("seeker", "I went for a walk."),))
    outcome = await run_turn(pipeline, TurnRequest(conversation, "llm", "req-1"), emit)
    assert len(said) > 1  # the first words came before the last were written
    assert "".join(said) == outcome.reply.choices[0].text == " ".join(SENTENCES)


async def test_a_session_stays_with_its_replica(handle: DeploymentHandle[Any]) -> None:
    async def who(session: str) -> int:
        pid: int = await handle.options(method_name="who", session_id=session).remote()
        return pid

    ours = {await who("one session") for _ in range(10)}
    everyone = {await who(f"session {number}") for number in range(40)}
    assert len(ours) == 1
    assert len(everyone) == 2


async def test_what_a_replica_takes_comes_with_the_news_of_it(handle: DeploymentHandle[Any]) -> None:
    await handle.options(method_name="who", session_id="any").remote()
    assert (RUNNING["counselor"], SEQUENCES["counselor"]) == (2, 7)


async def test_an_ingress_learns_which_control_tokens_the_engines_read(counselor: RemoteGenerator) -> None:
    """With the same news, so that no turn has to ask."""
    await collect(counselor)
    assert inert("[|user|]<think>") == "[ |user|]< think>"


async def test_without_a_replica_the_engine_is_unavailable_at_once(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ACCEPT_SECONDS", 1.0)
    handle = await asyncio.to_thread(deploy, NeverReady, ready=False)
    started = time.monotonic()
    assert await RemoteGenerator(handle).readiness() is False
    with pytest.raises(EngineUnavailable):
        await collect(RemoteGenerator(handle))
    assert time.monotonic() - started < 5


async def test_a_replica_that_dies_is_unavailable_and_replaced(
    counselor: RemoteGenerator, handle: DeploymentHandle[Any]
) -> None:
    with pytest.raises(ReplicaDied):
        await collect(counselor, EMOTION)
    assert (await collect(counselor))[-1].finish_reason == "stop"
    counted: list[int] = []
    async with asyncio.timeout(60):
        while counted[-2:] != [1, 2]:
            if counted[-1:] != [RUNNING["counselor"]]:
                counted.append(RUNNING["counselor"])
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "end",
    [
        asyncio.CancelledError(),
        AioRpcError(StatusCode.CANCELLED, Metadata(), Metadata()),
        ActorUnavailableError("gone", None),
    ],
    ids=["a bare cancellation", "grpc", "ray"],
)
async def test_a_call_that_is_cancelled_where_it_runs_is_a_dead_replicas(end: BaseException) -> None:
    with pytest.raises(ReplicaDied):
        await collect(RemoteGenerator(_Ending(end)))  # type: ignore[arg-type]
    assert await RemoteGenerator(_Ending(end)).readiness() is False  # type: ignore[arg-type]


async def test_another_failure_of_grpc_is_no_dead_replica() -> None:
    with pytest.raises(EngineUnavailable) as failed:
        await collect(RemoteGenerator(_Ending(AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata()))))  # type: ignore[arg-type]
    assert type(failed.value) is EngineUnavailable


async def test_who_is_cancelled_is_cancelled() -> None:
    counselor = RemoteGenerator(_Ending(None))  # type: ignore[arg-type]
    for asking in (asyncio.create_task(collect(counselor)), asyncio.create_task(counselor.readiness())):
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


class _Ending:
    """A handle whose calls are accepted and then end so; None: they hang. Ray gives no such end on demand."""

    deployment_name = "counselor"

    def __init__(self, end: BaseException | None) -> None:
        self._end, self._accepted = end, False

    def options(self, **_: Any) -> "_Ending":
        return self

    def remote(self, *_: Any) -> "_Ending":
        return self

    def cancel(self) -> None: ...

    def __await__(self) -> Any:
        return self._ends().__await__()

    async def __anext__(self) -> None:
        if self._accepted:
            await self._ends()
        self._accepted = True

    async def _ends(self) -> None:
        if self._end is None:
            await asyncio.sleep(3600)
        assert self._end is not None
        raise self._end


async def test_what_a_replica_was_asked_when_it_died_is_asked_of_another(
    handle: DeploymentHandle[Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    await RemoteGenerator(handle).check_fits([Message("user", str(tmp_path / "file"))], 10, CALL)
    assert not (tmp_path / "file").exists()
