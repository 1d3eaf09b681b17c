"""Nothing broken is written in a language: by the table, in both of vLLM's model runners, and by a real engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoTokenizer

from psychechat import prompts
from psychechat.emotion import LABELS, Language
from psychechat.engines.base import Call, Message, Sampling, Stage, StageName
from psychechat.language import CONTROL, PRIVATE, SCRIPTS, scripts

pytest.importorskip("vllm")

if TYPE_CHECKING:
    from vllm.v1.sample.logits_processor import BatchUpdate

    from psychechat.engines.vllm.generator import VllmGenerator
    from psychechat.engines.vllm.script_masks import Masks

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

COUNSELOR = files("psychechat") / "demo" / "counselor"
VOCABULARY = 8192 + 4
"""The demo's, and numbers of no token, as models have them whose vocabulary is rounded up."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(str(COUNSELOR))


@pytest.fixture(scope="module", autouse=True)
def model(tokenizer: Any) -> Any:
    """vLLM's config of the demo counselor, as far as it is asked."""
    from psychechat.engines.vllm import script_masks

    model = SimpleNamespace(
        get_vocab_size=lambda: VOCABULARY,
        hf_text_config=SimpleNamespace(eos_token_id=2),
        try_get_generation_config=lambda: {"eos_token_id": [2, 0]},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script_masks, "cached_tokenizer_from_config", lambda _: tokenizer)
        yield model


@pytest.fixture(scope="module")
def masks(model: Any) -> "Masks":
    from psychechat.engines.vllm import script_masks

    return script_masks.Masks(script_masks._table(model), torch.device("cpu"))


def parameters(language: Language | None) -> Any:
    from vllm import SamplingParams

    from psychechat.engines.vllm import script_masks

    return SamplingParams(extra_args=script_masks.arguments(language))


def possible(logits: torch.Tensor) -> list[list[int]]:
    """Tokens of each row that may be drawn, at the highest temperature."""
    return [row.nonzero().flatten().tolist() for row in (logits / 2).softmax(-1)]


def allowed(masks: "Masks", language: Language | None, written: Sequence[int] = ()) -> list[int]:
    """Tokens that may follow what was written from the start on."""
    state = torch.tensor([masks.start(parameters(language))])
    for token in written:
        state = masks.after[state, masks.kinds[token]].long()
    return possible(masks.apply(torch.zeros(1, VOCABULARY), state))[0]


def can_write(masks: "Masks", tokenizer: Any, language: Language, text: str) -> bool:
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return all(token in allowed(masks, language, tokens[:at]) for at, token in enumerate(tokens))


# ----------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("language", SCRIPTS)
def test_what_needs_several_tokens_is_written_as_ever(masks: "Masks", tokenizer: Any, language: Language) -> None:
    text = "I’m here — in the “café”… 😊 ❤️ 50 %\n\tno. 1"
    assert max(len(tokenizer.encode(character, add_special_tokens=False)) for character in text) >= 3
    assert can_write(masks, tokenizer, language, text)


def test_han_is_of_chinese_alone_rare_ones_too(masks: "Masks", tokenizer: Any) -> None:
    text = "情绪、希望、努力、咨询：《山海经》里的饕餮……OK？"
    assert can_write(masks, tokenizer, "zh", text)
    assert not any(can_write(masks, tokenizer, "en", character) for character in text if "HAN" in scripts(character))


@pytest.mark.parametrize("language", SCRIPTS)
@pytest.mark.parametrize("text", ["Привет", "γεια", "こんにちは", "カ", "안녕", "مرحبا", "שלום", "สวัสดี", "नमस्ते"])
def test_no_letter_of_another_script(masks: "Masks", tokenizer: Any, language: Language, text: str) -> None:
    for letter in text:
        if letter.isalpha():
            assert not can_write(masks, tokenizer, language, letter), letter


@pytest.mark.parametrize("language", SCRIPTS)
@pytest.mark.parametrize("character", ["\0", "\x1b", "\r", "\x7f", "\x9b", "\u202e", "\ufeff", "\ue000", "\ufffd"])
def test_no_character_that_steers_or_means_nothing(
    masks: "Masks", tokenizer: Any, language: Language, character: str
) -> None:
    assert not can_write(masks, tokenizer, language, character)


@pytest.mark.parametrize("language", SCRIPTS)
def test_the_ends_and_the_thinking_stay_and_other_marks_go(masks: "Masks", language: Language) -> None:
    tokens = set(allowed(masks, language))
    assert {0, 2, 8190, 8191} <= tokens  # <|endoftext|>, <|im_end|>, <think>, </think>
    assert 1 not in tokens  # <|im_start|>
    assert tokens.isdisjoint(range(8192, VOCABULARY))


def test_a_character_that_has_begun_is_ended(masks: "Masks", tokenizer: Any) -> None:
    first, *rest = tokenizer.encode("绪", add_special_tokens=False)
    assert rest
    assert first in allowed(masks, "zh")
    following = allowed(masks, "zh", [first])
    assert 2 not in following
    assert rest[0] in following
    assert not any("\ufffd" not in tokenizer.decode([token]) for token in following)


def test_all_labels_can_be_written(masks: "Masks", tokenizer: Any) -> None:
    for language in SCRIPTS:
        assert all(can_write(masks, tokenizer, language, f'"{label.name(language)}"') for label in LABELS)


def test_without_a_language_every_token_is_allowed(masks: "Masks") -> None:
    assert allowed(masks, None) == list(range(VOCABULARY))
    assert allowed(masks, None, [1, 300, 5]) == list(range(VOCABULARY))


def test_a_grammars_words_in_another_script_are_written(masks: "Masks", tokenizer: Any) -> None:
    """Where nothing else is left, what is left stays as likely as it was."""
    han = [tokenizer.encode(word, add_special_tokens=False)[0] for word in ("我", "你")]
    logits = torch.full((2, VOCABULARY), -torch.inf)
    logits[:, han] = torch.tensor([1.5, 0.5])
    logits[1, 5] = 0.5
    before = logits.softmax(-1)
    after = masks.apply(logits, torch.tensor([masks.start(parameters("en"))] * 2)).softmax(-1)
    torch.testing.assert_close(after[0], before[0], atol=1e-3, rtol=0)
    assert possible(after.log()) == [sorted(han), [5]]


def test_a_vocabulary_that_cannot_write_a_language_has_no_mask_for_it() -> None:
    from psychechat.engines.vllm.writable import LEAST_TOKENS, table

    words = [f"w{number}".encode() for number in range(LEAST_TOKENS)]
    assert set(table(words, set(), {0}).starts) == {"en", "zh"}
    assert not table(words[1:], set(), {0}).starts
    assert not table(words, set(), set()).starts  # nothing ends it
    assert set(table([*words[1:], "我".encode()], set(), {0}).starts) == {"zh"}


def test_a_few_tokens_tell_the_state_whatever_was_before() -> None:
    """Some vocabularies have tokens in which one character ends and the next begins."""
    from psychechat.engines.vllm.writable import LEAST_TOKENS, LONGEST, table

    first, second = "绪".encode(), "😊".encode()
    words = [f"w{number}".encode() for number in range(LEAST_TOKENS)]
    vocabulary = [*words, first[:1], first[1:2], first[2:] + second[:1], second[1:2], second[2:3], second[3:]]
    found = table(vocabulary, set(), {0})
    written = list(range(LEAST_TOKENS, len(vocabulary)))
    states = [found.starts["zh"]]
    for token in written:
        assert not found.forbidden[states[-1], found.kinds[token]]
        states.append(int(found.after[states[-1], found.kinds[token]]))
    assert states[0] == states[-1]
    assert len(set(states)) == len(written)
    for end in range(1, len(written) + 1):
        state = found.starts["zh"]
        for token in written[max(0, end - LONGEST) : end]:
            state = int(found.after[state, found.kinds[token]])
        assert state == states[end]


# ---------------------------------------------------------------------------------------- the model runners


def config(model: Any) -> Any:
    return SimpleNamespace(model_config=model)


def update(size: int, **changes: Any) -> "BatchUpdate":
    from vllm.v1.sample.logits_processor import BatchUpdate

    return BatchUpdate(size, changes.get("removed", ()), changes.get("added", ()), changes.get("moved", ()))


def test_the_first_runner_masks_rows_by_what_they_have_written(model: Any, masks: "Masks", tokenizer: Any) -> None:
    from vllm.v1.sample.logits_processor import MoveDirectionality

    from psychechat.engines.vllm.script_masks import RunnerOneMasks

    runner = RunnerOneMasks(config(model), torch.device("cpu"), False)
    assert not runner.is_argmax_invariant()
    begun = tokenizer.encode("绪", add_special_tokens=False)[:1]
    written: list[list[int]] = [[], [], [5, *begun]]

    def rows(count: int) -> list[list[int]]:
        return possible(runner.apply(torch.zeros(count, VOCABULARY)))

    everything = list(range(VOCABULARY))
    assert rows(1) == [everything]
    languages: tuple[Language | None, ...] = ("en", None, "zh")
    runner.update_state(update(3, added=[(row, parameters(languages[row]), None, written[row]) for row in range(3)]))
    assert rows(3) == [allowed(masks, "en"), everything, allowed(masks, "zh", begun)]
    written[2].append(5)
    runner.update_state(None)
    assert rows(3)[2] == allowed(masks, "zh")
    runner.update_state(update(2, removed=[1], moved=[(2, 1, MoveDirectionality.UNIDIRECTIONAL)]))
    assert rows(2) == [allowed(masks, "en"), allowed(masks, "zh")]
    runner.update_state(update(1, removed=[1]))
    assert rows(1) == [allowed(masks, "en")]


def test_the_second_runner_masks_rows_by_what_the_device_knows(model: Any, masks: "Masks", tokenizer: Any) -> None:
    from psychechat.engines.vllm.script_masks import RunnerTwoMasks

    first, second, *_ = tokenizer.encode("😊", add_special_tokens=False)
    tokens = torch.zeros((4, 8), dtype=torch.int32)
    tokens[3, :6] = torch.tensor([5, 5, 5, 5, first, second])
    state: Any = SimpleNamespace(device=torch.device("cpu"), max_num_reqs=4, all_token_ids=SimpleNamespace(gpu=tokens))
    runner = RunnerTwoMasks(config(model), state)

    def rows(*layout: tuple[int, int, int, int]) -> list[list[int]]:
        """Slot, place within the request's rows, newest token and its position, by row."""
        slots, places, newest, positions = (torch.tensor(column) for column in zip(*layout, strict=True))
        requests = slots[places == 0]
        context: Any = SimpleNamespace(
            expanded_idx_mapping=slots,
            idx_mapping_np=requests.numpy(),
            expanded_local_pos=places,
            input_ids=newest,
            pos=positions,
        )
        return possible(runner.apply(torch.zeros(len(layout), VOCABULARY), context))

    everything = list(range(VOCABULARY))
    assert runner.add_request(3, parameters("en"))
    assert not runner.add_request(1, parameters(None))
    runner.apply_staged_writes()
    assert rows((1, 0, 5, 3)) == [everything]
    assert rows((1, 0, 5, 3), (3, 0, second, 5)) == [everything, allowed(masks, "en", [first, second])]
    assert rows((3, 0, first, 4), (3, 1, second, 5), (3, 2, 5, 6)) == [
        allowed(masks, "en", [first]),
        allowed(masks, "en", [first, second]),
        allowed(masks, "en"),
    ]
    assert not runner.add_request(3, parameters(None))
    runner.apply_staged_writes()
    assert rows((3, 0, second, 5)) == [everything]


@pytest.mark.parametrize(
    ("second", "speculative", "switches", "asked", "installed"),
    [
        (True, None, {}, "RunnerTwoMasks", False),
        (True, "another", {}, "RunnerTwoMasks", False),
        (True, "ours", {}, "RunnerTwoMasks", False),
        (False, None, {}, "RunnerOneMasks", False),
        (False, "ours", {}, "", True),
        (False, "another", {}, "", False),
        (False, "ours", {"script_masks": False}, "", False),
        (True, None, {"script_masks": False}, "", False),
    ],
)
def test_each_runner_has_its_own_once(
    model: Any, second: bool, speculative: str | None, switches: dict[str, bool], asked: str, installed: bool
) -> None:
    from psychechat.engines.vllm import script_masks
    from psychechat.engines.vllm.cpu import ADDITIONS

    proposer = ADDITIONS["speculative_config"]["model"] if speculative == "ours" else speculative
    config: Any = SimpleNamespace(
        model_config=model,
        use_v2_model_runner=second,
        speculative_config=speculative and SimpleNamespace(model=proposer),
        additional_config=switches,
    )
    found = [path.rpartition(":")[2] for path in script_masks.processors(config)]
    assert found == ([asked] if asked else [])
    batch = SimpleNamespace(logitsprocs=SimpleNamespace(non_argmax_invariant=[]))
    script_masks.install(SimpleNamespace(input_batch=batch, device=torch.device("cpu")), config)
    assert bool(batch.logitsprocs.non_argmax_invariant) is installed


# ---------------------------------------------------------------------------------------------- a real engine


HOT = Sampling(400, temperature=2.0)
REPLY = Stage(StageName.REPLY)
HELLO = [Message("user", "I feel sad.")]


async def texts(counselor: "VllmGenerator", stage: Stage, sampling: Sampling = HOT, times: int = 4) -> str:
    """What random weights write when every token is nearly as likely as another, thinking and answer."""

    async def one() -> str:
        deltas = counselor.generate(HELLO, stage, sampling, Call("test", "session"))
        return "".join([delta.reasoning + delta.content async for delta in deltas])

    return "\n".join(await asyncio.gather(*(one() for _ in range(times))))


def is_whole(text: str, language: Language) -> bool:
    broken = "\ufffd" in text or CONTROL.search(text) or PRIVATE.search(text)
    return not broken and scripts(text) <= SCRIPTS[language]


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_texts_side_by_side_are_each_in_their_scripts(counselor: "VllmGenerator", tokenizer: Any) -> None:
    english, chinese, free = await asyncio.gather(
        texts(counselor, replace(REPLY, language="en")),
        texts(counselor, replace(REPLY, language="zh")),
        texts(counselor, REPLY),
    )
    assert is_whole(english, "en")
    assert is_whole(chinese, "zh")
    assert "\ufffd" in free
    assert "HAN" in scripts(chinese) & scripts(free)
    assert any(len(tokenizer.encode(character, add_special_tokens=False)) > 1 for character in english)


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("language", SCRIPTS)
async def test_the_strings_of_a_json_are_in_their_scripts(counselor: "VllmGenerator", language: Language) -> None:
    draft = prompts.load(language).stage(StageName.DRAFT)
    assert draft.language == language
    written = await texts(counselor, draft, replace(HOT, max_tokens=3000, frequency_penalty=0.5))
    assert is_whole(written, language)
    assert len(written) > 200
    assert written.count('"response"') == 4
