"""Thresholds that are known of the shipped heads alone, and are off for others until somebody sets them."""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable

from psychechat.policy import Policy

VETO_BELOW = 0.05
"""P(ideation or worse) below which the shipped risk head overrules a listed phrase."""
HURTING_AT = 0.57
"""P(hurting) from which on the shipped third head refuses a draft."""

SHIPPED = files("psychechat").joinpath("demo", "heads.safetensors")


def for_heads(policy: Policy, *, shipped: bool) -> Policy:
    """The policy for these heads: what nobody has set is set."""
    risk, review = policy.risk, policy.review
    if risk.veto_below is None:
        risk = risk.model_copy(update={"veto_below": VETO_BELOW if shipped else 0.0})
    if review.hurting_at is None:
        known = shipped and has_third(SHIPPED)
        review = review.model_copy(update={"hurting_at": HURTING_AT if known else 1.0})
    return policy.model_copy(update={"risk": risk, "review": review})


def has_third(heads: Traversable) -> bool:
    """Whether there is a third head in this safetensors file, by its header.

    Known without an engine: where there is none, a classifier that is away has left no draft unjudged.
    """
    with heads.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    groups: list[int] = json.loads(header["__metadata__"]["psychechat"])["groups"]
    return 2 in groups


def notice(policy: Policy, *, shipped: bool) -> str | None:
    """What an operator should be told of heads that nobody has measured; None if there is nothing."""
    unset = {
        "policy.risk.veto_below": ("no listed phrase is overruled", policy.risk.veto_below),
        "policy.review.hurting_at": ("no draft is refused for hurting", policy.review.hurting_at),
    }
    off = {name: effect for name, (effect, value) in unset.items() if value is None}
    if shipped or not off:
        return None
    return f"not set for this classifier: {' and '.join(off)}, so {' and '.join(off.values())}"
