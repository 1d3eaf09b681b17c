"""Rendering of assessments as objects of the API."""

from collections.abc import Mapping, Sequence

from psychechat.api.http import schemas
from psychechat.conversation import Assessment
from psychechat.emotion import Emotion, valence
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity

_LEVELS = ("absent", "low", "mid", "high")

JUDGED = {"self-harm": CRISIS, "self-harm/intent": Severity.BEHAVIOR}
"""Categories that the risk head covers, and the severity from which each applies. Intent needs preparation or an
attempt; a wish is `self-harm` alone."""
NOT_JUDGED = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


def classification(
    index: int, assessment: Assessment, policy: Policy, hurting: Sequence[float | None] | None = None
) -> schemas.Classification:
    """`hurting`: P(hurting) of each text as a reply; None where nobody asked."""
    read = detected(assessment, policy)
    payload: schemas.Classification = {
        "object": "classification",
        "index": index,
        "emotions": read["emotions"],
        "valence": read["valence"],
        "groups": read["groups"],
        "risk": read["risk"],
    }
    if hurting is not None:
        payload["hurting"] = None if (share := hurting[index]) is None else round(share, 4)
    return payload


def detected(assessment: Assessment, policy: Policy) -> schemas.Detected:
    """Detected emotions and risk of one text."""
    emotions, thresholds = assessment.emotions(policy.emotion_thresholds.by_group), policy.risk.by_severity
    return {
        "emotions": emotions_object(emotions),
        "valence": valence(emotion.label for emotion in emotions),
        "groups": groups_object(assessment),
        "risk": risk_object(assessment.severity(thresholds), assessment.decided_by(thresholds)),
    }


def groups_object(assessment: Assessment) -> dict[str, dict[str, float]]:
    """Probabilities of each group's intensities, before any threshold."""
    return {
        str(group): {level: round(share, 4) for level, share in zip(_LEVELS, columns, strict=True)}
        for group, columns in assessment.groups.items()
    }


def emotions_object(emotions: Sequence[Emotion]) -> list[schemas.Emotion]:
    return [
        {
            "label": emotion.label.name("en"),
            "group": emotion.label.group,
            "intensity": emotion.label.intensity,
            "probability": round(emotion.probability, 4),
        }
        for emotion in emotions
    ]


def risk_object(severity: Severity | None, shares: Mapping[Severity, float]) -> schemas.Risk:
    return {
        "level": None if severity is None else severity.label,
        "probabilities": {severity.label: round(share, 4) for severity, share in sorted(shares.items())},
    }


def verdict(severity: Severity, scores: Mapping[Severity, float]) -> schemas.Verdict:
    """`scores`: the probability of each severity or worse, as `Reading.scores` has it."""
    met = {name: severity >= least for name, least in JUDGED.items()}
    told = {name: round(scores.get(least, 0.0), 4) for name, least in JUDGED.items()}
    return {
        "flagged": any(met.values()),
        "categories": dict.fromkeys(NOT_JUDGED, False) | met,
        "category_scores": dict.fromkeys(NOT_JUDGED, 0.0) | told,
        "category_applied_input_types": {name: [] for name in NOT_JUDGED} | {name: ["text"] for name in JUDGED},
    }
