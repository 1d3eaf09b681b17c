"""The figures: calibration by hand, the baselines on a few rows, the plot, the sentences' bounds."""

from pathlib import Path

import pytest
import torch

from models import baselines, hand_written
from models.data import GROUPS, MASKED, PRESENT, WEAK, Example
from models.heads import emotion_nll
from models.plot import reliability_plot
from models.scores import calibration_error, emotion_scores, kappa, macro_f1_interval
from psychechat.risk import Severity


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.9 where 3 of 4 are so, 0.1 where none of 4 is."""
    confidence = torch.tensor([0.9] * 4 + [0.1] * 4)
    right = torch.tensor([True, True, True, False, *[False] * 4])
    assert calibration_error(confidence, right) == pytest.approx((0.15 + 0.1) / 2)
    assert calibration_error(torch.ones(3), torch.ones(3, dtype=torch.bool)) == 0


def test_levels_are_scored_only_where_they_are_known() -> None:
    emotion = torch.tensor([0.1, 0.7, 0.1, 0.1]).repeat(4, len(GROUPS), 1)
    truth = torch.full((4, len(GROUPS)), MASKED)
    truth[:, 0] = torch.tensor([1, 3, PRESENT, WEAK])
    scores = emotion_scores(emotion, truth, 0.5)
    assert (scores["f1_joy"], scores["level_accuracy"], scores["level_within_one"]) == (1, 0.5, 0.5)


def test_an_interval_holds_the_score_and_narrows_with_the_texts() -> None:
    generator = torch.Generator().manual_seed(4)
    widths = []
    for count in (100, 2000):
        truth = torch.full((count, len(GROUPS)), MASKED)
        truth[:, :2] = torch.randint(0, 2, (count, 2), generator=generator)
        emotion = torch.zeros(count, len(GROUPS), 4)
        flipped = torch.rand(count, len(GROUPS), generator=generator) < 0.2
        emotion[..., 0] = ((truth <= 0) ^ flipped).float()
        low, high = macro_f1_interval(emotion, truth, 0.5)
        assert low < emotion_scores(emotion, truth, 0.5)["macro_f1"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_kappa_by_hand() -> None:
    truth = torch.tensor([0, 1, 2, 0, 1, 2])
    assert kappa(truth, truth, 3) == 1
    assert kappa(truth, torch.tensor([2, 1, 0, 2, 1, 0]), 3) == pytest.approx(-1)


def test_a_weak_label_teaches_presence() -> None:
    logits = torch.zeros(1, len(GROUPS), 4)
    logits[..., 1:] = 2.0
    for target in (PRESENT, WEAK):
        assert float(emotion_nll(logits, torch.full((1, len(GROUPS)), target)).max()) < 0.1


def test_baselines_learn_a_word() -> None:
    unknown = (MASKED,) * 7
    happy = [Example(f"a sunny day {i}", "made up", "train", (2, *unknown), risk=0) for i in range(20)]
    unhappy = [Example(f"a gloomy day {i}", "made up", "train", (0, *unknown), risk=2) for i in range(20)]
    train = happy + unhappy
    found = baselines.emotion(train, ["a sunny day", "a gloomy day"])
    assert found[0, 0, 1] > 0.5 > found[1, 0, 1]
    assert bool((found[:, 1:, 0] == 1).all())
    assert baselines.risk(train, ["a sunny day", "a gloomy day"]).argmax(1).tolist() == [0, 2]


def test_the_plot_is_small_and_repeats(tmp_path: Path) -> None:
    part = (torch.linspace(0, 1, 200), torch.arange(200) % 3 == 0)
    for name in ("a.svg", "b.svg"):
        reliability_plot({"one": part, "two": part}, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size < 200_000


def test_bounds_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "sentences.yaml"
    path.write_text("plain: {en: {at least behavior: [one], at most indicator: [two]}}")
    one, two = hand_written.read(path)
    assert [one.holds(s) for s in Severity] == [False, False, False, True, True]
    assert [two.holds(s) for s in Severity] == [True, True, False, False, False]
    assert (one.crisis, two.crisis) == (True, False)
