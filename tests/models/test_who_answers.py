"""Who asks whether a person answers, in the words of a writer who had seen neither pattern nor training text.

The bounds are what was measured: a change may tighten them.
"""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from models.readings import assessments
from psychechat.help.who_answers import asked


@pytest.mark.engine
def test_patterns_and_the_fourth_head_hear_most_of_them(demo_classifier: Path) -> None:
    told: dict[str, list[str]] = yaml.safe_load(
        Path(__file__).with_name("who_answers_held_out.yaml").read_text("utf-8")
    )
    heard: Counter[str] = Counter()
    for kind, texts in told.items():
        for text, assessment in zip(texts, assessments(demo_classifier, texts), strict=True):
            heard[kind] += (asked(text) or assessment.asked) is not None
    assert {kind: len(texts) for kind, texts in told.items()} == {"identity": 100, "person": 40, "neither": 120}
    assert heard["identity"] >= 76
    assert heard["person"] >= 35
    assert heard["neither"] <= 4
