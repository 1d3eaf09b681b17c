"""The heads' training on small made-up vectors, and the data that it reads."""

from pathlib import Path

import pytest
import torch

from models.data import GROUPS, MASKED, PRESENT, ROOT, DataMissing, load
from models.heads import Targets, fit
from models.scores import choose_risk_thresholds, emotion_scores, risk_scores, severities
from models.sentences import RISK_CORES, sentences
from psychechat.risk import Severity, level

THRESHOLDS = {Severity.INDICATOR: 0.6, Severity.IDEATION: 0.3, Severity.BEHAVIOR: 0.4, Severity.ATTEMPT: 0.5}


def made_up(count: int = 600, width: int = 24) -> tuple[torch.Tensor, Targets]:
    """Vectors whose first coordinates carry the labels: joy's level on 0 to 3, the severity on 4 to 8."""
    generator = torch.Generator().manual_seed(1)
    joy = torch.randint(0, 4, (count,), generator=generator)
    risk = torch.randint(0, 5, (count,), generator=generator)
    vectors = torch.randn(count, width, generator=generator) * 0.3 + 7
    vectors[torch.arange(count), joy] += 2
    vectors[torch.arange(count), 4 + risk] += 2
    emotion = torch.full((count, len(GROUPS)), MASKED)
    emotion[:, 0] = joy
    return vectors, Targets(emotion, risk, torch.full((count,), MASKED), torch.ones(count), torch.ones(count))


def test_learns_what_is_there_and_leaves_masked_groups_alone() -> None:
    vectors, targets = made_up()
    heads = fit(vectors, targets, decay=1e-4)
    emotion, risk, _ = heads.logits(vectors)
    assert float((emotion[:, 0].argmax(1) == targets.emotion[:, 0]).float().mean()) > 0.97
    assert float((risk.argmax(1) == targets.risk).float().mean()) > 0.97
    assert torch.equal(emotion[:, 1:], torch.zeros_like(emotion[:, 1:]))  # never annotated: untouched


def test_presence_without_a_level_teaches_presence() -> None:
    vectors, targets = made_up()
    joy = targets.emotion[:, 0]
    joy[joy > 0] = PRESENT
    probabilities = fit(vectors, targets, decay=1e-4).logits(vectors)[0].softmax(-1)
    assert bool(((1 - probabilities[:, 0, 0] > 0.5) == (joy > 0)).float().mean() > 0.97)


def test_the_same_data_gives_the_same_heads() -> None:
    first, second = (fit(*made_up(), decay=1e-3) for _ in range(2))
    assert torch.equal(first.weight, second.weight)


def test_severities_are_the_servers() -> None:
    probabilities = torch.rand(500, 5, generator=torch.Generator().manual_seed(3)).softmax(1)
    expected = [level(dict(zip(Severity, row, strict=True)), THRESHOLDS) for row in probabilities.tolist()]
    assert severities(probabilities, THRESHOLDS).tolist() == [int(severity) for severity in expected]


def test_scores_by_hand() -> None:
    truth = torch.tensor([0, 0, 2, 3])
    risk = torch.eye(5)[[0, 2, 2, 1]]
    scores = risk_scores(risk, truth, THRESHOLDS)
    assert scores["recall_ideation_or_worse"] == 0.5
    assert scores["precision_ideation_or_worse"] == 0.5
    assert scores["false_alarm_rate"] == 0.5
    assert scores["macro_f1_argmax"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    emotion = torch.zeros(2, len(GROUPS), 4)
    emotion[..., 0] = 1
    emotion[0, 0] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    targets = torch.full((2, len(GROUPS)), MASKED)
    targets[:, 0] = torch.tensor([3, 2])
    found = emotion_scores(emotion, targets, 0.5)
    assert found["macro_f1"] == found["f1_joy"] == pytest.approx(2 / 3)
    assert found["level_accuracy"] == 0.5


def test_recall_comes_first_when_thresholds_are_chosen() -> None:
    truth = torch.tensor([0] * 90 + [2] * 10)
    risk = torch.zeros(100, 5)
    risk[:90, 2], risk[90:, 2] = 0.05, torch.linspace(0.12, 0.9, 10)
    risk[:, 0] = 1 - risk[:, 2]
    chosen = choose_risk_thresholds([(risk, truth)], [1.0])
    assert 0.05 < chosen[Severity.IDEATION] <= 0.12  # above the others, and no higher than the weakest call


def test_sentences_repeat_and_keep_their_development_cores_apart() -> None:
    first, second = list(sentences(0)), list(sentences(0))
    assert first == second
    assert not {s.text for s in first if s.held_out} & {s.text for s in first if not s.held_out}
    assert {s.risk for s in first if s.held_out} == {0, 1, 2, 3, 4}
    assert {(s.group, s.level) for s in first if s.group} == {(str(g), n) for g in GROUPS for n in (1, 2, 3)}


def test_no_core_stands_at_two_severities() -> None:
    assert len(RISK_CORES) == len({(s.text, s.risk) for s in sentences(0) if s.group is None and s.text in RISK_CORES})


def test_without_the_data_it_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="psysuicide"):
        load(0, tmp_path)


@pytest.mark.skipif(not ROOT.is_dir(), reason="needs the data sets in ../shared/data")
def test_what_a_set_does_not_annotate_is_masked() -> None:
    examples = load(0)
    by_source = {source: [e for e in examples if e.source == source] for source in {e.source for e in examples}}
    trust, disgust, anticipation = (list(map(str, GROUPS)).index(g) for g in ("trust", "disgust", "anticipation"))
    for example in by_source["brighter/en"]:
        assert {example.emotion[i] for i in (trust, disgust, anticipation)} == {MASKED}
    assert any(example.emotion[disgust] > 0 for example in by_source["brighter/zh"])
    assert all(set(example.emotion) == {MASKED} and example.risk >= 0 for example in by_source["psysuicide"])
    assert not {"vera_mh", "esconv_nc"} & set(by_source)
    train = {example.text for example in examples if example.split == "train" and example.source == "psysuicide"}
    assert not any(e.text in train for e in examples if e.split == "dev" and e.source == "psysuicide")
