"""How good the heads are, in the measures that the data sets' own floors use."""

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from models.data import GROUPS, MASKED
from psychechat.emotion import Group
from psychechat.risk import CRISIS, Severity

Thresholds = Mapping[Severity, float]
Presence = float | Mapping[Group, float]
"""From which probability on an emotion group is there: one for all groups, or each one's."""
_FINE = [round(0.16 + 0.02 * i, 2) for i in range(28)]


def f1(truth: Tensor, guess: Tensor) -> float:
    """Of two boolean vectors; 0 if nothing is right."""
    hits = float((truth & guess).sum())
    return 2 * hits / max(1.0, float(truth.sum() + guess.sum()))


def severities(risk: Tensor, thresholds: Thresholds) -> Tensor:
    """`psychechat.risk.level` over rows of probabilities, [texts, 5] to [texts]."""
    tails = risk.flip(1).cumsum(1).flip(1)
    levels = torch.zeros(len(risk), dtype=torch.long)
    for severity in sorted(thresholds):
        levels[tails[:, severity] >= thresholds[severity]] = int(severity)
    return levels


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """The expected calibration error: |mean confidence - share right| over bins of equal width, weighted by size."""
    return sum(size * abs(mean - share) for mean, share, size in reliability(confidence, right, bins)) / len(right)


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, size) of each bin that is not empty."""
    places = (confidence * bins).long().clamp(max=bins - 1)
    return [
        (float(confidence[here].mean()), float(right[here].float().mean()), int(here.sum()))
        for here in (places == place for place in range(bins))
        if here.any()
    ]


def risk_scores(risk: Tensor, truth: Tensor, thresholds: Thresholds) -> dict[str, float]:
    """Of probabilities [texts, 5] against levels [texts]. Macro-F1 is over the levels that occur."""
    levels, best = severities(risk, thresholds), risk.argmax(1)
    present = torch.unique(truth).tolist()
    crisis, called = truth >= CRISIS, levels >= CRISIS
    scores = {
        "texts": len(truth),
        "macro_f1_argmax": sum(f1(truth == level, best == level) for level in present) / len(present),
        "macro_f1_thresholds": sum(f1(truth == level, levels == level) for level in present) / len(present),
        "accuracy_argmax": float((best == truth).float().mean()),
        "within_one_level": float(((levels - truth).abs() <= 1).float().mean()),
        "kappa_quadratic": kappa(truth, levels, len(Severity)),
        "calibration_error": calibration_error(risk.max(1).values, best == truth),
        "calibration_error_ideation_or_worse": calibration_error(risk[:, CRISIS:].sum(1), crisis),
    }
    if crisis.any():
        scores["recall_ideation_or_worse"] = float(called[crisis].float().mean())
        scores["recall_ideation_or_worse_argmax"] = float((best[crisis] >= CRISIS).float().mean())
    if called.any():
        scores["precision_ideation_or_worse"] = float(crisis[called].float().mean())
    if (~crisis).any():
        scores["false_alarm_rate"] = float(called[~crisis].float().mean())
    return scores


def emotion_scores(emotion: Tensor, truth: Tensor, threshold: Presence) -> dict[str, float]:
    """Of probabilities [texts, 8, 4] against targets [texts, 8]: F1 of presence by group, and the level where known."""
    presence, at = 1 - emotion[..., 0], _by_group(threshold)
    scores: dict[str, float] = {}
    for i, group in enumerate(GROUPS):
        known = truth[:, i] != MASKED
        if (truth[known, i] > 0).any():
            scores[f"f1_{group}"] = f1(truth[known, i] > 0, presence[known, i] >= at[i])
    scores["macro_f1"] = sum(scores.values()) / max(1, len(scores))
    known = truth != MASKED
    scores["calibration_error"] = calibration_error(presence[known], truth[known] > 0)
    graded = (truth >= 1) & (truth <= 3)
    if graded.any():
        guess = emotion[..., 1:].argmax(-1) + 1
        scores["level_accuracy"] = float((guess == truth)[graded].float().mean())
        scores["level_within_one"] = float(((guess - truth).abs() <= 1)[graded].float().mean())
        scores["level_kappa_quadratic"] = kappa(truth[graded] - 1, guess[graded] - 1, 3)
    return scores


def macro_f1_interval(emotion: Tensor, truth: Tensor, threshold: Presence, resamples: int = 1000) -> list[float]:
    """Within which the macro-F1 of `emotion_scores` lies for 95 of 100 drawings of as many texts, with replacement."""
    there, guess = truth > 0, (1 - emotion[..., 0] >= _by_group(threshold)) & (truth != MASKED)
    seen = there.any(0)
    drawn = torch.randint(len(truth), (resamples, len(truth)), generator=torch.Generator().manual_seed(0))
    counts = torch.zeros(resamples, len(truth)).scatter_add_(1, drawn, torch.ones(drawn.shape))
    hits, called, real = (counts @ part[:, seen].float() for part in (there & guess, guess, there))
    scores = (2 * hits / (called + real).clamp(min=1)).mean(1)
    return torch.quantile(scores, torch.tensor([0.025, 0.975])).tolist()


def choose_emotion_threshold(sets: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The presence threshold with the best mean macro-F1 over sets of (probabilities, targets)."""
    candidates = [0.2 + 0.02 * i for i in range(26)]
    return max(candidates, key=lambda t: sum(emotion_scores(p, truth, t)["macro_f1"] for p, truth in sets))


def choose_emotion_thresholds(sets: Sequence[tuple[Tensor, Tensor]]) -> dict[Group, float]:
    """Each group's with the best mean F1 of the group over the sets that it is annotated in."""
    chosen = {}
    for i, group in enumerate(GROUPS):
        parts = []
        for emotion, truth in sets:
            known = truth[:, i] != MASKED
            if (truth[known, i] > 0).any():
                parts.append((1 - emotion[known, i, 0], truth[known, i] > 0))
        chosen[group] = max(_FINE, key=lambda t: sum(f1(there, p >= t) for p, there in parts))
    return chosen


def _by_group(threshold: Presence) -> Tensor:
    """[8]."""
    if isinstance(threshold, Mapping):
        return torch.tensor([threshold[group] for group in GROUPS])
    return torch.full((len(GROUPS),), threshold)


def choose_risk_thresholds(sets: Sequence[tuple[Tensor, Tensor]], recalls: Sequence[float]) -> dict[Severity, float]:
    """The cumulative thresholds with the best mean macro-F1 among those that reach each set's recall at ideation.

    If none reach it, the lowest ideation threshold of the grid is taken.
    """
    fine = [0.04 + 0.02 * i for i in range(29)]
    steps = [0.3 + 0.05 * i for i in range(8)]
    needs = list(zip(sets, recalls, strict=True))
    reaching = [t for t in fine if all(_recall(*part, t) >= recall for part, recall in needs)] or fine[:1]
    best, best_score = {}, -1.0
    for ideation, indicator, behavior, attempt in product(reaching, steps, steps, steps):
        if indicator < ideation:
            continue  # an indicator is a weaker claim, but calling it early sends everyone to Agent Mode
        thresholds = dict(zip(list(Severity)[1:], (indicator, ideation, behavior, attempt), strict=True))
        score = sum(_macro_f1(severities(risk, thresholds), truth) for risk, truth in sets)
        if score > best_score:
            best, best_score = thresholds, score
    return {severity: round(threshold, 2) for severity, threshold in best.items()}


def _recall(risk: Tensor, truth: Tensor, threshold: float) -> float:
    return float((risk[truth >= CRISIS, CRISIS:].sum(1) >= threshold).float().mean())


def _macro_f1(levels: Tensor, truth: Tensor) -> float:
    present = torch.unique(truth).tolist()
    return sum(f1(truth == level, levels == level) for level in present) / len(present)


def kappa(truth: Tensor, guess: Tensor, size: int) -> float:
    """Cohen's, with quadratic weights, over levels 0 to `size` - 1."""
    seen = torch.bincount(truth * size + guess, minlength=size * size).reshape(size, size).float()
    chance = seen.sum(1, keepdim=True) @ seen.sum(0, keepdim=True) / seen.sum()
    steps = torch.arange(size)
    penalty = (steps.unsqueeze(0) - steps.unsqueeze(1)).square().float()
    return 1 - float((penalty * seen).sum() / (penalty * chance).sum().clamp(min=1e-9))
