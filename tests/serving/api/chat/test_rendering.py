"""Chunks as they are written, piece by piece."""

import json
from typing import Any

import pytest

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Completion, Heading
from psychechat.conversation import ReplyDelta, TokenLogprob

TRICKY = 'a model "choices":[] of \\"choices\\":[{'
TOKEN = TokenLogprob("so", b"so", -0.5)


@pytest.mark.parametrize("tier", [None, "default"])
@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize(
    ("delta", "wire"),
    [
        (ReplyDelta(0, '“So” "you"\n'), {"content": '“So” "you"\n'}),
        (ReplyDelta(2, "so", "thought", (TOKEN,)), {"reasoning_content": "thought", "content": "so"}),
    ],
    ids=["words", "words, thinking and a token"],
)
def test_a_chunk_of_words_is_framed_as_the_opening_is(tier: Any, usage: bool, delta: ReplyDelta, wire: Any) -> None:
    asked = {"model": "psychechat-llm", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    options = {"stream_options": {"include_usage": True}} if usage else {}
    completion = Completion(Heading("id", 7, TRICKY, "print", tier), ChatRequest.model_validate(asked | options))
    opening, chunk = (
        json.loads(event.removeprefix(b"data: ")) for event in (completion.opening(1), completion.delta(delta))
    )
    assert completion.delta(delta).endswith(b"}\n\n")
    [choice] = chunk.pop("choices")
    del opening["choices"]
    assert chunk == opening
    assert chunk["model"] == TRICKY
    assert ("usage" in chunk, "service_tier" in chunk) == (usage, tier is not None)
    assert (choice["index"], choice["delta"], choice["finish_reason"]) == (delta.index, wire, None)
    assert (choice["logprobs"] is None) == (not delta.logprobs)
