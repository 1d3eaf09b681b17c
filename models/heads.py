"""Fits the two heads on frozen embeddings: 37 linear columns, all tasks in one loss, unannotated groups masked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data import GROUPS, MASKED, PRESENT, WEAK, Example

SEVERITIES = 5
WIDTHS = (4,) * len(GROUPS) + (SEVERITIES,)
EMOTION_COLUMNS = 4 * len(GROUPS)


@dataclass(frozen=True, slots=True)
class Targets:
    """emotion [texts, 8] of MASKED, 0..3, PRESENT or WEAK; risk [texts] of MASKED or 0..4; weights [texts]."""

    emotion: Tensor
    risk: Tensor
    weight: Tensor
    risk_weight: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Targets":
        return cls(
            emotion=torch.tensor([example.emotion for example in examples]),
            risk=torch.tensor([example.risk for example in examples]),
            weight=torch.tensor([example.weight for example in examples]),
            risk_weight=torch.tensor([example.risk_weight for example in examples]),
        )


@dataclass(frozen=True, slots=True)
class Heads:
    """weight [37, H], bias [37]: what the server loads."""

    weight: Tensor
    bias: Tensor

    def logits(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Emotion [texts, 8, 4] and risk [texts, 5]."""
        flat = vectors @ self.weight.T + self.bias
        return flat[:, :EMOTION_COLUMNS].reshape(-1, len(GROUPS), 4), flat[:, EMOTION_COLUMNS:]

    def tempered(self, emotion: float, risk: float, absent: Tensor) -> "Heads":
        """The same heads: each one's logits divided by its temperature, then `absent` [8] added to absence's."""
        scale = torch.cat([torch.full((EMOTION_COLUMNS,), 1 / emotion), torch.full((SEVERITIES,), 1 / risk)])
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
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        emotion, risk = Heads(weight, bias).logits(scaled)
        loss = (emotion_nll(emotion, targets.emotion) * emotion_weights).sum()
        loss = loss + (risk_nll(risk, targets.risk) * risk_weights).sum() + decay * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    folded = weight.detach() / spread
    return Heads(folded, bias.detach() - folded @ mean)


def emotion_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """[texts, 8], zero where masked. A text known only to show an emotion is scored on the sum of its three levels."""
    log = logits.log_softmax(-1)
    at_level = log.gather(2, targets.clamp(0, 3).unsqueeze(2)).squeeze(2)
    there = log[..., 1:].logsumexp(-1)
    return -torch.where(targets >= PRESENT, there, at_level) * (targets != MASKED)


def risk_nll(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """[texts], zero where masked. `smoothing` of each target is spread over all severities."""
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
    weights = targets.risk_weight.clone()
    known = targets.risk != MASKED
    total = weights[known].sum()
    for severity in range(SEVERITIES):
        here = targets.risk == severity
        weights[here] *= (weights[here].sum() / total) ** -0.5
    return weights / weights[known].sum()
