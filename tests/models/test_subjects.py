"""What fresh messages are taken to be about: `subjects-LANGUAGE.tsv`, by a hand that saw no training line, no word."""

from pathlib import Path

import pytest

from models.readings import assessments
from psychechat import ngrams
from psychechat.help.subjects import likely, weighed


@pytest.mark.engine
@pytest.mark.parametrize(("language", "right", "wrong"), [("en", 0.37, 0.058), ("zh", 0.57, 0.055)])
def test_some_are_heard_and_few_wrongly(demo_classifier: Path, language: str, right: float, wrong: float) -> None:
    rows = [row.split("\t") for row in Path(__file__).with_name(f"subjects-{language}.tsv").read_text().splitlines()]
    heard = [
        likely(weighed(assessment.subjects, ngrams.told(text).subjects)) or "other"
        for assessment, (_, text) in zip(assessments(demo_classifier, [text for _, text in rows]), rows, strict=True)
    ]
    about = [(name, true) for name, (true, _) in zip(heard, rows, strict=True) if true != "other"]
    assert sum(name == true for name, true in about) >= right * len(about)
    assert sum(name not in (true, "other") for name, true in about) <= wrong * len(about)
    others = [name for name, (true, _) in zip(heard, rows, strict=True) if true == "other"]
    assert sum(name != "other" for name in others) <= 5
