"""What is fitted and chosen on dev texts once heads are trained: temperatures, how rare each group is, thresholds.

Figures on the texts that something was chosen on flatter it. `halves` lets them be told without: chosen on one half,
measured on the other.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from models.data import GROUPS, HURTING, Example
from models.heads import Heads, Targets, class_nll, emotion_nll
from models.minimise import minimise
from models.predictions import Predictions
from models.readings import Vectors
from models.scores import choose_emotion_thresholds, choose_risk_thresholds
from psychechat.emotion import Group
from psychechat.risk import Severity

EMOTION_SETS = (
    *("goemotions", "xed/en", "brighter/en", "brighter/zh", "psychechat"),
    *("messages/en", "messages/zh", "labelled/en", "labelled/zh"),
)
"""What the emotion thresholds are chosen on."""
RISK_SETS = {"psysuicide": 0.94, "lines/en": 0.87, "lines/zh": 0.87, "composed/en": 0.77, "composed/zh": 0.77}
"""What the risk thresholds are chosen on, and the recall that the one of ideation must reach there.

Our own lines are written to be mistaken: more recall on them would call everyday messages a crisis. In what is composed
one of several sentences is such a line.
"""
REFUSED = 0.05
"""The share of kind drafts that may be taken for hurting ones."""


def calibrated(heads: Heads, vectors: Vectors, examples: Sequence[Example]) -> Heads:
    """The heads under which these texts are most likely, a set of n texts counting as the square root of n.

    Each head has one temperature. The loss's class weights make it call rare groups too often: one number a group takes
    that back.
    """
    targets = Targets.of(examples)
    sizes = Counter(example.source for example in examples)
    weights = torch.tensor([sizes[example.source] ** -0.5 for example in examples])
    emotion, risk, draft = heads.logits(vectors.rows[vectors.first])
    sharpness = torch.zeros(3, requires_grad=True)
    absent = torch.zeros(len(GROUPS), requires_grad=True)

    def loss() -> Tensor:
        shift = torch.nn.functional.pad(absent.unsqueeze(1), (0, 3))
        losses = emotion_nll(emotion * sharpness[0].exp() + shift, targets.emotion).sum(1)
        losses = losses + class_nll(risk * sharpness[1].exp(), targets.risk)
        if draft.shape[1]:
            losses = losses + class_nll(draft * sharpness[2].exp(), targets.draft)
        return (losses * weights).sum() / weights.sum()

    minimise([sharpness, absent], loss, steps=100, history=100)
    emotion_temperature, risk_temperature, draft_temperature = (-sharpness).exp().tolist()
    return heads.tempered(emotion_temperature, risk_temperature, absent.detach(), draft_temperature)


def thresholds(found: Predictions) -> tuple[dict[Group, float], dict[Severity, float]]:
    """Of each emotion group's presence and of the severities, for the server's policy."""
    emotions = [found.of(source) for source in EMOTION_SETS]
    risks = {source: found.of(source) for source in RISK_SETS}
    return (
        choose_emotion_thresholds([(part.emotion, part.targets.emotion) for part in emotions]),
        choose_risk_thresholds(
            [(part.risk, part.targets.risk) for part in risks.values() if part.examples],
            [RISK_SETS[source] for source, part in risks.items() if part.examples],
        ),
    )


def draft_scores(heads: Heads, vectors: Vectors, examples: Sequence[Example], threshold: float) -> dict[str, float]:
    hurting, hurts = _hurting(heads, vectors, examples)
    pairs = hurting[hurts].unsqueeze(1) - hurting[~hurts].unsqueeze(0)
    return {
        "kind": int((~hurts).sum()),
        "hurting": int(hurts.sum()),
        "kind_refused": int((hurting[~hurts] >= threshold).sum()),
        "hurting_refused": int((hurting[hurts] >= threshold).sum()),
        "told_apart": float(((pairs > 0).float() + (pairs == 0) / 2).mean()) if pairs.numel() else 0.0,
    }


def _hurting(heads: Heads, vectors: Vectors, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """P(hurting) of each draft, and whether it hurts, both [drafts]."""
    probability = heads.logits(vectors.rows).draft.softmax(-1)[:, HURTING]
    return probability, torch.tensor([example.hurts == HURTING for example in examples])


def draft_threshold(heads: Heads, vectors: Vectors, examples: Sequence[Example]) -> float:
    """P(hurting) from which on a draft is refused: the best balance of both kinds that refuses few kind ones.

    Of written drafts only: what people judged in `dialogue_safety` is another matter, and noisier.
    """
    hurting, hurts = _hurting(heads, vectors, examples)
    own = torch.tensor([example.source.startswith("drafts") for example in examples])
    kind, bad = hurting[own & ~hurts], hurting[own & hurts]
    candidates = [t for t in (i / 100 for i in range(10, 96)) if float((kind >= t).float().mean()) <= REFUSED] or [0.95]
    return max(candidates, key=lambda t: float((bad >= t).float().mean() + (kind < t).float().mean()))


def halves(examples: Sequence[Example], seed: int) -> tuple[list[int], list[int]]:
    """The rows of either half; variants of one sentence fall into the same one."""
    sides = [hashlib.sha256(f"{seed} {example.unit}".encode()).digest()[0] % 2 for example in examples]
    first, second = ([i for i, side in enumerate(sides) if side == half] for half in (0, 1))
    return first, second
