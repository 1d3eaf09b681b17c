"""What people and models wrote, so that no tokenizer reads a control token in it."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile

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
    `[INST]`, `[gMASK]` or another word in capitals; and whatever else the engines have told (`ControlTokens`).
    """

    __slots__ = ()


class ControlTokens:
    """The control tokens of the engines' own tokenizers that the rules above leave whole, since they follow no rule.

    What one engine told holds for all, and for good: where a text is made inert nobody knows which of them reads it.
    """

    def __init__(self) -> None:
        self._tokens: frozenset[str] = frozenset()
        self._begun: Sequence[tuple[re.Pattern[str], str]] = ()
        """By first character: where a token begins, and what stands there instead."""

    def add(self, tokens: Iterable[str]) -> None:
        known = self._tokens.union(unforeseen(tokens))
        if known != self._tokens:
            firsts = sorted({token[0] for token in known})
            self._begun = [_begun(first, [token[1:] for token in known if token[0] == first]) for first in firsts]
            self._tokens = known

    def broken(self, text: str) -> str:
        """The text with none of them in it. What a space makes of one might be another, so it is looked at again."""
        before = None
        while text != before:
            before = text
            for pattern, plain in self._begun:
                text = pattern.sub(plain, text)
        return text


CONTROL_TOKENS = ControlTokens()
"""Of all engines that this process asks. Module-level, because Serve makes whoever hears of an engine
(`psychechat_ray.routing`), and can hand it nothing."""


def unforeseen(tokens: Iterable[str]) -> list[str]:
    """Those of an engine's control tokens that no rule here breaks, without the white space around them."""
    return sorted({token for token in map(str.strip, tokens) if token and token in _by_rules(token)})


def inert(text: str) -> Inert:
    return text if isinstance(text, Inert) else Inert(CONTROL_TOKENS.broken(_by_rules(text)))


def _by_rules(text: str) -> str:
    for control, plain in _DOUBLED:
        text = text.replace(control, plain)
    return _SQUARE.sub("[ ", _ANGLE.sub("< ", text))


def _begun(first: str, tails: Sequence[str]) -> tuple[re.Pattern[str], str]:
    """The beginning of tokens that share their first character, and what it becomes. A token of one character goes."""
    plain = " " if "" in tails else f"{first} "
    # No group and no function: sub then copies the text in C, however much there is to replace.
    return re.compile(f"{re.escape(first)}(?={_tail(tails)})"), plain.replace("\\", r"\\")


def _tail(tails: Sequence[str]) -> str:
    """Whatever begins with one of these, as a pattern that never looks at a character twice."""
    pairs = zip(min(tails), max(tails), strict=False)
    shared = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    rest = [tail[len(shared) :] for tail in tails]
    if "" in rest:
        return re.escape(shared)
    firsts = sorted({tail[0] for tail in rest})
    branches = "|".join(_tail([tail for tail in rest if tail[0] == first]) for first in firsts)
    return f"{re.escape(shared)}(?:{branches})"


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
