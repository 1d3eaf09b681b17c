"""What is fitted and chosen on dev texts once heads are trained: temperatures, how rare each group is, thresholds.

Figures on the texts that something was chosen on flatter it. `halves` lets them be told without: chosen on one half,
measured on the other.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from models.data import GROUPS, Example
from models.heads import Heads, Targets, emotion_nll, risk_nll
from models.predictions import Predictions
from models.scores import choose_emotion_threshold, choose_risk_thresholds
from psychechat.risk import Severity

EMOTION_SETS = ("goemotions", "xed/en", "brighter/en", "brighter/zh", "psychechat")
"""What the emotion threshold is chosen on."""
RISK_SETS = {"psysuicide": 0.95, "own/en": 0.9, "own/zh": 0.9}
"""What the risk thresholds are chosen on, and the recall that the one of ideation must reach there.

Many of our own sentences are written to be mistaken: more recall on them would call everyday messages a crisis.
"""


def calibrated(heads: Heads, vectors: Tensor, examples: Sequence[Example]) -> Heads:
    """The heads under which these texts are most likely, a set of n texts counting as the square root of n.

    Each head has one temperature. The loss's class weights make it call rare groups too often: one number a group takes
    that back.
    """
    targets = Targets.of(examples)
    sizes = Counter(example.source for example in examples)
    weights = torch.tensor([sizes[example.source] ** -0.5 for example in examples])
    emotion, risk = heads.logits(vectors)
    sharpness = torch.zeros(2, requires_grad=True)
    absent = torch.zeros(len(GROUPS), requires_grad=True)
    optimiser = torch.optim.LBFGS([sharpness, absent], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        shift = torch.nn.functional.pad(absent.unsqueeze(1), (0, 3))
        losses = emotion_nll(emotion * sharpness[0].exp() + shift, targets.emotion).sum(1)
        losses = losses + risk_nll(risk * sharpness[1].exp(), targets.risk)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    emotion_temperature, risk_temperature = (-sharpness).exp().tolist()
    return heads.tempered(emotion_temperature, risk_temperature, absent.detach())


def thresholds(found: Predictions) -> tuple[float, dict[Severity, float]]:
    """Of emotion presence and of the severities, for the server's policy."""
    emotions = [found.of(source) for source in EMOTION_SETS]
    risks = [found.of(source) for source in RISK_SETS]
    return (
        choose_emotion_threshold([(part.emotion, part.targets.emotion) for part in emotions]),
        choose_risk_thresholds([(part.risk, part.targets.risk) for part in risks], list(RISK_SETS.values())),
    )


def halves(examples: Sequence[Example], seed: int) -> tuple[list[int], list[int]]:
    """The rows of either half; variants of one sentence fall into the same one."""
    sides = [hashlib.sha256(f"{seed} {example.unit}".encode()).digest()[0] % 2 for example in examples]
    first, second = ([i for i, side in enumerate(sides) if side == half] for half in (0, 1))
    return first, second
