"""A log-linear model over n-grams: its file, and what it tells of a message."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files
from math import sqrt
from pathlib import Path
from typing import NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from psychechat.help.subjects import Subject
from psychechat.ngrams.split import ngrams
from psychechat.versions import short_hash

FILE = "ngrams.safetensors"

SUBJECTS = ("", *get_args(Subject))
"""The first group of columns; the second are topics, `""` the first."""
TONES = ("neither", "glad", "hurts")
"""The third group of columns. `hurts`: anything unpleasant."""


@dataclass(frozen=True, slots=True)
class Told:
    """All empty where not half of the message's words are known, as in other languages."""

    subjects: Mapping[Subject, float] = field(default_factory=dict)
    """Probabilities, none of which need reach one half; what is missing to 1 is that it is about none."""
    topics: Mapping[str, float] = field(default_factory=dict)
    """The same, by the names that the built-in reply banks give them."""
    gladness: float = 0.0
    """Logarithm of the odds that it is glad rather than that it hurts; 0 where nothing is known."""


class Columns(NamedTuple):
    """Columns of the model that exclude each other; the first stands for none of the others."""

    place: slice
    names: tuple[str, ...]


class Ngrams:
    """Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        """Of `models.train_ngrams`: `weight` [V, C] in 8 bits with a `scale` [C], `bias` [C], and as metadata the V
        n-grams and the names of the C columns by group. Raises OSError or safetensors.SafetensorError if it cannot be
        read.
        """
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata()
            self._weight = cast(NDArray[np.int8], opened.get_tensor("weight"))
            self._scale = cast(NDArray[np.float32], opened.get_tensor("scale"))
            self._bias = cast(NDArray[np.float32], opened.get_tensor("bias"))
        self._rows = {ngram: row for row, ngram in enumerate(json.loads(metadata["ngrams"]))}
        self._subjects, self._topics, self._tones = groups(json.loads(metadata["groups"]))

    def told(self, message: str) -> Told:
        held = ngrams(message)
        pieces = [ngram for ngram in held if " " not in ngram and not ngram.endswith("*")]
        if not held or 2 * sum(piece in self._rows for piece in pieces) < len(pieces):
            return Told()
        rows = [self._rows[ngram] for ngram in held if ngram in self._rows]
        sums = self._weight[rows].sum(axis=0, dtype=np.int32)
        logits = sums * self._scale / sqrt(len(rows)) + self._bias
        tones = logits[self._tones.place]
        return Told(
            cast(Mapping[Subject, float], _probabilities(logits, self._subjects)),
            _probabilities(logits, self._topics),
            float(tones[TONES.index("glad")] - tones[TONES.index("hurts")]),
        )


def groups(names: list[list[str]]) -> list[Columns]:
    """Of the columns' names, each group's first among them."""
    found, start = list[Columns](), 0
    for group in names:
        found.append(Columns(slice(start, start + len(group)), tuple(group)))
        start += len(group)
    return found


def _probabilities(logits: NDArray[np.float32], group: Columns) -> dict[str, float]:
    """Without the first, which stands for none."""
    odds = np.exp(logits[group.place] - logits[group.place].max())
    return dict(zip(group.names[1:], (odds[1:] / odds.sum()).tolist(), strict=True))


@cache
def _shipped() -> Ngrams:
    with as_file(files("psychechat").joinpath("ngrams", FILE)) as path:
        return Ngrams(path)


@cache
def version() -> str:
    """Of the model that comes with the package."""
    return short_hash(files("psychechat").joinpath("ngrams", FILE).read_bytes())


def told(message: str) -> Told:
    """Of the model that comes with the package; its first call loads it."""
    return _shipped().told(message)
