"""What leaves the engine's process of an answer that is wanted whole, with vLLM's own outputs."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Engine:
    """A scheduler that has never seen an engine: `step` is what it tells of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **switches: bool) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.metrics.stats import SchedulerStats
        from vllm.v1.spec_decode.metrics import SpecDecodingStats

        from psychechat.engines.vllm.cpu import whole_answers

        self.now = 100.0
        self._step: list[Any] = []
        self._proposals: tuple[int, int] | None = None
        self._transfers: Any = None

        def init(scheduler: Any) -> None:
            scheduler.vllm_config = SimpleNamespace(additional_config=switches)
            whole, piece = RequestOutputKind.FINAL_ONLY, RequestOutputKind.DELTA
            scheduler.requests = {
                name: SimpleNamespace(sampling_params=SamplingParams(output_kind=kind, logprobs=logprobs))
                for name, kind, logprobs in (("json", whole, None), ("reply", piece, None), ("scored", whole, 1))
            }

        def update(scheduler: Any, *_: Any) -> dict[int, EngineCoreOutputs]:
            told = {0: EngineCoreOutputs(outputs=self._step)} if self._step else {}
            if self._proposals is not None:
                proposals = SpecDecodingStats.new(2)
                proposals.observe_draft(*self._proposals)
            else:
                proposals = None
            if (statistics := scheduler.make_stats(proposals, self._transfers)) is not None:
                told.setdefault(0, EngineCoreOutputs()).scheduler_stats = statistics
            return told

        def statistics(_: Any, proposals: Any, *others: Any) -> SchedulerStats:
            return SchedulerStats(spec_decoding_stats=proposals, kv_connector_stats=next(iter(others), None))

        monkeypatch.setattr(Scheduler, "__init__", init)
        monkeypatch.setattr(Scheduler, "update_from_output", update)
        monkeypatch.setattr(Scheduler, "make_stats", statistics)
        monkeypatch.setattr(whole_answers, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(
            Scheduler, "finish_requests", lambda _, names, status: [SimpleNamespace(request_id=name) for name in names]
        )
        made: Any = whole_answers.WholeAnswers
        self.scheduler = made()

    def told(self, name: str, *tokens: int, **more: Any) -> Any:
        """What leaves the engine's process; None if nothing does."""
        from vllm.v1.engine import EngineCoreOutput

        self._step = [EngineCoreOutput(name, list(tokens), **more)]
        return self.scheduler.update_from_output(None, None).get(0)

    def step(self, name: str, *tokens: int, **more: Any) -> list[list[int]]:
        told = self.told(name, *tokens, **more)
        return [output.new_token_ids for output in told.outputs] if told else []

    def proposes(self, proposed: int, accepted: int) -> None:
        """In each step from now on."""
        self._proposals = proposed, accepted

    def transfers(self, told: Any) -> None:
        self._transfers = told


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def stop() -> dict[str, Any]:
    from vllm.v1.engine import FinishReason

    return {"finish_reason": FinishReason.STOP}


def test_the_first_tokens_leave_at_once_and_all_others_at_the_end(engine: Engine) -> None:
    steps = [
        engine.step("json", 1, 2),
        engine.step("json", 3),
        engine.step("json", 4, 5),
        engine.step("json", 6, **stop()),
    ]
    assert steps == [[[1, 2]], [], [], [[3, 4, 5, 6]]]
    assert engine.scheduler._kept == {}


def test_an_answer_of_one_step_is_one_piece(engine: Engine) -> None:
    assert engine.step("json", 1, 2, **stop()) == [[1, 2]]
    assert engine.scheduler._kept == {}


@pytest.mark.parametrize("name", ["reply", "scored"])
def test_what_is_read_as_it_is_written_is_not_kept(engine: Engine, name: str) -> None:
    steps = [engine.step(name, 1), engine.step(name, 2), engine.step(name, 3, **stop())]
    assert steps == [[[1]], [[2]], [[3]]]


def test_an_event_leaves_at_once_with_what_was_kept(engine: Engine) -> None:
    from vllm.v1.engine import EngineCoreEvent, EngineCoreEventType

    preempted = [EngineCoreEvent.new_event(EngineCoreEventType.PREEMPTED)]
    steps = [engine.step("json", 1), engine.step("json", 2), engine.step("json", 3, events=preempted)]
    assert [*steps, engine.step("json", 4), engine.step("json", 5, **stop())] == [[[1]], [], [[2, 3]], [], [[4, 5]]]


def test_statistics_leave_with_answers_and_add_up(engine: Engine) -> None:
    engine.proposes(2, 1)
    first, *others = engine.told("json", 1), engine.told("json", 2), engine.told("json", 3)
    last = engine.told("json", 4, **stop())
    assert others == [None, None]
    assert [each.scheduler_stats.spec_decoding_stats.num_drafts for each in (first, last)] == [1, 3]
    proposals = last.scheduler_stats.spec_decoding_stats
    assert (proposals.num_draft_tokens, proposals.num_accepted_tokens) == (6, 3)
    assert (proposals.num_draft_tokens_per_pos, proposals.num_accepted_tokens_per_pos) == ([3, 3], [3, 0])


def test_statistics_wait_no_longer_than_half_a_second(engine: Engine) -> None:
    engine.told("json", 1)
    engine.now += 0.49
    assert engine.told("json", 2) is None
    engine.now += 0.02
    told = engine.told("json", 3)
    assert (told.outputs, told.scheduler_stats is not None) == ([], True)
    assert engine.told("json", 4) is None


def test_statistics_that_do_not_add_up_leave_at_once(engine: Engine) -> None:
    engine.told("json", 1)
    engine.proposes(1, 1)
    assert engine.told("json", 2) is None
    engine.transfers({"bytes": 1})
    statistics = engine.told("json", 3).scheduler_stats
    assert (statistics.kv_connector_stats, statistics.spec_decoding_stats.num_drafts) == ({"bytes": 1}, 2)


def test_what_was_kept_of_an_aborted_answer_is_dropped(engine: Engine) -> None:
    engine.step("json", 1)
    engine.step("json", 2)
    engine.scheduler.finish_requests(["json"], None)
    assert engine.scheduler._kept == {}


def test_switched_off_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, whole_answers=False)
    assert [engine.step("json", 1), engine.step("json", 2)] == [[[1]], [[2]]]
    assert engine.told("json", 3).scheduler_stats is not None
