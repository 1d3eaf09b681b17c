"""The heads: linear columns over a pooled vector, all tasks in one loss, what is not annotated masked.

Eight emotion groups of four columns, one group of five severities, and in the demo's a tenth of two: whether a draft is
kind or hurts. `fit` fits the first nine on frozen embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from models.data import GROUPS, MASKED, PRESENT, WEAK, Example
from models.minimise import minimise
from psychechat.engines.vllm.windows import DRAFT_WIDTHS, KNOWN_WIDTHS, WIDTHS
from psychechat.risk import Severity

EMOTION_COLUMNS = 4 * len(GROUPS)
RISK_COLUMNS = slice(EMOTION_COLUMNS, sum(WIDTHS))
DRAFT_COLUMNS = slice(sum(WIDTHS), sum(DRAFT_WIDTHS))


@dataclass(frozen=True, slots=True)
class Targets:
    """emotion [texts, 8] of MASKED, 0..3, PRESENT or WEAK; risk [texts] of MASKED or 0..4; draft [texts] of
    MASKED, KIND or HURTING; weights [texts]."""

    emotion: Tensor
    risk: Tensor
    draft: Tensor
    weight: Tensor
    risk_weight: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Targets":
        return cls(
            emotion=torch.tensor([example.emotion for example in examples]),
            risk=torch.tensor([example.risk for example in examples]),
            draft=torch.tensor([example.hurts for example in examples]),
            weight=torch.tensor([example.weight for example in examples]),
            risk_weight=torch.tensor([example.risk_weight for example in examples]),
        )


class Logits(NamedTuple):
    """Emotion [texts, 8, 4], risk [texts, 5], draft [texts, 2] or [texts, 0]."""

    emotion: Tensor
    risk: Tensor
    draft: Tensor


def split(flat: Tensor) -> Logits:
    """Of [texts, columns]."""
    emotion = flat[:, :EMOTION_COLUMNS].reshape(-1, len(GROUPS), 4)
    return Logits(emotion, flat[:, RISK_COLUMNS], flat[:, DRAFT_COLUMNS])


@dataclass(frozen=True, slots=True)
class Heads:
    """weight [columns, H], bias [columns]: what the server loads. 37 columns, 39 with the third head, 64 with all."""

    weight: Tensor
    bias: Tensor

    def logits(self, vectors: Tensor) -> Logits:
        return split(vectors @ self.weight.T + self.bias)

    def probabilities(self, vectors: Tensor) -> Tensor:
        """[texts, columns], as the server's pooler gives them: a softmax over each group."""
        widths = next(widths for widths in KNOWN_WIDTHS if sum(widths) == len(self.bias))
        flat = vectors @ self.weight.T + self.bias
        ends = list(accumulate(widths))
        return torch.cat([flat[:, end - width : end].softmax(1) for width, end in zip(widths, ends, strict=True)], 1)

    def tempered(self, emotion: float, risk: float, absent: Tensor, draft: float = 1.0) -> "Heads":
        """The same heads: each one's logits divided by its temperature, then `absent` [8] added to absence's."""
        scale = torch.full((len(self.bias),), 1 / draft)
        scale[:EMOTION_COLUMNS], scale[RISK_COLUMNS] = 1 / emotion, 1 / risk
        bias = self.bias * scale
        bias[:EMOTION_COLUMNS:4] += absent
        return Heads(self.weight * scale.unsqueeze(1), bias)


def fit(vectors: Tensor, targets: Targets, decay: float) -> Heads:
    """The heads that minimise the weighted loss plus `decay` x squared weights. Convex, so the same every time.

    Classes count by the inverse square root of their share, which lifts the rare ones without drowning the rest.
    """
    mean, spread = vectors.mean(0), vectors.std(0) + 1e-6
    scaled = (vectors - mean) / spread
    weight = torch.zeros(sum(WIDTHS), vectors.shape[1], requires_grad=True)
    bias = torch.zeros(sum(WIDTHS), requires_grad=True)
    emotion_weights, risk_weights = emotion_weighting(targets), risk_weighting(targets)

    def loss() -> Tensor:
        emotion, risk, _ = Heads(weight, bias).logits(scaled)
        total = (emotion_nll(emotion, targets.emotion) * emotion_weights).sum()
        return total + (class_nll(risk, targets.risk) * risk_weights).sum() + decay * weight.square().sum()

    minimise([weight, bias], loss, steps=100)
    folded = weight.detach() / spread
    return Heads(folded, bias.detach() - folded @ mean)


def emotion_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """[texts, 8], zero where masked. A text known only to show an emotion is scored on the sum of its three levels."""
    log = logits.log_softmax(-1)
    at_level = log.gather(2, targets.clamp(0, 3).unsqueeze(2)).squeeze(2)
    there = log[..., 1:].logsumexp(-1)
    return -torch.where(targets >= PRESENT, there, at_level) * (targets != MASKED)


def class_nll(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Of severities, or of kind and hurting: [texts], zero where masked. `smoothing` of each target is spread over all
    classes."""
    log = logits.log_softmax(-1)
    right = log.gather(1, targets.clamp(0).unsqueeze(1)).squeeze(1)
    return -((1 - smoothing) * right + smoothing * log.mean(1)) * (targets != MASKED)


def emotion_weighting(targets: Targets) -> Tensor:
    """[texts, 8]: the source's weight, times the class's, so that each group weighs the same in all."""
    weights = targets.weight.unsqueeze(1).expand(-1, len(GROUPS)).clone()
    for group in range(len(GROUPS)):
        column = targets.emotion[:, group]
        known = column != MASKED
        for present in (column == 0, column > 0):
            weights[present & known, group] *= float(((present & known).sum() / known.sum()) ** -0.5)
        weights[column == WEAK, group] *= 0.5
        weights[known, group] /= weights[known, group].sum()
    return weights


def risk_weighting(targets: Targets) -> Tensor:
    """[texts]: the source's weight times the class's, which falls with the square root of its share; 0 where masked."""
    known = targets.risk != MASKED
    weights = targets.risk_weight * known
    total = weights.sum().clamp(min=1e-9)
    for severity in Severity:
        here = targets.risk == severity
        weights[here] *= (weights[here].sum() / total) ** -0.5
    return weights / weights.sum().clamp(min=1e-9)


def draft_weighting(targets: Targets) -> Tensor:
    """Kind and hurting drafts weigh the same in all."""
    weights = targets.weight.clone()
    for kind in (0, 1):
        here = targets.draft == kind
        weights[here] /= 2 * weights[here].sum().clamp(min=1e-9)
    weights[targets.draft == MASKED] = 0.0
    return weights
