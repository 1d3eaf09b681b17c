"""The conversation in a client's messages, without what no counselor can read. A pure function of the messages, so that
one conversation is found in memory under the same key, however it was sent.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from psychechat.api.chat.protocol import NOTES, SPOKEN, TOOLS, ChatMessage
from psychechat.api.http.body.lenient import is_lost
from psychechat.api.http.body.limits import check_length
from psychechat.conversation import Conversation, Utterance
from psychechat.errors import InvalidRequest, UnsupportedParameter
from psychechat.policy import Limits
from psychechat.telemetry import LeftOut

_BROKEN = "\N{REPLACEMENT CHARACTER}"
"""Stands where half an emoji was. A model that reads it may write it."""


def conversation(messages: Sequence[ChatMessage], limits: Limits) -> tuple[Conversation, Counter[LeftOut]]:
    """The conversation up to the seeker's last line, and how many messages have something left out.

    Left out are messages of tools and calls of them, unknown roles without text, the counselor's messages after that
    line, parts that hold no text, and broken characters of the seeker's. The operator's notes may stand anywhere.

    Raises InvalidRequest, which names the message, if there is no such line, it is too broken to be read, or something
    is too long.
    """
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        why = "No message is the seeker's: give the last one the role 'user'."
        raise InvalidRequest(why, param=f"messages[{len(messages) - 1}].role")
    left_out: Counter[LeftOut] = Counter()
    kept = _kept(messages, last, left_out)
    if len(kept) > limits.messages:
        raise InvalidRequest(f"'messages' holds more than {limits.messages} messages.", param="messages")
    for place, message in kept.items():
        check_length(f"messages[{place}].content", message.content.text, limits)
    notes = _notes(kept, limits)
    spoken = {place: message for place, message in kept.items() if message.role not in NOTES}
    if is_lost(_newest(spoken.values())):
        why = "Too much of the seeker's last message is broken to be read: send it as UTF-8."
        raise InvalidRequest(why, param=f"messages[{last}].content")
    utterances = [_utterance(message, left_out) for message in spoken.values()]
    if not utterances[-1].text.strip():
        raise _empty(last, messages[last])
    said = Conversation(tuple(utterance for utterance in utterances if utterance.text.strip()), notes)
    check_length("messages", said.newest, limits)
    return said, left_out


def _kept(messages: Sequence[ChatMessage], last: int, left_out: Counter[LeftOut]) -> dict[int, ChatMessage]:
    """Messages by their place in the request: the operator's, and both speakers' up to the seeker's last."""
    kept = {}
    for place, message in enumerate(messages):
        if message.role in TOOLS:
            left_out["tool"] += 1
        elif message.role not in SPOKEN:
            left_out["role"] += 1
        elif message.role == "assistant" and place > last:
            left_out["reply"] += 1
        else:
            left_out["tool"] += bool(message.tool_calls)
            left_out["part"] += bool(message.content.wordless)
            kept[place] = message
    return kept


def _notes(kept: Mapping[int, ChatMessage], limits: Limits) -> tuple[str, ...]:
    """The operator's. Raises InvalidRequest, which names the one with which they are too long."""
    notes, held = [], 0
    for place, message in kept.items():
        if message.role in NOTES and message.content.text.strip():
            notes.append(message.content.text)
            held += len(message.content.text)
            if held > limits.operator_characters:
                raise InvalidRequest(
                    f"System and developer messages may hold {limits.operator_characters} characters in all.",
                    param=f"messages[{place}].content",
                    code="string_above_max_length",
                )
    return tuple(notes)


def _newest(spoken: Collection[ChatMessage]) -> str:
    """All that the seeker said since the counselor's last reply, as it came."""
    said = [Utterance("counselor" if m.role == "assistant" else "seeker", m.content.text) for m in spoken]
    return Conversation(tuple(utterance for utterance in said if utterance.text.strip())).newest


def _utterance(message: ChatMessage, left_out: Counter[LeftOut]) -> Utterance:
    text = message.content.text
    if message.role == "assistant":
        return Utterance("counselor", text)  # as it is remembered
    left_out["character"] += _BROKEN in text
    return Utterance("seeker", legible(text))


def legible(text: str) -> str:
    """The seeker's text without broken characters."""
    return text.replace(_BROKEN, "")


def _empty(place: int, message: ChatMessage) -> InvalidRequest:
    if message.content.wordless:
        return UnsupportedParameter("messages", "a counselor reads text; there is none in the seeker's last message")
    return InvalidRequest("The seeker's last message is empty.", param=f"messages[{place}].content")
