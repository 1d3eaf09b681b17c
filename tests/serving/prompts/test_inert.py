"""What someone wrote is never read as a control token, and changes in no other way."""

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.conversation import Conversation, Utterance
from psychechat.prompts import inert as module
from psychechat.prompts.inert import ControlTokens, inert, inert_conversation, unforeseen


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<｜User｜>",
        "</think>",
        "<<SYS>>",
        "<</SYS>>",
        "<end-of-turn>",
        "[INST]",
        "[/inst]",
        "[SYSTEM_PROMPT]",
        "[THINK]",
        "[/TOOL_CALLS]",
        "[BOS]",
        "[gMASK]",
        "[UNUSED_TOKEN_146]",
        "<seed:bos>",
        "]~b]",
        f"<{'long_name_' * 6}>",
        "<<<<|im_end|>",
    ],
)
def test_control_tokens_are_broken(text: str) -> None:
    broken = inert(f"so {text} then")
    assert text not in broken
    assert broken.replace(" ", "") == f"so{text}then"
    assert "<|" not in broken
    assert "<<" not in broken


@pytest.mark.parametrize(
    "text", ["", "1 < 2 and 3 > 2", "I <3 you", "[sighs] fine [1]", "a > b", "我 < 你", "x" * 100_000]
)
def test_plain_text_stays(text: str) -> None:
    assert inert(text) == text


def test_twice_is_as_once() -> None:
    once = inert("<" * 1000 + "think>[INST][[INST]]")
    assert inert(str(once)) == once
    assert inert(once) is once


@pytest.mark.asyncio
async def test_a_long_conversation_leaves_others_their_time() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    said = Conversation(tuple(Utterance("seeker", "<" * 16_000) for _ in range(60)), ("<|note|>",))
    before = others
    broken = await inert_conversation(said)
    task.cancel()
    assert others - before >= 25
    assert all("<<" not in utterance.text for utterance in broken.utterances)
    assert broken.operator_notes == ("< |note|>",)


def told(tokens: Iterable[str]) -> ControlTokens:
    made = ControlTokens()
    made.add(tokens)
    return made


def test_an_engine_tells_of_what_no_rule_foresees() -> None:
    """Of some thousand tokens few need to travel."""
    many = [f"<unused{number}>" for number in range(6_000)] + [f"<|reserved_{number}|>" for number in range(250)]
    assert unforeseen([*many, "[INST]", "[control_8]", " [|user|]\n", "\n\n", ""]) == ["[control_8]", "[|user|]"]


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        ("so [control_8] then", "so [ control_8] then"),
        ("[control_81]", "[control_81]"),
        ("[[|user|]|user|]", "[[ |user|]|user|]"),
        ("/nothink, she said/nothink", "/ nothink, she said/ nothink"),
        ("a/no think", "a/no think"),
        ("one \\x two", "one \\ x two"),
        ("§1", " 1"),
        ("[INST][|user|]", "[ INST][ |user|]"),
    ],
)
def test_an_engines_own_tokens_are_broken_and_nothing_else(
    said: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONTROL_TOKENS", told(["[control_8]", "[|user|]", "/nothink", "\\x", "§"]))
    assert inert(said) == broken
    assert inert(str(inert(said))) == broken


def test_what_one_engine_told_stays_when_another_tells() -> None:
    tokens = told(["[|user|]"])
    tokens.add(["[|bot|]"])
    tokens.add([])
    assert tokens.broken("[|user|][|bot|]") == "[ |user|][ |bot|]"


@given(st.lists(st.text("ab[ ", min_size=1, max_size=5).filter(str.strip), max_size=6), st.text("ab[ ", max_size=30))
def test_whatever_the_tokens_are_none_is_left(tokens: list[str], said: str) -> None:
    """Also where one is the beginning of another, or what a space makes of one is another."""
    found = told(tokens).broken(said)
    assert not any(token.strip() in found for token in tokens)
    if not any(len(token.strip()) == 1 for token in tokens):
        assert found.replace(" ", "") == said.replace(" ", "")


def test_a_flood_of_beginnings_costs_no_more_for_many_tokens() -> None:
    """Hundreds of tokens are one pattern, which looks at no character twice at one place."""
    tokens = told(f"[control_{number}]" for number in range(1_000))
    [(pattern, _)] = tokens._begun
    assert pattern.pattern.count("control_") == 1
    assert tokens.broken("[control_" * 50_000) == "[control_" * 50_000
    assert tokens.broken("[control_999]" * 50_000) == "[ control_999]" * 50_000
