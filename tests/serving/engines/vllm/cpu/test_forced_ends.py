"""An answer begins and ends with what its grammar forces, by real grammars of the packs and vLLM's own requests."""

from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest

from psychechat import prompts
from psychechat.engines.base import StageName
from psychechat.engines.vllm import cpu

pytest.importorskip("vllm")
xgrammar: Any = pytest.importorskip("xgrammar")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT = [5, 6, 7]
STOP = 2


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(files("psychechat").joinpath("demo", "counselor")))


@cache
def compiled(name: StageName, reaction: int | None) -> Any:
    from psychechat.engines.vllm.grammar import grammar

    schema = prompts.load("en").stage(name, reaction=reaction).schema
    assert schema is not None
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer(), vocab_size=len(tokenizer()))
    return xgrammar.GrammarCompiler(info).compile_grammar(grammar(schema))


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ours, of an engine that was never started."""
    return scheduler_of(monkeypatch)


def scheduler_of(monkeypatch: pytest.MonkeyPatch, **switches: bool) -> Any:
    from vllm.v1.core.sched.scheduler import Scheduler

    from psychechat.engines.vllm.cpu.scheduler import CpuScheduler

    def init(self: Any) -> None:
        self.vllm_config = SimpleNamespace(
            additional_config=switches,
            speculative_config=SimpleNamespace(model=cpu.ADDITIONS["speculative_config"]["model"]),
            model_config=SimpleNamespace(get_vocab_size=lambda: len(tokenizer())),
        )
        self.structured_output_manager = SimpleNamespace(tokenizer=tokenizer())
        self.num_spec_tokens, self.max_model_len = cpu.MAX_PROPOSED, 4096

    monkeypatch.setattr(Scheduler, "__init__", init)
    made: Any = CpuScheduler
    return made()


def asked(
    name: StageName, *, reaction: int | None = None, max_tokens: int = 320, ended: bool = True, **parameters: Any
) -> Any:
    """A request whose grammar has just been compiled."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams
    from vllm.v1.request import Request
    from vllm.v1.structured_output.backend_xgrammar import XgrammarGrammar

    wanted = StructuredOutputsParams(grammar="root ::= compiled")
    sampling = SamplingParams(max_tokens=max_tokens, structured_outputs=wanted, **parameters)
    sampling._eos_token_id = STOP
    request: Any = Request("asked", list(PROMPT), sampling, None, reasoning_ended=ended)
    context = compiled(name, reaction)
    matcher = xgrammar.GrammarMatcher(context, override_stop_tokens=[STOP])
    request.structured_output_request.grammar = XgrammarGrammar(len(tokenizer()), matcher, context)
    return request


def begun(scheduler: Any, request: Any) -> str:
    assert scheduler._handle_blocked_waiting_request(request)
    text: str = tokenizer().decode(request.prompt_token_ids[len(PROMPT) :])
    assert scheduler._begun.get("asked", []) == request.prompt_token_ids[len(PROMPT) :]
    return text


def write(scheduler: Any, request: Any, text: str, *, at_once: str = "") -> tuple[str, bool]:
    """Write the text, the last piece in a step of its own; what that step tells, and whether it was the last."""
    for piece in (text, at_once) if at_once else (text,):
        tokens = tokenizer().encode(piece, add_special_tokens=False)
        told, stopped = scheduler._update_request_with_output(request, tokens)
        assert request.structured_output_request.grammar.accept_tokens("asked", told)
    return tokenizer().decode(told), stopped


@pytest.mark.parametrize(
    ("name", "reaction", "text"),
    [
        (StageName.EMOTION, None, '{"current_emotion":["'),
        (StageName.DRAFT, None, '{"phase":"'),
        (StageName.SIMULATION, None, '[{"type":"'),
        (StageName.REVIEW, 2, '{"safety_analysis":[{"uid":2,"analysis'),  # not `":"`: the string may be empty
    ],
)
def test_an_answer_begins_with_its_first_key(scheduler: Any, name: StageName, reaction: int | None, text: str) -> None:
    request = asked(name, reaction=reaction)
    assert begun(scheduler, request) == text
    count = len(request.prompt_token_ids) - len(PROMPT)
    assert (request.num_prompt_tokens, request.num_tokens, request.max_tokens) == (3 + count, 3 + count, 320 - count)
    assert not request.structured_output_request.grammar.validate_tokens([STOP])


@pytest.mark.parametrize(
    "given",
    [{"ended": False}, {"logprobs": 0}, {"max_tokens": 3}],
    ids=["thinks first", "with probabilities", "no room"],
)
def test_others_begin_with_nothing(scheduler: Any, given: dict[str, Any]) -> None:
    request = asked(StageName.DRAFT, **given)
    assert begun(scheduler, request) == ""
    assert request.prompt_token_ids == PROMPT


def test_no_more_than_the_context_holds(scheduler: Any) -> None:
    scheduler.max_model_len = len(PROMPT) + 3
    assert begun(scheduler, asked(StageName.DRAFT)) == ""
    scheduler.max_model_len += 1
    assert begun(scheduler, asked(StageName.DRAFT)) == '{"phase":"'


def test_the_marks_at_the_end_take_no_step(scheduler: Any) -> None:
    request = asked(StageName.REVIEW, reaction=2)
    begun(scheduler, request)
    told, stopped = write(scheduler, request, '":"It listens.","pass":', at_once="true")
    assert (told, stopped) == ("true}]}" + tokenizer().decode([STOP]), True)
    assert request.structured_output_request.grammar.is_terminated()


def test_a_stop_takes_no_step(scheduler: Any) -> None:
    request = asked(StageName.DRAFT)
    begun(scheduler, request)
    told, stopped = write(scheduler, request, 'insight","strategy":"Ask.","response":"I hear you', at_once='."}')
    assert (told, stopped) == ('."}' + tokenizer().decode([STOP]), True)


@pytest.mark.parametrize(
    "text",
    ['insight"', 'insight","strategy":"', 'insight","strategy":"true', 'insight","strategy":"Ask.","response":"Yes}'],
)
def test_elsewhere_nothing_is_added(scheduler: Any, text: str) -> None:
    request = asked(StageName.DRAFT)
    begun(scheduler, request)
    assert write(scheduler, request, text) == (text, False)


def test_a_failed_verdict_is_not_at_its_end(scheduler: Any) -> None:
    request = asked(StageName.REVIEW, reaction=1)
    begun(scheduler, request)
    told, stopped = write(scheduler, request, '":"It blames.","pass":', at_once="false}")
    assert (told, stopped) == ("false}", False)


def test_an_answer_that_is_out_of_tokens_is_cut(scheduler: Any) -> None:
    request = asked(StageName.REVIEW, reaction=2)
    begun(scheduler, request)
    tokens = tokenizer().encode('":"It listens.","pass":true', add_special_tokens=False)
    request.max_tokens = len(tokens) + 1
    told, stopped = scheduler._update_request_with_output(request, tokens)
    assert (len(told), stopped) == (len(tokens) + 1, True)
    assert request.get_finished_reason().name == "LENGTH"


def test_switched_off_there_are_no_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = scheduler_of(monkeypatch, forced_ends=False)
    request = asked(StageName.DRAFT)
    assert begun(scheduler, request) == ""
    told, stopped = write(scheduler, request, '{"phase":"insight","strategy":"Ask.","response":"Yes."}')
    assert (told[-2:], stopped) == ('"}', False)


def test_whoever_asked_is_told_the_beginning_as_part_of_the_answer() -> None:
    from vllm.v1.engine import EngineCoreOutput
    from vllm.v1.metrics.stats import PrefillStats

    from psychechat.engines.vllm.cpu.forced_ends import _tell

    stats = PrefillStats()
    stats.set(num_prompt_tokens=36, num_local_cached_tokens=32, num_external_cached_tokens=0)
    output = EngineCoreOutput("asked", [9], prefill_stats=stats)
    _tell(output, [7, 8, 7, 8, 7])
    assert output.new_token_ids == [7, 8, 7, 8, 7, 9]
    assert (stats.num_prompt_tokens, stats.num_cached_tokens, stats.num_computed_tokens) == (31, 31, 0)
