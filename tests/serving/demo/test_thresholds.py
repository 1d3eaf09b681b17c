"""What nobody has set is known of the shipped heads, and off for others."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from psychechat.demo import thresholds
from psychechat.policy import Policy


@pytest.mark.parametrize(
    ("set_to", "shipped", "expected"),
    [(None, True, thresholds.VETO_BELOW), (None, False, 0.0), (0.02, False, 0.02), (0.0, True, 0.0)],
)
def test_the_veto_is_off_for_heads_that_nobody_has_measured(
    set_to: float | None, shipped: bool, expected: float
) -> None:
    policy = Policy.model_validate({"risk": {"veto_below": set_to, "ideation": 0.4}})
    found = thresholds.for_heads(policy, shipped=shipped)
    assert found.risk.veto_below == expected
    assert found.risk.ideation == 0.4


@pytest.mark.parametrize(
    ("set_to", "shipped", "expected"),
    [(None, True, thresholds.HURTING_AT), (None, False, None), (0.8, False, 0.8), (0.8, True, 0.8), (1, True, None)],
)
def test_the_third_head_is_not_asked_where_nobody_has_measured_it(
    set_to: float | None, shipped: bool, expected: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "SHIPPED", saved(tmp_path / "three", [4] * 8 + [5, 2]))
    policy = Policy.model_validate({"review": {"hurting_at": set_to}, "emotion_threshold": 0.4})
    found = thresholds.for_heads(policy, shipped=shipped)
    assert found.review.threshold == expected
    assert found.thresholds == policy.thresholds


def test_where_two_heads_are_shipped_no_third_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor missed, when the classifier is away in a crisis. Who names a threshold says that there is one."""
    monkeypatch.setattr(thresholds, "SHIPPED", saved(tmp_path / "two", [4] * 8 + [5]))
    assert thresholds.for_heads(Policy(), shipped=True).review.threshold is None
    own = Policy.model_validate({"review": {"hurting_at": 0.5}})
    assert thresholds.for_heads(own, shipped=True).review.threshold == 0.5


def saved(path: Path, groups: list[int]) -> Path:
    save_file({"weight": torch.ones(sum(groups), 2)}, path, {"psychechat": json.dumps({"groups": groups})})
    return path


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ({}, ("policy.risk.veto_below", "policy.review.hurting_at")),
        ({"risk": {"veto_below": 0.0}}, ("policy.review.hurting_at",)),
        ({"review": {"hurting_at": 0.7}}, ("policy.risk.veto_below",)),
        ({"risk": {"veto_below": 0.0}, "review": {"hurting_at": 1}}, ()),
    ],
)
def test_one_notice_names_all_that_is_off(policy: dict[str, object], names: tuple[str, ...]) -> None:
    told = thresholds.notice(Policy.model_validate(policy), shipped=False)
    assert tuple(word.strip(",:") for word in (told or "").split() if word.startswith("policy.")) == names
    assert (told is None) == (not names)
    assert thresholds.notice(Policy.model_validate(policy), shipped=True) is None
