"""From a text to the token windows that the encoder sees, and from their probabilities back to one assessment.

Training uses this module too, so that the heads are fitted on exactly what the server feeds them.
"""

import json
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from tokenizers import Tokenizer

from psychechat.conversation import Assessment
from psychechat.emotion import Group
from psychechat.risk import Severity

OVERLAP = 64
"""Tokens that neighbouring windows share at least, so that what stands on a border is seen whole once."""

WIDTHS = (4,) * len(Group) + (len(Severity),)
"""The columns of a row of probabilities: four an emotion group, then one a severity."""


class Windows:
    """Cuts texts into windows of token ids, each with the encoder's prefix and special tokens.

    Safe to use from several threads.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: str, max_len: int) -> None:
        """`prefix` is what the encoder wants before each text, e.g. "query: "; `max_len` counts all of a window."""
        self._tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        probe = self._ids("a")
        whole: list[int] = tokenizer.encode("a").ids
        at = next(i for i in range(len(whole)) if whole[i : i + len(probe)] == probe)
        self._before = whole[:at] + (self._ids(prefix) if prefix else [])
        self._after = whole[at + len(probe) :]
        self._room = max_len - len(self._before) - len(self._after)
        if self._room <= OVERLAP:
            raise ValueError(f"windows of {max_len} tokens leave no room for text")

    @classmethod
    def of(cls, model: Path, max_len: int) -> "Windows":
        """The windows for a model folder, whose `config.json` holds the prefix under `psychechat`."""
        prefix = json.loads((model / "config.json").read_text())["psychechat"]["prefix"]
        return cls(Tokenizer.from_file(str(model / "tokenizer.json")), prefix, max_len)

    def cut(self, text: str) -> list[list[int]]:
        """One window for most texts. The last window of a longer one is as long as the others."""
        ids = self._ids(text)
        starts = range(0, max(1, len(ids) - OVERLAP), self._room - OVERLAP)
        firsts = [min(start, max(0, len(ids) - self._room)) for start in starts]
        return [self._before + ids[first : first + self._room] + self._after for first in firsts]

    def _ids(self, text: str) -> list[int]:
        # A lone surrogate (JSON allows it) is no text that a tokenizer takes.
        ids: list[int] = self._tokenizer.encode(text.encode(errors="replace").decode(), add_special_tokens=False).ids
        return ids


def assess(rows: Sequence[Sequence[float]]) -> Assessment:
    """One assessment from the probabilities of a text's windows, [windows, 37].

    Emotion is the mean over the windows. Risk is the maximum of each cumulative probability ("this severity or
    worse"), so that for any thresholds the text is as severe as its most severe window, no more and no less.
    """
    columns = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    groups = {
        group: (columns[4 * i], columns[4 * i + 1], columns[4 * i + 2], columns[4 * i + 3])
        for i, group in enumerate(Group)
    }
    return Assessment(groups, _worst([row[4 * len(Group) :] for row in rows]))


def _worst(rows: Sequence[Sequence[float]]) -> dict[Severity, float]:
    tails = [list(accumulate(reversed(row)))[::-1] for row in rows]  # tails[w][s] = P_w(severity >= s)
    highest = [max(column) for column in zip(*tails, strict=True)]
    # Tails fall with s in every window, so their maxima do too: the differences are probabilities.
    return {severity: at - above for severity, (at, above) in zip(Severity, pairwise([*highest, 0.0]), strict=True)}
