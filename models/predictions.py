"""What the classifier says of labelled texts, and how to look at a part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from models.data import Example
from models.heads import Heads, Targets


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
    emotion, risk = heads.logits(vectors)
    return Predictions(examples, Targets.of(examples), emotion.softmax(-1), risk.softmax(-1))


def load_heads(path: Path) -> Heads:
    """From a file of heads, or from a whole model folder's `model.safetensors`."""
    with safe_open(path, framework="pt") as file:
        prefix = "heads." if "heads.weight" in file.keys() else ""  # noqa: SIM118 - not a dict
        return Heads(file.get_tensor(f"{prefix}weight"), file.get_tensor(f"{prefix}bias"))
