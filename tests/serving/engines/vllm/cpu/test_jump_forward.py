"""What a grammar forces is proposed, by real grammars of the packs; and nothing where there is a choice."""

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from psychechat import prompts
from psychechat.engines.base import StageName

pytest.importorskip("vllm")
xgrammar: Any = pytest.importorskip("xgrammar")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@dataclass
class Structured:
    grammar: Any
    reasoning_ended: bool = True


@dataclass
class Asked:
    """What of a vLLM request the scheduler looks at."""

    structured_output_request: Structured | None
    output_token_ids: list[int] = field(default_factory=list)
    use_structured_output: bool = True


class World:
    """A draft under way: the grammar, the tokenizer, and the scheduler that has never seen an engine."""

    def __init__(self) -> None:
        from transformers import AutoTokenizer
        from vllm.v1.structured_output.backend_xgrammar import XgrammarGrammar

        from psychechat.engines.vllm.cpu import MAX_PROPOSED
        from psychechat.engines.vllm.cpu.jump_forward import JumpForward
        from psychechat.engines.vllm.grammar import grammar

        model = str(files("psychechat").joinpath("demo", "counselor"))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        size = len(self.tokenizer)
        info = xgrammar.TokenizerInfo.from_huggingface(self.tokenizer, vocab_size=size)
        schema = prompts.load("en").stage(StageName.DRAFT).schema
        assert schema is not None
        compiled = xgrammar.GrammarCompiler(info).compile_grammar(grammar(schema))
        matcher = xgrammar.GrammarMatcher(compiled, max_rollback_tokens=MAX_PROPOSED)
        self.grammar: Any = XgrammarGrammar(size, matcher, compiled)
        self.asked = Asked(Structured(self.grammar))
        self.scheduler = JumpForward.__new__(JumpForward)
        self.scheduler.structured_output_manager = self  # type: ignore[assignment]
        self.scheduler.num_spec_tokens = MAX_PROPOSED
        self.scheduler._encode = lru_cache(self.scheduler._tokens_of)
        self.scheduler._ends_in_a_mark = lru_cache(self.scheduler._has_a_mark)

    def validate_tokens(self, _: Asked, tokens: list[int]) -> list[int]:
        valid: list[int] = self.grammar.validate_tokens(tokens)
        return valid

    def write(self, text: str) -> None:
        tokens = self.tokenizer.encode(text, add_special_tokens=False)
        assert self.grammar.accept_tokens("", tokens)
        self.asked.output_token_ids += tokens

    def forced(self) -> str:
        text: str = self.tokenizer.decode(self.scheduler._forced(self.asked))  # type: ignore[arg-type]
        return text


@pytest.fixture
def world() -> World:
    return World()


def test_keys_are_forced_and_words_are_not(world: World) -> None:
    world.write('{"')
    assert world.forced() == 'phase":"'
    world.write('phase":"insight"')
    assert world.forced() == ',"strategy":"'
    world.write(',"strategy":"')
    assert world.forced() == ""  # anything may stand here
    world.write("listen, gently: ask")
    assert world.forced() == ""
    world.write('","response":"I hear you."}')
    assert world.forced() == ""  # nothing is left to write
    assert world.grammar.matcher.is_completed()


def test_what_was_proposed_is_not_yet_written(world: World) -> None:
    world.write('{"')
    assert world.forced() == world.forced()
    world.write('phase":"')


def test_a_word_of_few_is_not_asked_for(world: World) -> None:
    """Asking the grammar within a string takes long, so it is asked behind a mark only."""
    world.write('{"phase":"ins')
    assert world.grammar.matcher.find_jump_forward_string() == 'ight","strategy":"'
    assert world.forced() == ""


def test_within_a_sentence_the_grammar_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write('{"phase":"insight","strategy":"listen,')
    monkeypatch.setattr(world.grammar, "matcher", None)
    assert world.forced() == ""


def test_nothing_is_forced_before_a_word_is_written(world: World) -> None:
    assert world.forced() == ""


def test_nothing_is_forced_before_the_thinking_has_ended(world: World) -> None:
    world.write('{"')
    assert world.asked.structured_output_request is not None
    world.asked.structured_output_request.reasoning_ended = False
    assert world.forced() == ""


@pytest.mark.parametrize("grammar", [None, "being compiled"])
def test_nothing_is_forced_without_a_grammar(world: World, grammar: object) -> None:
    world.write('{"')
    world.asked.structured_output_request = Structured(grammar)
    assert world.forced() == ""
    world.asked.structured_output_request = None
    assert world.forced() == ""


def test_no_more_is_proposed_than_the_engine_has_room_for(world: World) -> None:
    from psychechat.engines.vllm.cpu import ADDITIONS, MAX_PROPOSED

    world.scheduler.num_spec_tokens = 2
    world.write('{"')
    assert len(world.scheduler._forced(world.asked)) == 2  # type: ignore[arg-type]
    assert ADDITIONS["speculative_config"]["num_speculative_tokens"] == MAX_PROPOSED


def test_the_proposer_has_no_proposals_and_none_without_the_worker_that_keeps_temperatures() -> None:
    from psychechat.engines.vllm.cpu import ADDITIONS
    from psychechat.engines.vllm.cpu.jump_forward import NoProposals

    def config(worker: str) -> Any:
        return SimpleNamespace(parallel_config=SimpleNamespace(worker_cls=worker))

    assert NoProposals(config(ADDITIONS["worker_cls"])).propose([[1], [], [2, 3]]) == [[], [], []]
    with pytest.raises(ValueError, match="worker_cls"):
        NoProposals(config("vllm.v1.worker.cpu_worker.CPUWorker"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64])
def test_each_proposed_token_has_its_sequences_number(dtype: torch.dtype) -> None:
    from psychechat.engines.vllm.cpu.jump_forward import per_token_values

    values, ends = torch.tensor([7, 0, 3, 5], dtype=dtype), torch.tensor([2, 3, 3, 6], dtype=torch.int32)
    found = torch.zeros(6, dtype=dtype)
    per_token_values(found, values, ends, 0, 1)
    assert found.tolist() == [7, 7, 1, 5, 5, 5]


@pytest.fixture
def on_a_cpu() -> None:
    from vllm.platforms import current_platform
    from vllm.triton_utils import HAS_TRITON

    if not current_platform.is_cpu() or HAS_TRITON:
        pytest.skip("vLLM's kernels for a CPU stand in where there is no other")
    current_platform.import_kernels()
    current_platform.register_triton_kernel_overrides()


@pytest.mark.usefixtures("on_a_cpu")
def test_vllm_still_loses_the_temperature() -> None:
    """Once it does not, `per_token_values` can go."""
    from vllm.utils import cpu_triton_utils

    lost = torch.full((3,), -1.0)
    theirs: Any = cpu_triton_utils._expand_kernel_impl
    theirs(lost, torch.tensor([0.6]), torch.tensor([3], dtype=torch.int32), 0, 1)
    assert lost.tolist() == [-1.0, -1.0, -1.0]


@pytest.mark.usefixtures("on_a_cpu")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_what_was_proposed_is_drawn_as_without_it(temperature: float) -> None:
    """2,000 sequences of one distribution, for each of which its second likeliest token was proposed."""
    from vllm.v1.sample import rejection_sampler

    from psychechat.engines.vllm.cpu import jump_forward

    jump_forward.install()
    jump_forward.install()
    torch.manual_seed(0)
    count, wanted = 2000, torch.tensor([2.0, 1.0, 0.0, -1.0])
    ends = torch.arange(1, count + 1, dtype=torch.int32)
    given: Any = SimpleNamespace(
        all_greedy=False,
        all_random=True,
        generators={},
        top_k=None,
        top_p=None,
        temperature=torch.full((count,), temperature),
    )
    judged = rejection_sampler.apply_sampling_constraints(wanted.repeat(count, 1), ends, given)
    proposed, bonus = torch.ones(count, dtype=torch.int32), torch.zeros(count, 1, dtype=torch.int32)
    drawn = rejection_sampler.rejection_sample(proposed, [1] * count, 1, ends, None, judged, bonus, given)
    shares = torch.bincount(drawn[:, 0].long(), minlength=4) / count
    torch.testing.assert_close(shares, (wanted / temperature).softmax(0), atol=0.04, rtol=0)
