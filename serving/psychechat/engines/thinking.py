"""Telling a model's thinking from its answer while both still stream.

Reasoning models write `<think>…</think>` before they answer; some templates write the opening tag into the prompt.
"""

from collections.abc import Iterable
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


def begun(prompt: str, last: str, asked: bool) -> bool:
    """Whether what is written after this prompt is thinking at first: as asked, if the template leaves it open.

    Only what follows the `last` message counts, since people write tags too.
    """
    _, _, opening = prompt.rpartition(last.strip())
    if CLOSE not in opening and OPEN not in opening:
        return asked
    return opening.rfind(OPEN) > opening.rfind(CLOSE)


class Split(NamedTuple):
    """What a piece of text turned out to be. Either may be empty: text that may be part of a tag is held back."""

    reasoning: str = ""
    content: str = ""


class ThinkingSplitter:
    """Feed it the pieces of one generation in order, then `finish`.

    A generation that thinks is thinking until `</think>`, with or without an opening tag, and also if it never
    closes: what might be thinking must not reach a reader as the answer. White space around the tags is dropped.
    """

    def __init__(self, thinking: bool) -> None:
        self.thinking = thinking
        """Whether the next character still belongs to the thinking."""
        self._opening = thinking
        self._leading = thinking
        self._held = ""

    def feed(self, piece: str) -> Split:
        if not self.thinking:
            return Split(content=self._after_tag(piece))
        text = self._held + piece
        if self._opening:
            start = text.lstrip()
            if OPEN.startswith(start) and start != OPEN:
                self._held = text
                return Split()
            self._opening = False
            text = start.removeprefix(OPEN)
        reasoning, closed, answer = text.partition(CLOSE)
        if not closed:
            keep = _overlap(text)
            self._held = text[len(text) - keep :]
            return Split(reasoning=self._after_tag(text[: len(text) - keep]))
        self._held = ""
        reasoning = self._after_tag(reasoning)
        self.thinking, self._leading = False, True
        return Split(reasoning, self._after_tag(answer))

    def finish(self) -> Split:
        """What was held back: the generation ended within what looked like a tag."""
        held, self._held = self._held, ""
        return Split(reasoning=held)

    def _after_tag(self, text: str) -> str:
        if self._leading:
            text = text.lstrip()
            self._leading = not text
        return text


class ThinkingTokens:
    """How many tokens of a generation are its thinking's, `</think>` among them, which may be one or several."""

    def __init__(self, thinking: bool) -> None:
        self.thinking = thinking
        """Whether the next token still belongs to the thinking."""
        self._end = ""

    def feed(self, pieces: Iterable[str | None]) -> int:
        """Of the next tokens, as the vocabulary writes them; None: one beyond it, which a padded model may draw."""
        count = 0
        for piece in pieces if self.thinking else ():
            count += 1
            text = self._end + (piece or "")
            if CLOSE in text:
                self.thinking = False
                break
            self._end = text[-len(CLOSE) :]
        return count


def _overlap(text: str) -> int:
    """Length of the longest end of `text` with which a closing tag may begin."""
    return next(size for size in range(len(CLOSE) - 1, -1, -1) if text.endswith(CLOSE[:size]))
