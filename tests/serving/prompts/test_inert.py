"""What someone wrote is never read as a control token, and changes in no other way."""

import asyncio

import pytest

from psychechat.conversation import Conversation, Utterance
from psychechat.prompts.inert import inert, inert_conversation


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
