"""What the classifier says of labelled texts, and how to look at a part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor

from models.data import Example
from models.heads import Heads, Targets
from psychechat.engines.vllm.windows import chances
from psychechat.risk import CRISIS

if TYPE_CHECKING:
    from models.readings import Vectors


@dataclass(frozen=True, slots=True)
class Predictions:
    """Texts with their targets and probabilities: emotion [texts, 8, 4], risk [texts, 5]."""

    examples: Sequence[Example]
    targets: Targets
    emotion: Tensor
    risk: Tensor

    def where(self, rows: Sequence[int]) -> "Predictions":
        examples = [self.examples[i] for i in rows]
        return Predictions(examples, Targets.of(examples), self.emotion[list(rows)], self.risk[list(rows)])

    def of(self, *sources: str) -> "Predictions":
        return self.where([i for i, example in enumerate(self.examples) if example.source in sources])

    def with_risk(self) -> "Predictions":
        return self.where([i for i, example in enumerate(self.examples) if example.risk >= 0])


def predict(heads: Heads, vectors: Tensor, examples: Sequence[Example]) -> Predictions:
    """Of one vector a text."""
    logits = heads.logits(vectors)
    return Predictions(examples, Targets.of(examples), logits.emotion.softmax(-1), logits.risk.softmax(-1))


def predict_read(heads: Heads, vectors: "Vectors", examples: Sequence[Example]) -> Predictions:
    """As the server combines what it read: emotion of the first whole window, risk the worst of all readings.

    Severity by severity: P(this one or worse) is the largest of any reading's, discounted by the number of sentences.
    """
    logits = heads.logits(vectors.rows)
    looks = torch.tensor([chances(int(readings) - 1) for readings in vectors.owner.bincount(minlength=len(examples))])
    weighed = logits.risk.softmax(-1)
    weighed[:, :CRISIS] *= looks[vectors.owner].unsqueeze(1)
    tails = (weighed / weighed.sum(1, keepdim=True)).flip(1).cumsum(1).flip(1)
    worst = torch.zeros(len(examples), tails.shape[1]).index_reduce_(0, vectors.owner, tails, "amax", include_self=True)
    worst[:, 0] = 1.0
    risk = worst - torch.nn.functional.pad(worst[:, 1:], (0, 1))
    return Predictions(examples, Targets.of(examples), logits.emotion[vectors.first].softmax(-1), risk)


def load_heads(path: Path) -> Heads:
    """From a file of heads, or from a whole model folder's `model.safetensors`."""
    with safe_open(path, framework="pt") as file:
        prefix = "heads." if "heads.weight" in file.keys() else ""  # noqa: SIM118 - not a dict
        return Heads(file.get_tensor(f"{prefix}weight"), file.get_tensor(f"{prefix}bias"))
