"""What people and models wrote, so that no tokenizer reads a control token in it."""

import asyncio
import re
from dataclasses import replace

from psychechat.conversation import Conversation, Utterance

_DOUBLED = (("<|", "< |"), ("<｜", "< ｜"), ("<<", "< <"), ("<<", "< <"), ("]~", "] ~"))
"""Replaced first, a hundred times as fast as by a pattern. Of four in a row the first round leaves two side by side."""
_ANGLE = re.compile(r"<(?=/?[\w:-]{1,80}>)")
_SQUARE = re.compile(r"\[(?=/?(?:[a-z]?[A-Z][A-Z0-9_]+|(?i:INST))\])")
_PIECE = 4_000
"""Characters between two looks at whatever else the event loop has to do, or one message's, if that has more."""


class Inert(str):
    """Text with a space in whatever tokenizers would read as control tokens, so that they are plain text.

    That is `<|...|>` in both widths, `<word>`, `</word>`, `<two-words>` and `<two:words>`, `<<SYS>>`, `]~b]`, and
    `[INST]`, `[gMASK]` or another word in capitals.
    """

    __slots__ = ()


def inert(text: str) -> Inert:
    if isinstance(text, Inert):
        return text
    for control, plain in _DOUBLED:
        text = text.replace(control, plain)
    return Inert(_SQUARE.sub("[ ", _ANGLE.sub("< ", text)))


async def inert_conversation(conversation: Conversation) -> Conversation:
    """The conversation with all of its texts inert, once for all prompts of a turn. A long one leaves other turns their
    time.
    """
    utterances, since = [], 0
    for utterance in conversation.utterances:
        utterances.append(Utterance(utterance.speaker, inert(utterance.text)))
        since += len(utterance.text)
        if since >= _PIECE:
            since = 0
            await asyncio.sleep(0)
    return replace(
        conversation, utterances=tuple(utterances), operator_notes=tuple(map(inert, conversation.operator_notes))
    )
