"""The rules of doubt on made-up readings: what is found, what is mistaken, and that a table has all conversations."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from models.doubts import Counts, states
from models.written import Talk
from psychechat.conversation import Assessment, Conversation, Utterance
from psychechat.engines.scripted import assessment
from psychechat.policy import Policy
from psychechat.risk import HoldRules, Severity

POLICY = Policy.model_validate({"risk": {"ideation": 0.44}})
CALM = ["I went to work as usual today", "We had pasta for dinner again"]


def read(share: float) -> Assessment:
    return replace(assessment(), risk={**assessment().risk, Severity.NONE: 1 - share, Severity.IDEATION: share})


KNOWN: Mapping[str, Assessment] = {text: read(0.02) for text in CALM} | {"It is all over for me": read(0.7)}


def talk(*said: str, danger: bool) -> Talk:
    utterances = [Utterance("seeker", text) for text in said for text in (text, "")][:-1]
    spoken = [replace(u, speaker="counselor", text="I see.") if i % 2 else u for i, u in enumerate(utterances)]
    marks = tuple(danger and i == len(spoken) - 1 for i in range(len(spoken)))
    return Talk("en", "sudden" if danger else "calm", Conversation(tuple(spoken)), marks)


@pytest.mark.parametrize(("doubts", "raised"), [((1.0,), True), ((1.0, 2.0), True), ((1.0, 4.0, 12.0), False)])
def test_an_unsure_line_after_calm_ones(doubts: tuple[float, ...], raised: bool) -> None:
    rules = HoldRules(doubts=doubts)
    for danger in (True, False):
        told = talk(*CALM, "It is all over for me", danger=danger)
        lines, after = zip(*states(told, KNOWN, POLICY, rules), strict=True)
        counts = Counts()
        counts.add(told, after, lines)
        assert counts.share(told.kind) == f"{int(raised)}/1"
        assert (counts.held, counts.lines) == ((0, 0) if danger else (int(raised), 3))
        assert (counts.missed, counts.grave) == ((int(not raised), 1) if danger else (0, 0))
