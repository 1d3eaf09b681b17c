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

FILE = "ngrams.safetensors"

TONES = ("neither", "glad", "hurts")
"""The third group of columns. `hurts`: anything unpleasant."""


@dataclass(frozen=True, slots=True)
class Told:
    """Probabilities, none of which need reach one half; all empty where the message holds no n-gram that is known."""

    subjects: Mapping[Subject, float] = field(default_factory=dict)
    topics: Mapping[str, float] = field(default_factory=dict)
    """By the names that the built-in reply banks give them."""
    gladness: float = 0.0
    """Logarithm of the odds that it is glad rather than that it hurts; 0 where nothing is known."""


class Group(NamedTuple):
    """Columns of the model that exclude each other; the first stands for none of the others."""

    columns: slice
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
        rows = [row for row in map(self._rows.get, ngrams(message)) if row is not None]
        if not rows:
            return Told()
        sums = self._weight[rows].sum(axis=0, dtype=np.int32)
        logits = sums * self._scale / sqrt(len(rows)) + self._bias
        tones = logits[self._tones.columns]
        return Told(
            cast(Mapping[Subject, float], _probabilities(logits, self._subjects)),
            _probabilities(logits, self._topics),
            float(tones[TONES.index("glad")] - tones[TONES.index("hurts")]),
        )


def groups(names: list[list[str]]) -> list[Group]:
    """Of the columns' names, each group's first among them."""
    found, start = list[Group](), 0
    for group in names:
        found.append(Group(slice(start, start + len(group)), tuple(group)))
        start += len(group)
    return found


def _probabilities(logits: NDArray[np.float32], group: Group) -> dict[str, float]:
    """Without the first, which stands for none."""
    odds = np.exp(logits[group.columns] - logits[group.columns].max())
    return dict(zip(group.names[1:], (odds[1:] / odds.sum()).tolist(), strict=True))


SUBJECTS = ("", *get_args(Subject))


@cache
def _shipped() -> Ngrams:
    with as_file(files("psychechat").joinpath("ngrams", FILE)) as path:
        return Ngrams(path)


def told(message: str) -> Told:
    """Of the model that comes with the package; its first call loads it."""
    return _shipped().told(message)
