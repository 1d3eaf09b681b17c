"""A crisis is answered whatever rule its request breaks, and what is calm is refused as ever."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from psychechat.admission.lanes import Rank
from psychechat.conversation import Assessment
from psychechat.engines.base import Call
from psychechat.errors import EngineUnavailable
from psychechat.pipeline.bulk_classify import BULK
from tests.serving.api.chat.conftest import (
    ASKED,
    CALM,
    HISTORY,
    PHRASE,
    SEEN,
    Ears,
    after,
    assert_crisis,
    looks,
    post,
    refused_crises,
    said,
)
from tests.serving.api.conftest import Served

Serving = Callable[..., AbstractContextManager[Served]]


def broken(text: str, old: str, new: bytes) -> bytes:
    """The request with other bytes at one place."""
    body = said(text)
    assert old.encode() in body
    return body.replace(old.encode(), new, 1)


IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}

FORGIVEN: dict[str, Callable[[str], bytes]] = {
    "half an emoji": lambda text: broken(text, f'{text}"', f'{text} \\ud83d"'.encode()),
    "mark before": lambda text: b"\xef\xbb\xbf" + said(text),
    "UTF-16": lambda text: said(text).decode().encode("utf-16"),
    "cut UTF-8": lambda text: broken(text, f'{text}"', f"{text} ".encode() + b'\xe6\x88"'),
    "raw line break": lambda text: broken(text, f'{text}"', f'hello\n\t{text}"'.encode()),
    "image before": lambda text: after(text, {"role": "user", "content": [IMAGE]}, ASKED),
    "sound before": lambda text: after(text, {"role": "user", "content": [{"type": "input_audio"}]}, ASKED),
    "tool before": lambda text: after(
        text, *HISTORY, {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}, {"role": "tool"}
    ),
    "function before": lambda text: after(text, {"role": "function", "name": "f", "content": "x"}),
    "other name of a role": lambda text: said("", messages=[*HISTORY, {"role": "Human", "content": text}]),
    "unknown role": lambda text: said("", messages=[*HISTORY, {"role": "narrator", "content": text}]),
    "unknown role last": lambda text: said("", messages=[{"role": "user", "content": text}, {"role": "critic"}]),
    "calls alone before": lambda text: after(text, *HISTORY[:1], {"role": "assistant", "tool_calls": [{"id": "a"}]}),
    "unknown role before": lambda text: after(text, {"role": "critic", "content": ["x"]}, *HISTORY),
    "half an emoji before": lambda text: after(text, {"role": "user", "content": "hi \ud83d"}, ASKED),
    "image beside": lambda text: said(
        "", messages=[{"role": "user", "content": [IMAGE, {"type": "text", "text": text}, IMAGE]}]
    ),
    "other kind of text": lambda text: said(
        "", messages=[{"role": "user", "content": [{"type": "input_text", "text": text}]}]
    ),
    "counselor last": lambda text: said("", messages=[*HISTORY, {"role": "user", "content": text}, ASKED]),
    "tool last": lambda text: said("", messages=[{"role": "user", "content": text}, {"role": "tool", "content": "x"}]),
    "shortest bound": lambda text: said(text, max_completion_tokens=1),
    "tools": lambda text: said(text, tools=[{"type": "function"}], tool_choice="auto", parallel_tool_calls=False),
    "no tools": lambda text: said(text, tools=["x", 7, None], functions=[{}], tool_choice="none", function_call="none"),
    "tools allowed": lambda text: said(
        text, tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{}]}}
    ),
    "sampling of others": lambda text: said(text, top_k=1, min_p=1, repetition_penalty=2),
    "strangers": lambda text: said(text, ignore_eos=True, num_ctx=4_096, **{"any words": [{}]}),
    "a template's": lambda text: said(text, chat_template_kwargs={"other": [1]}),
    "hints": lambda text: said(
        text,
        verbosity="low",
        store=True,
        logit_bias={"1": 2},
        prediction={"type": "content", "content": "x"},
        web_search_options={},
        audio={"voice": "alloy"},
        prompt_cache_retention="24h",
    ),
}
"""What is no error, whoever sends it."""

REFUSED: dict[str, Callable[[str], bytes]] = {
    "model": lambda text: said(text, model="gpt-4o"),
    "no model": lambda text: broken(text, '"model": "psychechat", ', b""),
    "notes": lambda text: after(text, {"role": "system", "content": "n" * 4_001}),
    "logprobs": lambda text: said(text, logprobs=True),
    "top_logprobs": lambda text: said(text, top_logprobs=5),
    "session": lambda text: said(text, metadata={"session_id": "k" * 257}),
    "stop": lambda text: said(text, stop=""),
    "stops": lambda text: said(text, stop=["a"] * 5),
    "kind of stop": lambda text: said(text, stop={"a": 1}),
    "too long": lambda text: said(text + "." * 32_001),
    "too long at the end": lambda text: said("." * 32_001 + text),
    "far too long": lambda text: said("." * 300_000 + text),
    "too many": lambda text: after(text, *HISTORY * 256),
    "far too many": lambda text: after(text, *HISTORY * 1_200),
    "long before": lambda text: after(text, {"role": "user", "content": "a" * 32_001}, ASKED),
    "empty after": lambda text: said(
        "", messages=[{"role": "user", "content": text}, {"role": "user", "content": " "}]
    ),
    "image after": lambda text: said(
        "", messages=[{"role": "user", "content": text}, {"role": "user", "content": [IMAGE]}]
    ),
    "no content before": lambda text: after(text, {"role": "user"}, ASKED),
    "number before": lambda text: after(text, {"role": "assistant", "content": 7}),
    "no message before": lambda text: after(text, 7),
    "null for a role": lambda text: said("", messages=[*HISTORY, {"role": None, "content": text}]),
    "number for a role": lambda text: said("", messages=[*HISTORY, {"role": 7, "content": text}]),
    "lost before": lambda text: after(text, {"role": "user", "content": "\ufffd" * 9}),
    "no role": lambda text: said("", messages=[{"content": text}]),
    "no list": lambda text: said("", messages={"role": "user", "content": text}),
    "no message": lambda text: said("", messages=text),
    "any tool": lambda text: said(text, tools=[{"type": "function"}], tool_choice="required"),
    "a tool": lambda text: said(text, tool_choice={"type": "function", "function": {"name": "f"}}),
    "a tool of these": lambda text: said(
        text, tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}
    ),
    "a function": lambda text: said(text, functions=[{}], function_call={"name": "f"}),
    "sound": lambda text: said(text, modalities=["text", "audio"], audio={"voice": "alloy"}),
    "slip": lambda text: said(text, moderaton={"model": "m"}),
    "part of moderation": lambda text: said(text, moderation={"model": "m", "policies": {}}),
    "sampling": lambda text: said(text, top_k=-2, min_p=2, repetition_penalty=0),
    "format": lambda text: said(text, response_format={"type": "json_object"}),
    "temperature": lambda text: said(text, temperature=9),
    "no number": lambda text: broken(text, "}]", b'}], "temperature": NaN'),
    "bound": lambda text: said(text, max_tokens=-1),
    "choices": lambda text: said(text, n=200),
    "metadata": lambda text: said(text, metadata={f"k{number}": "v" for number in range(17)}),
    "value of metadata": lambda text: said(text, metadata={"a": "v" * 513}),
    "kind of stream options": lambda text: said(text, stream_options=7),
    "many at once": lambda text: said(text, temperature=9, n=0, seed="x", user=7, tools=[{}], stop="", model=None, a=1),
    "comma": lambda text: said(text)[:-1] + b",}",
    "cut short": lambda text: said(text)[:-3],
    "something behind": lambda text: said(text) + b"\n--end",
    "single quotes": lambda text: str(json.loads(said(text))).encode(),
    "no object around": lambda text: json.dumps([*HISTORY, {"role": "user", "content": text}]).encode(),
    "another endpoint's field": lambda text: json.dumps({"model": "psychechat", "input": text}).encode(),
    "an old endpoint's field": lambda text: json.dumps({"model": "psychechat", "prompt": text}).encode(),
}
"""What is an error, unless it is a crisis."""


@pytest.mark.parametrize("text", [PHRASE, SEEN], ids=["phrase", "classifier"])
@pytest.mark.parametrize("case", [*FORGIVEN, *REFUSED])
def test_a_crisis_is_answered_whatever_is_wrong(served: Served, ears: Ears, case: str, text: str) -> None:
    assert_crisis(post(served, (FORGIVEN | REFUSED)[case](text)))


@pytest.mark.parametrize("text", [PHRASE, SEEN], ids=["phrase", "classifier"])
@pytest.mark.parametrize(
    "case", ["half an emoji", "image before", "model", "too long", "too many", "tools", "a tool", "bound"]
)
def test_it_is_streamed_where_that_was_asked(served: Served, ears: Ears, case: str, text: str) -> None:
    asked = json.loads((FORGIVEN | REFUSED)[case](text)) | {"stream": True}
    answer = post(served, json.dumps(asked).encode())
    assert answer.status_code == 200
    *events, last = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    assert json.loads(events[-1])["psychechat"]["reason"] == "crisis"
    words = [json.loads(data)["choices"][0]["delta"].get("content", "") for data in events]
    assert "findahelpline.com" in "".join(words)


@pytest.mark.parametrize("charset", ["", "; charset=gbk", '; charset="GB2312"', "; charset=nonsense"])
def test_chinese_that_is_no_utf8_is_read(served: Served, ears: Ears, charset: str) -> None:
    kind = {"content-type": f"application/json{charset}"}
    for text in ("想死", "我真的不想活了，今晚就结束"):
        content = json.dumps(
            {"model": "psychechat", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False
        )
        assert_crisis(post(served, content.encode("gbk"), **kind), "当地急救")
        assert_crisis(post(served, content.encode("gbk")[:-1], **kind), "当地急救")


def test_what_nobody_can_read_is_not_taken_for_calm(served: Served, ears: Ears) -> None:
    """Bytes of Shift JIS, which say nothing as UTF-8 or as GB18030, and words that a client has broken itself."""
    lost = json.dumps(
        {"model": "psychechat", "messages": [{"role": "user", "content": "消えてしまいたい、もう"}]}, ensure_ascii=False
    )
    for content in (lost.encode("shift_jis") + b"\xff", said("\ufffd" * 9), after("\ufffd" * 3, *HISTORY)):
        answer = post(served, content)
        assert answer.status_code == 400
    assert "UTF-8" in answer.json()["error"]["message"]
    assert_crisis(post(served, said(f"{PHRASE} " + "\ufffd" * 9)))
    assert post(served, after(CALM, {"role": "user", "content": "\ufffd" * 9}, ASKED)).status_code == 200


@pytest.mark.parametrize("case", FORGIVEN)
def test_what_is_forgiven_is_forgiven_to_all(served: Served, ears: Ears, case: str) -> None:
    answer = post(served, FORGIVEN[case](CALM))
    assert answer.status_code == 200
    assert answer.json()["psychechat"]["reason"] == "low_risk"


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_calm_is_refused_and_read_once_behind_all(served: Served, ears: Ears, case: str) -> None:
    answer = post(served, REFUSED[case](CALM))
    assert answer.status_code == (404 if case == "model" else 400)
    assert CALM not in answer.text
    read = [text for texts, _ in ears.asked for text in texts]
    assert sum(CALM in text and ASKED["content"] not in text for text in read) == 1
    assert sum(map(len, read)) < 65_000
    assert {call.priority for _, call in ears.asked} == {BULK}


def test_what_is_legal_stays(served: Served, ears: Ears) -> None:
    """The conversation, the session's name, the locale and the pinned mode."""
    body = after(PHRASE, *HISTORY, model="psychechat-llm", metadata={"session_id": "mine", "locale": "en-US"}, n=99)
    found = assert_crisis(post(served, body), "988")
    assert (found["model"], found["psychechat"]["mode"], found["psychechat"]["session"]) == (
        *("psychechat-llm", "llm", "mine"),
    )
    asked = served.generator.prompts[-1][1]
    assert any("How was your day?" in message.content for message in asked)


def test_an_illegal_session_takes_no_locale_with_it(served: Served, ears: Ears) -> None:
    named = {"session_id": "s" * 257, "locale": "en-US"}
    found = assert_crisis(post(served, said(SEEN, metadata=named)), "988")
    assert found["psychechat"]["session"] != "s" * 257


def test_an_illegal_session_and_timeout_are_left_out(served: Served, ears: Ears) -> None:
    found = assert_crisis(post(served, said(SEEN), **{"x-session-id": "s" * 257, "x-request-timeout": "soon"}))
    assert found["psychechat"]["session"] != "s" * 257


@pytest.mark.parametrize("place", [0, 20_000, 31_590, 31_595, 31_990, 31_996, 40_000, 63_000])
def test_a_long_text_is_read_at_both_ends(served: Served, ears: Ears, place: int) -> None:
    filler = "All was as it always is. " * 2_600
    assert_crisis(post(served, said(f"{filler[:place]} {PHRASE}. {filler[place:63_900]}")))


@pytest.mark.parametrize("place", [0, 500_000])
def test_of_a_longer_one_both_ends_are_read(served: Served, ears: Ears, place: int) -> None:
    filler = "All was as it always is. " * 20_000
    assert_crisis(post(served, said(f"{filler[:place]} {SEEN}. {filler[place:]}")))


def test_the_counselors_words_are_nobodys_crisis(served: Served, ears: Ears) -> None:
    asked = {"role": "assistant", "content": "Do you want to die? I want to die, you said."}
    assert post(served, after(CALM, asked, n=200)).status_code == 400
    assert post(served, said("", messages=[asked], n=200)).status_code == 400
    assert post(served, after(CALM, {"role": "system", "content": PHRASE}, n=200)).status_code == 400
    assert post(served, after(CALM, {"role": "tool", "content": PHRASE}, n=200)).status_code == 400


def test_words_before_much_white_space_are_found(served: Served, ears: Ears) -> None:
    for text in (PHRASE, SEEN):
        assert_crisis(post(served, said(text + " " * 40_000)))


def test_a_request_without_words_is_not_read(served: Served, ears: Ears) -> None:
    for content in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'"I want to die"',
        b'{"messages": []}',
        b'{"messages": [[[7]]]}',
    ):
        assert post(served, content).status_code == 400
    assert ears.asked == []


def test_second_looks_are_counted(serving: Serving) -> None:
    with serving() as served:
        served.pipeline.classifier = ears = Ears()
        for text in (PHRASE, SEEN, CALM, CALM):
            post(served, said(text, n=200))
        post(served, b"{")
        ears.failure = EngineUnavailable("gone")
        assert post(served, said(SEEN, n=200)).status_code == 400
        assert looks(served) == {"phrase": 1, "crisis": 1, "calm": 2, "silent": 1, "unread": 1}
        assert refused_crises(served) == 0


def test_a_crisis_that_was_found_is_one_whatever_happens_then(serving: Serving) -> None:
    """The door is full of turns by the time that the turn is read, or the classifier is gone."""

    class Once(Ears):
        async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
            self.failure = EngineUnavailable("gone") if self.asked else None
            return await super().classify(utterances, call)

    with serving() as served:
        served.pipeline.classifier = ears = Once()
        found = assert_crisis(post(served, said(SEEN, n=200)))
        assert len(ears.asked) == 2
        assert found["psychechat"]["risk"]["level"] == "behavior"


def test_with_the_door_full_it_is_refused_unread_unless_there_is_a_phrase(serving: Serving) -> None:
    with serving(admission={"tokens": 100, "door_seconds": 0.05}) as served:
        served.pipeline.classifier = ears = Ears()
        door = served.pipeline.admission.classification
        held = asyncio.run(door.acquire(Rank.ORDINARY, 100))
        assert post(served, said(SEEN, n=200)).status_code == 400
        assert ears.asked == []
        assert_crisis(post(served, said(PHRASE, n=200)))
        held.close()
        assert_crisis(post(served, said(SEEN, n=200)))


@pytest.mark.parametrize("quota", [{"turns_per_minute": 2}, {"tokens_per_minute": 10}])
def test_reading_counts_towards_the_keys_minute(serving: Serving, quota: dict[str, int]) -> None:
    with serving(quota=quota) as served:
        served.pipeline.classifier = ears = Ears()
        for _ in range(4):
            assert post(served, said(CALM, n=200)).status_code == 400
        assert 1 < len(ears.asked) < 4
        read = len(ears.asked)
        assert post(served, said(SEEN, n=200)).status_code == 400
        assert len(ears.asked) == read
        assert_crisis(post(served, said(PHRASE, n=200)))
        assert post(served, said(CALM)).status_code == 429
